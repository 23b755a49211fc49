"""Disk images in foreign formats: our own readers decide what they are, qemu-img converts them in a jail."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.core.errors import BadImage, DriverError
from agent.core.specs import IMAGE_FORMATS, ImageInfo
from agent.drivers import durable
from agent.drivers.image import jail, sparse
from agent.drivers.image.formats import detect
from agent.drivers.image.formats.source import SECTOR
from agent.drivers.image.jail import Call, Jail, JailedFailure, Limits

GIB = 1 << 30
MAX_VHD_BYTES = 2040 * GIB
# What the slowest host we mean to serve reads, writes and compresses in a second.
_SLOWEST_BYTES, _SLOWEST_CPU_BYTES = 8 << 20, 4 << 20
_LEAST_SECONDS = 120
_LARGEST_METADATA = 16  # a file is at most so much of its disk larger, and 64 MiB
_SPARE_BYTES = 64 << 20
STALE_SECONDS = 7 * 86400
_RESIZABLE = ("raw", "qcow2")
_STAT_BLOCK = 512  # what st_blocks counts

_DRIVERS = {name: name for name in IMAGE_FORMATS} | {"vhd": "vpc"}
_BACKED = ("qcow", "qcow2", "qed", "vmdk")  # whose driver would look for a backing file
_OPTIONS = {
    "qcow2": "compat=1.1",
    # Without force_size the size would be rounded up to what cylinders, heads and sectors can say.
    "vhd": "subformat=dynamic,force_size=on",
    "vmdk": "subformat=streamOptimized",
    "vhdx": "subformat=dynamic",
}
_NOISE = re.compile(r"(?:qemu-img|error while \w+[^:]*|Could not open '[^']*'|Failed to open '[^']*'): ?")


class SandboxedConverter:
    """Satisfies core.protocols.Converter. `staging`: a private directory on the file system of the disks. `reserve`:
    bytes that must stay free of a file system of so many."""

    def __init__(self, staging: Path, reserve: Callable[[int], int] = lambda total: 0) -> None:
        self._reserve = reserve
        staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        staging.chmod(0o700)
        self._staging = staging
        self._jail = Jail(staging)

    def probe(self, source: int, declared: str = "") -> ImageInfo:
        return detect.inspect(source, declared)

    def convert(
        self,
        source: int,
        info: ImageInfo,
        target: Path,
        target_format: str,
        *,
        size_bytes: int | None = None,
        report: Callable[[int], None] = lambda percent: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        has, wanted = info.virtual_bytes, max(info.virtual_bytes, size_bytes or 0)
        _check_target(target_format, has, wanted)
        with _new_file(target) as (temporary, output):
            call = Call(_convert(_foreign(info), target_format), [source], [output], _limits(has), report, cancelled)
            self._run(call, "read the disk image")
            if wanted > has:
                call = replace(call, command=_resize(target_format, wanted), inputs=[], limits=_limits(wanted))
                self._run(call, "enlarge the disk image")
            self._verify(temporary, target_format, wanted)

    def export(
        self,
        chain: Sequence[Path],
        target: Path,
        target_format: str,
        *,
        base_format: str = "qcow2",
        report: Callable[[int], None] = lambda percent: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        with contextlib.ExitStack() as stack:
            inputs = [stack.enter_context(_opened(path)) for path in chain]
            size = _layer_size(chain[0], inputs[0])
            _check_target(target_format, size, size)
            temporary, output = stack.enter_context(_new_file(target))
            command = _convert(_layers(len(inputs), base_format), target_format)
            self._run(Call(command, inputs, [output], _limits(size), report, cancelled), f"read {chain[0].name}")
            self._verify(temporary, target_format, size)

    def hand_out(
        self,
        made: Path,
        target: int,
        *,
        report: Callable[[int], None] = lambda percent: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        with made.open("r+b") as stream:
            here = os.fstat(stream.fileno())
            ours = here.st_dev == os.fstat(target).st_dev

            def check_room(count: int) -> None:
                if ours:
                    self._check_room(target, count)
                else:
                    _check_foreign_room(target, count)

            check_room(0 if ours else here.st_blocks * _STAT_BLOCK)
            sparse.move(stream.fileno(), target, check_room=check_room, report=report, cancelled=cancelled)
        os.fsync(target)

    def sweep(self, *, unfinished: bool) -> list[str]:
        return (durable.sweep(self._staging) if unfinished else []) + durable.sweep_old(self._staging, STALE_SECONDS)

    def _run(self, call: Call, doing: str) -> None:
        """Raises BadImage with what qemu-img complains about, DriverError when the host's disk is nearly full."""

        def cancelled() -> bool:
            self._check_room(call.outputs[0])
            return call.cancelled()

        try:
            self._jail.run(replace(call, cancelled=cancelled))
        except JailedFailure as failure:
            raise BadImage(f"cannot {doing}: {_why(str(failure))}") from None

    def _check_room(self, output: int, count: int = 0) -> None:
        found = os.fstatvfs(output)
        if found.f_bavail * found.f_frsize - count < self._reserve(found.f_blocks * found.f_frsize):
            raise DriverError(
                "the host's disk has no room for the disk image: delete disks, snapshots, images, or other files of "
                "the host"
            )

    def _verify(self, path: Path, target_format: str, size: int) -> None:
        """What came out of the jail is as little trusted as what went in."""
        with _opened(path) as descriptor:
            found = detect.inspect(descriptor, target_format)
        if found.virtual_bytes != size:
            raise BadImage(f"the converted disk has {found.virtual_bytes} bytes instead of {size}")


