"""Where guests to take over come from: this host's libvirt, a Proxmox configuration, or plain files."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from agent.core.errors import BadImage, DriverError
from agent.core.foreign import ForeignDisk, ForeignGuest, Source
from agent.drivers.foreign import chain, domains, proxmox
from agent.drivers.foreign.directories import ImportDirectories

_FORMATS = {".qcow2": "qcow2", ".raw": "raw", ".img": "raw"}
_LARGEST_CONFIG = 256 * 1024  # bytes
_LONGEST_CHAIN = 64


class ForeignHost:
    """Reads; whatever it is asked for, nothing is changed. `own` begins the names of our own domains."""

    def __init__(self, libvirt_uri: str, own: str, import_dirs: Sequence[str]) -> None:
        self._uri, self._own = libvirt_uri, own
        self._directories = ImportDirectories(import_dirs)

    def guests(self) -> list[ForeignGuest]:
        """Those of libvirt. Raises DriverError."""
        return domains.guests(self._uri, self._own)

    def find(self, source: Source) -> ForeignGuest | None:
        """None: libvirt has no such guest. Raises DriverError."""
        if source.kind == "libvirt":
            return next((guest for guest in self.guests() if guest.name == source.names[0]), None)
        if source.kind == "config":
            return self._configured(Path(source.names[0]))
        disks = [_file(Path(name), number) for number, name in enumerate(source.names)]
        for disk in disks:
            with self._directories.opened(disk.path):
                pass
        return ForeignGuest(name=disks[0].path.stem, vcpus=1, memory_mib=1024, disks=tuple(disks))

    def _configured(self, path: Path) -> ForeignGuest:
        with self._directories.opened(path) as descriptor:
            if os.fstat(descriptor).st_size > _LARGEST_CONFIG:
                raise DriverError(f"{path} is too large for the configuration of a guest")
            text = os.pread(descriptor, _LARGEST_CONFIG, 0).decode(errors="replace")
        found = proxmox.guest(path.stem, text)
        disks = (
            disk if disk.problem else replace(disk, path=self._directories.find(disk.path)) for disk in found.disks
        )
        return replace(found, disks=tuple(disks))

    @contextlib.contextmanager
    def opened(self, source: Source, path: Path) -> Iterator[int]:
        """A file of a disk of a guest from `source`, to read. Raises DriverError."""
        with self._directories.opened(path) if source.kind != "libvirt" else _opened(path) as descriptor:
            yield descriptor

    def chain(self, source: Source, disk: ForeignDisk) -> tuple[list[Path], str]:
        """The disk's files, each an overlay on the next, and the format of the last. Raises DriverError, BadImage."""
        files: list[Path] = []
        said = ""
        below: tuple[Path, str] | None = (disk.path, disk.format)
        while below is not None:
            path, said = below
            if path in files or len(files) == _LONGEST_CHAIN:
                raise BadImage(f"{disk.path} is an overlay on too many files, or on itself")
            if files and said not in ("raw", "qcow2"):
                raise BadImage(f"{disk.path} is an overlay on {path}, whose format {said!r} cannot be read")
            files.append(path)
            with self.opened(source, path) as descriptor:
                below = chain.base(descriptor, path) if said in ("qcow2", "") else None
        return files, said


def _file(path: Path, number: int) -> ForeignDisk:
    return ForeignDisk(path, _FORMATS.get(path.suffix, ""), f"disk {number + 1}", virtio=True)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """What the host's libvirt names may be anywhere, and behind symbolic links."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DriverError(f"cannot read {path}: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DriverError(f"cannot read {path}: it is no regular file")
        yield descriptor
    finally:
        os.close(descriptor)
