"""Gives a Linux system its identity, logins and network by changing its files: for "Customized Linux" images, which
understand no seed. `order["seed"]`: instance_id, host_name, public_keys, password_hash, mac, taken_back (how the hash
of a password begins that is ours to take away)."""

from __future__ import annotations

import re
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Any

from . import linux, network, services
from .guest import TEXT_BYTES, Guest, Unusable

BEGIN, END = "# BEGIN ecs", "# END ecs"
MARKER = "/var/lib/ecs/instance"  # whose identity the system has
HOST_KEYS = {"rsa": ("-b", "3072"), "ecdsa": (), "ed25519": ()}
DROPBEAR_KEYS = "/etc/dropbear"


def apply(guest: Guest, order: dict[str, Any]) -> dict[str, Any]:
    """Everything at once; what was done, for the log."""
    seed = order["seed"]
    _mount(guest)
    mine = guest.text(MARKER).strip() == seed["instance_id"]
    _host_name(guest, seed["host_name"])
    _password(guest, seed["password_hash"], seed["taken_back"])
    _keys(guest, seed["public_keys"])
    _sshd(guest, seed["password_hash"] is not None)
    way = network.style(guest, services.enabled(guest))
    _dhcp(guest, way, seed["mac"])
    if not mine:
        _new_identity(guest)
        guest.handle.mkdir_p("/var/lib/ecs")
        guest.handle.write(MARKER, f"{seed['instance_id']}\n".encode())
    if linux.selinux(guest) in ("enforcing", "permissive"):
        guest.handle.touch("/.autorelabel")  # the new files have no labels
    return {"network": way, "new_identity": not mine}


def _mount(guest: Guest) -> None:
    """The root file system alone: all that is changed is on it. The library's own search looks much further, which
    takes twice as long as all the rest."""
    handle = guest.handle
    devices: dict[str, str] = guest.tried(handle.list_filesystems, default={})
    for device in devices:
        guest.tried(handle.mount, device, "/", default=None)
        if guest.is_file("/etc/passwd"):
            break
        guest.tried(handle.umount_all, default=None)
    else:
        raise Unusable("there is no Linux system on the disk whose files could be changed")
    if not guest.is_file("/etc/shadow"):
        raise Unusable("the Linux system has no /etc/shadow to put root's password into")


# ---------------------------------------------------------------------------------- pieces of text


def with_block(text: str, lines: list[str], *, first: bool = False) -> str:
    """`text` with our marked block of `lines` in place of a former one; no lines, no block. A block whose end is gone
    is none: its lines are somebody's."""
    rest = re.sub(rf"^{BEGIN}\n(?:.*\n)*?{END}\n", "", text, flags=re.MULTILINE)
    if rest and not rest.endswith("\n"):
        rest += "\n"
    block = "".join(f"{line}\n" for line in [BEGIN, *lines, END]) if lines else ""
    return block + rest if first else rest + block


def with_root_hash(shadow: str, password_hash: str | None, taken_back: str) -> str:
    """A shadow file where root has this password. Without one, a password of ours goes: `*` fits nothing, but the
    account is not locked, which some SSH servers refuse keys for, too."""
    lines = shadow.splitlines()
    for number, line in enumerate(lines):
        fields = line.split(":")
        if fields[0] == "root" and len(fields) > 1:
            if password_hash is not None:
                fields[1] = password_hash
            elif fields[1].startswith((taken_back, "!")) or fields[1] == "":
                fields[1] = "*"
            lines[number] = ":".join(fields)
            break
    else:
        lines.insert(0, f"root:{password_hash or '*'}:19000:0:99999:7:::")
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------------------------- steps


def _replace(guest: Guest, path: str, text: str, mode: int = 0o644) -> None:
    """The whole file or the old one, with the old one's owner and mode."""
    handle, new = guest.handle, f"{path}.ecs"
    if guest.is_file(path):
        path = str(handle.realpath(path))
        new = f"{path}.ecs"
        handle.write(new, text.encode(errors="surrogateescape"))
        handle.copy_attributes(path, new, all=True)
    else:
        handle.write(new, text.encode(errors="surrogateescape"))
        handle.chmod(mode, new)
    handle.mv(new, path)