def _check_foreign_room(output: int, count: int) -> None:
    """Of a file system that is not the disks': what anybody may use of it, though we could use more."""
    found = os.fstatvfs(output)
    if (free := found.f_bavail * found.f_frsize) < count:
        raise DriverError(
            f"there is no room for the disk image where it shall be: {-(-count >> 20)} MiB are needed and "
            f"{free >> 20} MiB free"
        )


def _why(complaint: str) -> str:
    if "another process using" in complaint:
        return "another program writes to it; stop that first"
    return _NOISE.sub("", complaint)


def _convert(source: dict[str, Any], target_format: str) -> list[str]:
    options = ["-o", _OPTIONS[target_format]] if target_format in _OPTIONS else []
    words = ["qemu-img", "convert", "-p", "-O", _DRIVERS[target_format], *options]
    return [*words, f"json:{json.dumps(source)}", "/out/0"]


def _resize(target_format: str, size: int) -> list[str]:
    return ["qemu-img", "resize", "-q", "-f", _DRIVERS[target_format], "/out/0", str(size)]


def _foreign(info: ImageInfo) -> dict[str, Any]:
    driver: dict[str, Any] = {"driver": _DRIVERS[info.format], "file": _file(0), "read-only": True}
    if info.format in _BACKED:
        driver["backing"] = None
    if info.format == "vhd":
        driver["force_size_calc"] = "current_size"
    return driver


def _layers(count: int, base_format: str) -> dict[str, Any]:
    """Layers, each on the next, whatever names their headers have for each other."""
    found: dict[str, Any] = {"driver": base_format, "file": _file(count - 1), "read-only": True}
    if base_format == "qcow2":
        found["backing"] = None
    for number in reversed(range(count - 1)):
        found = {"driver": "qcow2", "file": _file(number), "read-only": True, "backing": found}
    return found


def _file(number: int) -> dict[str, Any]:
    return {"driver": "file", "filename": f"/in/{number}", "read-only": True}


def _limits(size: int) -> Limits:
    return Limits(
        seconds=_LEAST_SECONDS + size / _SLOWEST_BYTES,
        cpu_seconds=_LEAST_SECONDS + size // _SLOWEST_CPU_BYTES,
        file_bytes=size + size // _LARGEST_METADATA + _SPARE_BYTES,
    )


def _check_target(target_format: str, has: int, wanted: int) -> None:
    if target_format not in IMAGE_FORMATS:
        raise BadImage(f"there is no format {target_format!r}; there are {', '.join(IMAGE_FORMATS)}")
    if wanted > has and target_format not in _RESIZABLE:
        raise BadImage(f"only {' and '.join(_RESIZABLE)} can be made larger than the disk was, not {target_format}")
    if target_format == "vhd" and wanted > MAX_VHD_BYTES:
        raise BadImage(f"a VHD holds at most {MAX_VHD_BYTES // GIB} GiB, the disk has {wanted / GIB:g} GiB; take vhdx")
    if wanted % SECTOR:
        raise BadImage(f"a disk has whole sectors of {SECTOR} bytes, not {wanted} bytes")


def _layer_size(path: Path, descriptor: int) -> int:
    """Bytes of the disk, as the layer's header says."""
    header = os.pread(descriptor, 32, 0)
    if len(header) < 32 or not header.startswith(b"QFI\xfb"):
        raise DriverError(f"{path} is no layer of a disk")
    return int.from_bytes(header[24:32], "big")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise DriverError(f"cannot read {path}: {error.strerror}") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _new_file(final: Path) -> Iterator[tuple[Path, int]]:
    """A file for the jail to write, which gets its name, and root as its owner, when all went well."""
    try:
        with durable.replacing(final) as temporary:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.fchown(descriptor, jail.USER, jail.USER)
                yield temporary, descriptor
                os.fchown(descriptor, 0, 0)
            finally:
                os.close(descriptor)
    except OSError as error:
        if isinstance(error, InterruptedError):
            raise
        raise DriverError(f"cannot write {final}: {error.strerror}") from None
