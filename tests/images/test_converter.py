"""Converting in the jail: every byte arrives, nothing else does, and nothing is left of what went wrong."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.core.errors import BadImage, DriverError
from agent.core.specs import IMAGE_FORMATS
from agent.drivers.image import jail
from agent.drivers.image.converter import SandboxedConverter
from agent.drivers.image.formats import detect
from agent.drivers.image.jail import Call, Jail, JailedFailure, Limits
from tests.support.foreign_images import DISK_BYTES, VARIANTS, digest, disk, make, make_large
from tests.support.small_disk import small_disk
from tests.support.waiting import wait_for

CANARY = b"canary-that-no-image-may-ever-show"
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make(tmp_path_factory.mktemp("images"), list(VARIANTS), disk())


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    return tmp_path / "staging"


@pytest.fixture
def converter(staging: Path) -> Iterator[SandboxedConverter]:
    yield SandboxedConverter(staging)
    assert list(staging.iterdir()) == []
    assert processes_of_the_jail(staging.parent) == []


@pytest.fixture
def plain(images: dict[str, Path]) -> str:
    return digest(images["raw"])


def processes_of_the_jail(*places: Path) -> list[str]:
    """Command lines of what runs in a jail that was given a file of one of these directories: other tests have jails,
    too."""
    marks = ["/".join(place.parts[-3:]) + "/" for place in places]
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == jail.USER:
                mounts = (entry / "mountinfo").read_text()
                if any(mark in mounts for mark in marks):
                    found.append((entry / "cmdline").read_text())
    return [command for command in found if command]  # one that has just ended has none


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def convert(converter: SandboxedConverter, source: Path, target: Path, wanted: str, **options: object) -> Path:
    with opened(source) as descriptor:
        converter.convert(descriptor, converter.probe(descriptor), target, wanted, **options)  # type: ignore[arg-type]
    return target


# ------------------------------------------------------------------------------ what arrives


def test_every_variant_of_every_format_is_read(
    converter: SandboxedConverter, images: dict[str, Path], plain: str, tmp_path: Path
) -> None:
    for name, source in images.items():
        source.chmod(0o600)  # nothing that the user in the jail may read by himself
        assert digest(convert(converter, source, tmp_path / "out", "raw")) == plain, name
        assert source.stat().st_uid == 0


def test_every_format_is_written_and_refers_to_nothing(
    converter: SandboxedConverter, images: dict[str, Path], plain: str, tmp_path: Path
) -> None:
    for wanted in IMAGE_FORMATS:
        told: list[int] = []
        made = convert(converter, images["qcow2"], tmp_path / f"disk.{wanted}", wanted, report=told.append)
        assert told == sorted(told)
        assert told[-1] == 100
        found = made.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, 0, 0o600)
        with opened(made) as descriptor:
            info = detect.inspect(descriptor, wanted)
        assert info.virtual_bytes == DISK_BYTES
        if wanted == "vmdk":
            assert info.variant == "stream-optimised"
        assert digest(convert(converter, made, tmp_path / "back", "raw")) == plain, wanted


def test_sizes_that_no_geometry_has_survive_vhd(converter: SandboxedConverter, tmp_path: Path) -> None:
    """QEMU alone would round the size up to what cylinders, heads and sectors can say."""
    for size in (DISK_BYTES + 512, 512, 3 * 17 * 512 + 1024):
        (tmp_path / "odd.raw").write_bytes(disk(DISK_BYTES + 512)[:size])
        made = convert(converter, tmp_path / "odd.raw", tmp_path / "odd.vhd", "vhd")
        assert digest(convert(converter, made, tmp_path / "back", "raw")) == digest(tmp_path / "odd.raw")


def test_a_disk_of_no_whole_sectors_gets_zeros_at_its_end(converter: SandboxedConverter, tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"x" * 1000)
    made = convert(converter, tmp_path / "odd", tmp_path / "made.qcow2", "qcow2")
    assert convert(converter, made, tmp_path / "back", "raw").read_bytes() == b"x" * 1000 + bytes(24)


def test_a_disk_may_become_larger_on_the_way(
    converter: SandboxedConverter, images: dict[str, Path], plain: str, tmp_path: Path
) -> None:
    for wanted in ("qcow2", "raw"):
        made = convert(converter, images["vhd fixed"], tmp_path / "large", wanted, size_bytes=1 << 34)
        with opened(made) as descriptor:
            assert converter.probe(descriptor, wanted).virtual_bytes == 1 << 34
        assert made.stat().st_blocks * 512 < 2 * DISK_BYTES
    assert digest(made, DISK_BYTES) == plain
    with pytest.raises(BadImage, match="only raw and qcow2 can be made larger"):
        convert(converter, images["raw"], tmp_path / "vhd", "vhd", size_bytes=1 << 34)


def test_a_chain_of_layers_is_exported_whatever_their_headers_say(
    converter: SandboxedConverter, images: dict[str, Path], tmp_path: Path
) -> None:
    layers = [tmp_path / f"{number}.qcow2" for number in range(3)]
    layers[0].write_bytes(images["qcow2"].read_bytes())
    wanted = bytearray(disk())
    for number in (1, 2):
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", layers[number - 1], layers[number]]
        subprocess.run(create, check=True)
        write = ["qemu-io", "-f", "qcow2", "-c", f"write -P {number} {number}M 64k", layers[number]]
        subprocess.run(write, check=True, capture_output=True)
        wanted[number << 20 : (number << 20) + (64 << 10)] = bytes([number]) * (64 << 10)
    moved = [layer.rename(tmp_path / f"moved-{layer.name}") for layer in layers]
    for layer in moved:
        os.chown(layer, 64055, 64055)
        layer.chmod(0o600)
    for form in ("raw", "vhd"):
        converter.export([moved[2], moved[1], moved[0]], tmp_path / "out", form)
        with opened(tmp_path / "out") as descriptor:
            converter.probe(descriptor, form)
    assert convert(converter, tmp_path / "out", tmp_path / "back", "raw").read_bytes() == bytes(wanted)
    assert {layer.stat().st_uid for layer in moved} == {64055}
    with pytest.raises(DriverError, match="no layer"):
        converter.export([images["raw"]], tmp_path / "none", "raw")


def test_without_mapped_mounts_a_copy_is_made(
    images: dict[str, Path], plain: str, staging: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on file systems and kernels that cannot map owners: simulated by a descriptor of another mount namespace."""
    converter = SandboxedConverter(staging)
    images["qcow2"].chmod(0o600)
    attempts: list[int] = []
    real = Jail._start

    def start(self: Jail, call: Call, words: object) -> object:
        attempts.append(os.fstat(call.inputs[0]).st_uid)
        return real(self, call, words)  # type: ignore[arg-type]

    monkeypatch.setattr(Jail, "_start", start)
    # A child keeps the file open in a mount namespace of its own.
    script = f"exec 3<{images['qcow2']}; echo; sleep 1000"
    child = subprocess.Popen(["unshare", "--mount", "bash", "-c", script], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    try:
        descriptor = take_descriptor(child.pid, 3)
        converter.convert(descriptor, converter.probe(descriptor), tmp_path / "out", "raw")
        os.close(descriptor)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert attempts == [0, jail.USER]
    assert digest(tmp_path / "out") == plain
    assert list(staging.iterdir()) == []


def take_descriptor(pid: int, number: int) -> int:
    """pidfd_getfd(2)."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    found: int = libc.syscall(438, pidfd, number, 0)
    os.close(pidfd)
    assert found >= 0, os.strerror(ctypes.get_errno())
    return found


# ------------------------------------------------------------------------------ what does not


def run_inside(staging: Path, command: list[str], *inputs: Path, seconds: float = 30) -> tuple[str, bytes]:
    """What a command in the jail complains about, and what it wrote to /out/0."""
    staging.mkdir(mode=0o700, exist_ok=True)
    output = os.open(staging.parent / "output", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.fchown(output, jail.USER, jail.USER)
    complaint = ""
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, output)
        given = [stack.enter_context(opened(path)) for path in inputs]
        try:
            Jail(staging).run(Call(command, given, [output], Limits(seconds, 2, 1 << 20)))
        except JailedFailure as failure:
            complaint = str(failure)
        return complaint, os.pread(output, 1 << 20, 0)


def test_the_jail_itself_shows_no_file_of_the_host(staging: Path, tmp_path: Path) -> None:
    """Without any of our readers: the image names the canary as its backing file, qemu-img is told to follow it."""
    canary = tmp_path / "canary"
    canary.write_bytes(CANARY * 1000)
    canary.chmod(0o644)
    for directory in canary.parents:
        if directory != Path("/"):
            assert directory.stat().st_mode & 0o001 or directory.stat().st_uid == 0
    image = tmp_path / "evil.qcow2"
    for named in (str(canary), f"/proc/1/root{canary}", f"/proc/self/root{canary}", "/dev/fd/3", f"file:{canary}"):
        subprocess.run(
            ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", named, image, "1M"], check=True
        )
        complaint, written = run_inside(
            staging, ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "/in/0", "/out/0"], image
        )
        assert "Could not open" in complaint, named
        assert CANARY not in written


def test_what_the_jail_gives_and_withholds(staging: Path, tmp_path: Path) -> None:
    secret = tmp_path / "input"
    secret.write_text("given")
    secret.chmod(0o600)
    script = """
        cat /in/0; id -u; id -G; ls /; ls /etc /root /home /proc /sys 2>&1 | grep -c cannot; ls /dev
        grep -q given /in/0 && ! echo x 2>/dev/null >>/in/0 && echo read-only
        ! mkdir /usr/x /x 2>/dev/null && echo nowhere
        { exec 5<>/dev/tcp/127.0.0.1/22; } 2>/dev/null || echo no network
    """
    complaint, written = run_inside(staging, ["/usr/bin/bash", "-c", f"exec >/out/0; {script}"], secret)
    lines = written.decode().split("\n")
    assert complaint == ""
    assert lines[0] == f"given{jail.USER}"
    assert lines[1] == str(jail.USER)
    assert set(lines[2:]) >= {"5", "null", "read-only", "nowhere", "no network"}, lines
    assert not {"etc", "root", "home", "proc", "sys", "run", "var", "tmp"} & set(lines)
    assert secret.read_text() == "given"


def test_what_takes_too_much_is_ended(staging: Path) -> None:
    slow = "it takes longer than 1 s"
    assert run_inside(staging, ["/usr/bin/bash", "-c", "read </out/0; sleep 100"], seconds=1)[0] == slow
    assert "2 s of the processor" in run_inside(staging, ["/usr/bin/bash", "-c", "while :; do :; done"])[0]
    large = ["/usr/bin/dd", "if=/usr/bin/bash", "of=/out/0", "status=none"]
    assert "larger than it says" in run_inside(staging, large)[0]
    memory = ["/usr/bin/python3", "-I", "-S", "-c", "x = bytearray(3 << 30)"]
    assert run_inside(staging, memory)[0] == "MemoryError"
    noise = ["/usr/bin/bash", "-c", "for ((i = 0; i < 20000; i++)); do echo 'much to say' >&2; done; false"]
    assert run_inside(staging, noise)[0] == "much to say"
    assert processes_of_the_jail(staging.parent) == []


def test_a_decompression_bomb_ends_at_the_size_it_has(staging: Path, tmp_path: Path, images: dict[str, Path]) -> None:
    """All clusters of a large disk are one and the same compressed one: the file is small, its content is not."""
    bomb = tmp_path / "bomb.qcow2"
    size, cluster = 40 << 30, 65536
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", bomb, str(size)], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -c -P 85 0 64k", bomb], check=True, capture_output=True)
    content = bytearray(bomb.read_bytes())
    l1 = int.from_bytes(content[40:48], "big")
    l2 = int.from_bytes(content[l1 : l1 + 8], "big") & ((1 << 56) - 512)
    entry = bytes(content[l2 : l2 + 8])
    content[l2 : l2 + cluster] = entry * (cluster // 8)
    content[l1 : l1 + 80 * 8] = bytes(content[l1 : l1 + 8]) * 80
    bomb.write_bytes(content)
    before = os.statvfs(tmp_path)
    free = before.f_bavail * before.f_frsize
    guarded = SandboxedConverter(staging, lambda total: free - (300 << 20))
    with pytest.raises(DriverError, match="no room"):
        convert(guarded, bomb, tmp_path / "out", "qcow2")
    assert not (tmp_path / "out").exists()
    assert sorted(tmp_path.iterdir()) == [bomb, staging]


def test_where_it_shall_be_there_must_be_room_and_once_is_enough(tmp_path: Path) -> None:
    made = tmp_path / "disk/staging/made"
    with small_disk(tmp_path / "disk", 64 << 10), small_disk(tmp_path / "other", 32 << 10):
        converter = SandboxedConverter(made.parent, lambda total: 10 << 20)
        make_noise(made, 40)
        plain = digest(made)
        with open(tmp_path / "other/out", "x+b") as full, pytest.raises(DriverError, match="40 MiB are needed and 32"):
            converter.hand_out(made, full.fileno())
        with open(tmp_path / "disk/out", "x+b") as out:
            converter.hand_out(made, out.fileno())
        assert digest(tmp_path / "disk/out") == plain
        made.unlink()
        make_noise(made, 10)
        with (
            open(tmp_path / "disk/more", "x+b") as out,
            pytest.raises(DriverError, match="the host's disk has no room"),
        ):
            converter.hand_out(made, out.fileno())
        with open(tmp_path / "other/more", "x+b") as out:
            converter.hand_out(made, out.fileno())  # what is reserved is so only where the disks are
        assert (tmp_path / "other/more").stat().st_blocks * 512 == 10 << 20


def make_noise(path: Path, mib: int) -> None:
    """With a hole in the middle and one at its end."""
    with path.open("wb") as stream:
        stream.write(os.urandom(mib << 19))
        stream.seek(30 << 20, os.SEEK_CUR)
        stream.write(os.urandom(mib << 19))
        stream.truncate(stream.tell() + (1 << 20))


def test_an_image_that_a_guest_writes_to_is_refused(
    converter: SandboxedConverter, images: dict[str, Path], tmp_path: Path
) -> None:
    writer = subprocess.Popen(
        ["qemu-io", "-f", "qcow2", images["qcow2"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write(b"length\n")
    writer.stdin.flush()
    assert writer.stdout.readline()
    with pytest.raises(BadImage, match="another program writes to it"):
        convert(converter, images["qcow2"], tmp_path / "out", "raw")
    writer.communicate(b"quit\n")


# ------------------------------------------------------------------------------ interrupted


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return make_large(tmp_path / "large.raw")


def test_cancelled_at_any_moment_nothing_is_left(converter: SandboxedConverter, large: Path, tmp_path: Path) -> None:
    for percent in (0, 1, 30, 60):
        told = [0]
        late: Callable[[], bool] = lambda told=told, percent=percent: told[-1] >= percent  # noqa: E731
        with pytest.raises(InterruptedError):
            convert(converter, large, tmp_path / "out", "vmdk", report=told.append, cancelled=late)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["large.raw", "staging"]


def test_an_agent_that_is_killed_leaves_no_process_and_a_file_that_is_swept(large: Path, tmp_path: Path) -> None:
    staging = tmp_path / "staging"
    program = (
        "import os, sys; from pathlib import Path; from agent.drivers.image.converter import SandboxedConverter\n"
        "source, staging = sys.argv[1:]\n"
        "converter, descriptor = SandboxedConverter(Path(staging)), os.open(source, os.O_RDONLY)\n"
        "converter.convert(descriptor, converter.probe(descriptor), Path(staging) / 'out', 'vmdk')\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, large, staging], cwd=REPOSITORY)
    wait_for("the jail", lambda: any("qemu-img" in line for line in processes_of_the_jail(tmp_path)), 20, every=0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    wait_for("the end of the jail", lambda: not processes_of_the_jail(tmp_path), 10)
    assert len(list(staging.iterdir())) == 1
    assert len(SandboxedConverter(staging).sweep(unfinished=True)) == 1
    assert list(staging.iterdir()) == []


def test_what_nobody_wrote_to_for_long_is_swept(converter: SandboxedConverter, staging: Path) -> None:
    (staging / "upload").touch()
    assert converter.sweep(unfinished=True) == []
    long_ago = time.time() - 8 * 86400
    os.utime(staging / "upload", (long_ago, long_ago))
    assert converter.sweep(unfinished=False) == ["upload"]


def test_several_at_once(converter: SandboxedConverter, images: dict[str, Path], plain: str, tmp_path: Path) -> None:
    failed: list[str] = []

    def work(number: int, name: str) -> None:
        if digest(convert(converter, images[name], tmp_path / f"{number}", "raw")) != plain:
            failed.append(name)

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(list(images)[:8])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(list(tmp_path.glob("?"))) == 8


def test_a_missing_program_is_named(
    converter: SandboxedConverter, images: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DriverError, match="bwrap is missing, apt-get install bubblewrap"):
        convert(converter, images["qcow2"], tmp_path / "out", "raw")
