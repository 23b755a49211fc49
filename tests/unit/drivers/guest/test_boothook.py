"""The boothook, run for real as root of a small file tree (chroot) by the shells that guests have."""

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.errors import DriverError
from agent.core.specs import SeedSpec
from agent.drivers.guest.boothook import boothook, operation_id

HASH = "$6$saltsaltsaltsalt$" + "x" * 86
OUR_HASH = "$6$ecs.saltsaltsalt$" + "z" * 86
OTHER_HASH = "$6$saltsaltsaltsalt$" + "y" * 86
ONE = "ssh-ed25519 AAAAone one@example"
HOSTILE = 'ssh-rsa AAAAtwo o\'brien; $(touch /hacked) `touch /hacked` "x" \\n %s'
SPEC = SeedSpec("i-bp1000000000000000aa", "web-1", (ONE,), None, "00:16:3e:00:00:01")


class Guest:
    """A tree with a static busybox, its applets, one shell as /bin/sh, and the host's chpasswd."""

    def __init__(self, root: Path, shell: str) -> None:
        self.root = root
        for name in ("bin", "etc/ssh", "root", "dev", "tmp"):
            (root / name).mkdir(parents=True)
        (root / "root").chmod(0o700)
        (root / "dev/null").touch()
        shutil.copy(shutil.which("busybox") or "", root / "bin/busybox")
        applets = subprocess.run(["busybox", "--list"], check=True, capture_output=True, text=True).stdout.split()
        for applet in applets:
            if applet not in ("busybox", "sh"):
                (root / "bin" / applet).symlink_to("busybox")
        if shell == "busybox":
            (root / "bin/sh").symlink_to("busybox")
        else:
            self._copy_with_libraries(Path("/bin/dash"), root / "bin/sh")
        self._copy_with_libraries(Path("/usr/sbin/chpasswd"), root / "bin/chpasswd")
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
        self.shadow = root / "etc/shadow"
        self.shadow.write_text("root:*:19000:0:99999:7:::\nuser:!:19000:0:99999:7:::\n")
        self.keys = root / "root/.ssh/authorized_keys"
        self.sshd = root / "etc/ssh/sshd_config.d/50-ecs.conf"

    def boot(self, spec: SeedSpec) -> None:
        """Run the boothook as cloud-init does: without its first line, as a program."""
        script = self.root / "tmp/part-001"
        script.write_text(boothook(spec).removeprefix("#cloud-boothook\n"))
        script.chmod(0o700)
        command = ["chroot", str(self.root), "/tmp/part-001"]
        done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        assert done.returncode == 0, done.stderr
        assert not (self.root / "hacked").exists()

    def add_instance(self, instance_id: str) -> None:
        """As cloud-init keeps what an instance was told."""
        directory = self.root / "var/lib/cloud/instances" / instance_id
        directory.mkdir(parents=True)
        (directory / "vendor-data.txt").write_text(OUR_HASH)

    def password(self, name: str) -> str:
        lines = dict(line.split(":")[:2] for line in self.shadow.read_text().splitlines())
        return lines[name]

    def _copy_with_libraries(self, program: Path, target: Path) -> None:
        shutil.copy(program, target)
        for word in subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout.split():
            if word.startswith("/"):
                library = self.root / word.removeprefix("/")
                library.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(os.path.realpath(word), library)


@pytest.fixture(params=["busybox", "dash"])
def guest(tmp_path: Path, request: pytest.FixtureRequest) -> Guest:
    return Guest(tmp_path / "root", request.param)


def block(*keys: str) -> str:
    return "".join(f"{line}\n" for line in ("# BEGIN ecs", *keys, "# END ecs"))


def test_keys_of_a_new_guest(guest: Guest) -> None:
    guest.boot(replace(SPEC, public_keys=(ONE, HOSTILE)))
    assert guest.keys.read_text() == block(ONE, HOSTILE)
    assert guest.keys.stat().st_mode & 0o777 == 0o600
    assert guest.keys.parent.stat().st_mode & 0o777 == 0o700
    assert guest.password("root") == "*"
    assert guest.sshd.read_text() == "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"


def test_password_of_a_new_guest(guest: Guest) -> None:
    guest.boot(replace(SPEC, public_keys=(), password_hash=HASH))
    assert guest.password("root") == HASH
    assert guest.password("user") == "!"
    assert guest.keys.read_text() == ""
    assert guest.sshd.read_text() == "PasswordAuthentication yes\nPermitRootLogin yes\n"


