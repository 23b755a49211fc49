"""Which format a file has, decided by its first and last sectors, and what it says about itself."""

from __future__ import annotations

import struct
from dataclasses import replace

from agent.core.errors import BadImage
from agent.core.specs import IMAGE_FORMATS, ImageInfo
from agent.drivers.image.formats import qcow, qcow2, qed, vdi, vhd, vhdx, vmdk
from agent.drivers.image.formats.source import SECTOR, Source, opened

_NAMES = {"vhd": "VHD", "vhdx": "VHDX", "vmdk": "VMDK", "vdi": "VDI", "qed": "QED", "raw": "raw disk image"}

# What people send instead of a disk image, with where it is recognised by.
_OTHERS = (
    (0, b"\x1f\x8b", "compressed with gzip", "gunzip"),
    (0, b"\xfd7zXZ\0", "compressed with xz", "unxz"),
    (0, b"BZh", "compressed with bzip2", "bunzip2"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", "unzstd"),
    (0, b"PK\x03\x04", "a zip archive", "unzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x"),
    (257, b"ustar", "a tar archive (an .ova is one)", "tar xf"),
)
_FOREIGN = (
    (b"WithoutFreeSpace", "Parallels"),
    (b"WithouFreSpacExt", "Parallels"),
    (b"LUKS\xba\xbe", "LUKS"),
)


def inspect(descriptor: int, declared: str = "") -> ImageInfo:
    """What core.protocols.Converter.probe promises."""
    source = opened(descriptor)
    found = _format(source)
    if declared and declared not in IMAGE_FORMATS:
        raise BadImage(f"there is no format {declared!r}; there are {', '.join(IMAGE_FORMATS)}")
    if declared and declared != found:
        raise BadImage(f"the file is not {declared}, its content is {found}")
    source = replace(source, called=_NAMES.get(found, found))
    variant = ""
    if found == "raw":
        size = _raw(source)
    elif found == "vhd":
        size, variant = vhd.virtual_bytes(source)
    elif found == "vmdk":
        size, variant = vmdk.virtual_bytes(source)
    else:
        size = _READERS[found](source)
    return ImageInfo(found, variant, size, source.size)


_READERS = {
    "qcow": qcow.virtual_bytes,
    "qcow2": qcow2.virtual_bytes,
    "qed": qed.virtual_bytes,
    "vdi": vdi.virtual_bytes,
    "vhdx": vhdx.virtual_bytes,
}


def _format(source: Source) -> str:
    first = source.read(0, min(SECTOR, source.size), "first sector")
    last = source.read(source.size - min(SECTOR, source.size), min(SECTOR, source.size), "last sector")
    if first.startswith(qcow2.MAGIC):
        (version,) = struct.unpack_from(">I", first.ljust(SECTOR, b"\0"), 4)
        return "qcow" if version == 1 else "qcow2"
    if first.startswith(vmdk.MAGIC):
        return "vmdk"
    if first.startswith(vmdk.OLD_MAGIC) or first.lstrip()[:64].lower().startswith(vmdk.DESCRIPTOR.lower()):
        raise BadImage(
            "the VMDK cannot be taken: its content is in other files; give the disk as a single file (stream-optimised)"
        )
    if first.startswith(qed.MAGIC):
        return "qed"
    if first.startswith(vhdx.MAGIC):
        return "vhdx"
    if first.startswith(vhd.MAGIC) or last.startswith(vhd.MAGIC):
        return "vhd"
    if first[vdi.MAGIC_OFFSET :].startswith(vdi.MAGIC):
        return "vdi"
    _refuse_others(first, last)
    return "raw"


def _refuse_others(first: bytes, last: bytes) -> None:
    for offset, magic, what, program in _OTHERS:
        if first[offset:].startswith(magic):
            raise BadImage(f"the file is {what}: unpack it first ({program})")
    for magic, what in _FOREIGN:
        if first.startswith(magic):
            raise BadImage(f"the file is of the format {what}, which is not among {', '.join(IMAGE_FORMATS)}")
    if last.startswith(b"koly"):
        raise BadImage(f"the file is an Apple disk image, which is not among {', '.join(IMAGE_FORMATS)}")


def _raw(source: Source) -> int:
    return source.check_virtual(source.size)