def _whole(guest: Guest, path: str) -> str:
    """A file's text, which is written back: never a part of it, and never changed by reading it."""
    content = guest.bytes(path, TEXT_BYTES + 1)
    if len(content) > TEXT_BYTES:
        raise Unusable(f"{path} is larger than {TEXT_BYTES // 1024} KiB")
    return content.decode(errors="surrogateescape")


def _host_name(guest: Guest, name: str) -> None:
    old = _whole(guest, "/etc/sysconfig/network")
    if re.search(r"^HOSTNAME=", old, re.MULTILINE):
        _replace(guest, "/etc/sysconfig/network", re.sub(r"^HOSTNAME=.*$", f"HOSTNAME={name}", old, flags=re.MULTILINE))
    if guest.is_file("/etc/HOSTNAME"):
        _replace(guest, "/etc/HOSTNAME", f"{name}\n")
    _replace(guest, "/etc/hostname", f"{name}\n")
    _replace(guest, "/etc/hosts", with_block(_whole(guest, "/etc/hosts"), [f"127.0.1.1 {name}"]))


def _password(guest: Guest, password_hash: str | None, taken_back: str) -> None:
    path = "/etc/shadow"
    attributes = str(guest.tried(guest.handle.get_e2attrs, path, default=""))
    if set(attributes) & {"i", "a"}:
        raise Unusable("/etc/shadow may not be changed: take its attribute away with `chattr -ia /etc/shadow`")
    _replace(guest, path, with_root_hash(_whole(guest, path), password_hash, taken_back))


def _keys(guest: Guest, keys: list[str]) -> None:
    home = next((line.split(":")[5] for line in guest.text("/etc/passwd").splitlines() if _is_root(line)), "/root")
    directory = f"{home.rstrip('/')}/.ssh"
    path = f"{directory}/authorized_keys"
    if not keys and not guest.is_file(path):
        return
    if not guest.is_directory(directory):
        guest.handle.mkdir_mode(directory, 0o700)
    _replace(guest, path, with_block(_whole(guest, path), keys), mode=0o600)


def _is_root(line: str) -> bool:
    return line.startswith("root:") and line.count(":") >= 6


def _sshd(guest: Guest, with_password: bool) -> None:
    """At the beginning, where sshd takes a setting from that stands twice."""
    path = "/etc/ssh/sshd_config"
    if not guest.is_file(path):
        return
    root, passwords = ("yes", "yes") if with_password else ("prohibit-password", "no")
    if not guest.is_directory("/etc/ssh/sshd_config.d") and root == "prohibit-password":
        root = "without-password"  # the same, and also understood by what is older
    lines = [f"PermitRootLogin {root}", f"PasswordAuthentication {passwords}"]
    _replace(guest, path, with_block(_whole(guest, path), lines, first=True))


def _dhcp(guest: Guest, way: str, mac: str) -> None:
    for path in network.others(guest, way):
        guest.handle.mv(path, network.out_of_use(path))
    for path, text in network.dhcp_files(way, mac).items():
        if guest.is_file(path) and not guest.is_file(network.out_of_use(path)):
            guest.handle.cp_a(path, network.out_of_use(path))
        _replace(guest, path, text, mode=0o600 if way in (network.NETWORK_MANAGER, network.NETPLAN) else 0o644)


def _new_identity(guest: Guest) -> None:
    """What the image's own system has of these, all its instances would share."""
    identity = uuid.uuid4().hex
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        if guest.text(path).strip() not in ("", "uninitialized"):
            _replace(guest, path, f"{identity}\n", mode=0o444)
    with tempfile.TemporaryDirectory() as directory:
        for kind in HOST_KEYS:
            _new_host_key(guest, kind, Path(directory, kind))
    for path in [*guest.files("/etc/ssh", "ssh_host_dsa_key*"), *guest.files(DROPBEAR_KEYS, "*host_key")]:
        guest.handle.rm(path)  # nobody should use DSA any more; dropbear makes its own at the next connection


def _new_host_key(guest: Guest, kind: str, scratch: Path) -> None:
    path = f"/etc/ssh/ssh_host_{kind}_key"
    if not guest.is_file(path):
        return
    command = ["ssh-keygen", "-q", "-t", kind, *HOST_KEYS[kind], "-N", "", "-C", "root", "-f", str(scratch)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _replace(guest, path, scratch.read_text(), mode=0o600)
    _replace(guest, f"{path}.pub", scratch.with_suffix(".pub").read_text())