OWN_FILES = ("etc/machine-id", "var/lib/dbus/machine-id", "etc/ssh/ssh_host_ed25519_key", "etc/ssh/ssh_host_x_key")


def _can_make_ids(guest: Guest) -> None:
    keygen = guest.root / "bin/ssh-keygen"
    keygen.write_text('#!/bin/sh\n[ "$3" = ed25519 ] || exit 1\necho new >"$7"; echo public >"$7.pub"\n')
    keygen.chmod(0o755)
    (guest.root / "proc/sys/kernel/random").mkdir(parents=True)
    (guest.root / "proc/sys/kernel/random/uuid").write_text("01234567-89ab-4def-8123-456789abcdef\n")


def test_a_disk_that_was_another_instances_is_made_this_ones(guest: Guest) -> None:
    """What told the other one from all others is gone; the rest of it is content."""
    _can_make_ids(guest)
    for name in (*OWN_FILES, "etc/ssh/ssh_host_x_key.pub", "etc/shadow-", "var/backups/shadow.bak"):
        (guest.root / name).parent.mkdir(parents=True, exist_ok=True)
        (guest.root / name).write_text("the other's\n")
    home = guest.root / "home/user/.ssh"
    home.mkdir(parents=True)
    (home / "authorized_keys").write_text(f"own line\nno-pty {HOSTILE}\nssh-rsa AAAAanother\n")
    guest.boot(replace(SPEC, public_keys=(HOSTILE,), password_hash=OUR_HASH))
    guest.keys.write_text(f'{guest.keys.read_text()}command="x" {HOSTILE}\nown line\n')
    assert (guest.root / OWN_FILES[0]).read_text() == "the other's\n", "nobody else's disk"
    guest.add_instance("i-bp1000000000000000bb")
    guest.boot(replace(SPEC, instance_id="i-bp1000000000000000cc"))
    for name in OWN_FILES[:2]:
        assert (guest.root / name).read_text() == "0123456789ab4def8123456789abcdef\n"
    assert (guest.root / OWN_FILES[2]).read_text() == "new\n"
    assert [path.name for path in sorted((guest.root / "etc/ssh").glob("ssh_host*"))] == [
        "ssh_host_ed25519_key",
        "ssh_host_ed25519_key.pub",
    ]
    assert not [name for name in ("etc/shadow-", "var/backups/shadow.bak") if (guest.root / name).exists()]
    assert [path.name for path in (guest.root / "var/lib/cloud/instances").iterdir()] == ["i-bp1000000000000000cc"]
    assert guest.keys.read_text() == f"own line\n{block(ONE)}"
    assert (home / "authorized_keys").read_text() == "own line\nssh-rsa AAAAanother\n"
    assert guest.password("root") == "*"


@pytest.mark.parametrize(("age", "renewed"), [(1000, True), (50, False)])
def test_an_id_and_keys_that_came_with_the_disk_are_nobodys_own(guest: Guest, age: int, renewed: bool) -> None:
    """Of a system that was cut short in its first boot, or never run by a cloud; and of a usual first boot."""
    _can_make_ids(guest)
    (guest.root / "proc/uptime").write_text("100.52 90.10\n")
    files = [guest.root / name for name in ("etc/machine-id", "etc/ssh/ssh_host_ed25519_key")]
    for path in files:
        path.write_text("there\n")
        os.utime(path, (time.time() - age,) * 2)
    guest.boot(SPEC)
    assert [path.read_text() != "there\n" for path in files] == [renewed] * 2
    for path in files:
        path.write_text("mine\n")
        os.utime(path, (time.time() - 1000,) * 2)
    guest.boot(replace(SPEC, public_keys=()))
    assert [path.read_text() for path in files] == ["mine\n"] * 2


def test_once_per_operation(guest: Guest) -> None:
    guest.boot(SPEC)
    guest.keys.write_text("changed inside\n")
    guest.boot(SPEC)
    assert guest.keys.read_text() == "changed inside\n"


def test_a_change_and_back(guest: Guest) -> None:
    guest.boot(SPEC)
    guest.boot(replace(SPEC, public_keys=("ssh-rsa other",)))
    assert guest.keys.read_text() == block("ssh-rsa other")
    guest.boot(SPEC)
    assert guest.keys.read_text() == block(ONE)
    assert len(list((guest.root / "var/lib/cloud/ecs").iterdir())) == 1


def test_unbinding_leaves_the_users_own_keys(guest: Guest) -> None:
    guest.boot(SPEC)
    guest.keys.write_text(f"own before\n{guest.keys.read_text()}own after, without a newline")
    guest.boot(replace(SPEC, public_keys=()))
    assert guest.keys.read_text() == "own before\nown after, without a newline\n"
    guest.boot(replace(SPEC, public_keys=(HOSTILE,)))
    assert guest.keys.read_text() == f"own before\nown after, without a newline\n{block(HOSTILE)}"


def test_a_block_without_its_end_is_the_users(guest: Guest) -> None:
    guest.boot(SPEC)
    guest.keys.write_text("# BEGIN ecs\nown one\n\\own two\n")
    guest.boot(replace(SPEC, public_keys=("ssh-rsa other",)))
    assert guest.keys.read_text() == f"own one\n\\own two\n{block('ssh-rsa other')}"


def test_a_password_set_inside_survives_a_change_of_keys(guest: Guest) -> None:
    guest.boot(SPEC)
    guest.shadow.write_text(guest.shadow.read_text().replace("root:*", f"root:{OTHER_HASH}"))
    guest.boot(replace(SPEC, public_keys=()))
    assert guest.password("root") == OTHER_HASH


def test_a_password_of_ours_ends_with_its_operation(guest: Guest) -> None:
    guest.boot(replace(SPEC, public_keys=(), password_hash=OUR_HASH))
    guest.boot(SPEC)
    assert guest.password("root") == "*"
    guest.boot(replace(SPEC, public_keys=()))
    assert guest.password("root") == "*"
    assert guest.sshd.read_text() == "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    guest.boot(replace(SPEC, public_keys=(), password_hash=OUR_HASH))
    assert guest.password("root") == OUR_HASH


def test_a_guest_without_a_shadow_file(guest: Guest) -> None:
    guest.shadow.unlink()
    guest.boot(SPEC)
    assert guest.keys.read_text() == block(ONE)


def test_a_reset_password(guest: Guest) -> None:
    guest.boot(replace(SPEC, password_hash=HASH))
    guest.boot(replace(SPEC, password_hash=OTHER_HASH))
    assert guest.password("root") == OTHER_HASH


def test_a_clone_of_the_disk_is_set_again(guest: Guest) -> None:
    guest.boot(SPEC)
    guest.keys.unlink()
    guest.boot(replace(SPEC, instance_id="i-bp1000000000000000bb"))
    assert guest.keys.read_text() == block(ONE)


def test_without_sshd_nothing_is_made_for_it(guest: Guest) -> None:
    (guest.root / "etc/ssh").rmdir()
    guest.boot(SPEC)
    assert not (guest.root / "etc/ssh").exists()


def test_what_fails_is_tried_again_at_the_next_boot(guest: Guest) -> None:
    guest.boot(SPEC)
    changed = replace(SPEC, public_keys=(HOSTILE,), password_hash=HASH)
    (guest.root / "bin/chpasswd").rename(guest.root / "bin/away")
    with pytest.raises(AssertionError, match="chpasswd"):
        guest.boot(changed)
    (guest.root / "bin/away").rename(guest.root / "bin/chpasswd")
    guest.boot(changed)
    assert guest.password("root") == HASH


def test_operation_ids() -> None:
    variants = [
        SPEC,
        replace(SPEC, public_keys=()),
        replace(SPEC, password_hash=HASH),
        replace(SPEC, password_hash=OTHER_HASH),
        replace(SPEC, instance_id="i-other"),
    ]
    assert len({operation_id(spec) for spec in variants}) == len(variants)
    assert operation_id(replace(SPEC, host_name="renamed")) == operation_id(SPEC)


def test_what_could_be_more_than_one_line() -> None:
    with pytest.raises(DriverError, match="a public key must be one line"):
        boothook(replace(SPEC, public_keys=("ssh-rsa AAA\nssh-rsa BBB",)))
    with pytest.raises(DriverError, match="not a SHA-512 crypt hash"):
        boothook(replace(SPEC, password_hash="plain\nuser:x"))
