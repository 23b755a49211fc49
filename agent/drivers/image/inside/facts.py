"""Facts about a disk: partitions, file systems and the operating system on it. What they mean is judged elsewhere."""

from __future__ import annotations

import sys
from typing import Any

from . import linux, windows
from .guest import Guest, Unusable

DISK = "/dev/sda"
BOOT_CODE_BYTES = 440
DAMAGE_LENGTH = 300


def gather(guest: Guest, order: dict[str, Any]) -> dict[str, Any]:
    """All of them. An unreadable disk has few facts, and that is no error."""
    file_systems = _file_systems(guest)
    found: dict[str, Any] = {
        "partition_table": guest.tried(guest.handle.part_get_parttype, DISK, default=""),
        "partitions": _partitions(guest),
        "boot_code": any(guest.tried(guest.handle.pread_device, DISK, BOOT_CODE_BYTES, 0, default=b"")),
        "file_systems": file_systems,
        "system": None,
    }
    print("file systems", file=sys.stderr, flush=True)
    roots = guest.systems()
    found["systems"] = len(roots)
    if roots:
        found["system"] = _system(guest, roots[0], found)
    return found


def _partitions(guest: Guest) -> list[dict[str, Any]]:
    handle = guest.handle
    parts: list[dict[str, int]] = guest.tried(handle.part_list, DISK, default=[])
    return [
        {
            "number": part["part_num"],
            "bytes": part["part_size"],
            "id": guest.tried(handle.part_get_mbr_id, DISK, part["part_num"], default=0),
            "bootable": bool(guest.tried(handle.part_get_bootable, DISK, part["part_num"], default=0)),
        }
        for part in parts
    ]


def _file_systems(guest: Guest) -> list[dict[str, Any]]:
    """Each with what its checker finds, before anything is mounted. `damage`: empty: none; None: not checked."""
    found: dict[str, str] = guest.tried(guest.handle.list_filesystems, default={})
    return [
        {"device": device, "type": kind, "damage": _damage(guest, device, kind)}
        for device, kind in sorted(found.items())
        if kind != "unknown"
    ]


def _damage(guest: Guest, device: str, kind: str) -> str | None:
    handle = guest.handle
    try:
        if kind in ("ext2", "ext3", "ext4"):
            handle.e2fsck(device, correct=True)  # only what may always be repaired, and only in what is thrown away
        elif kind == "xfs":
            return "xfs_repair finds damage" if handle.xfs_repair(device, nomodify=True) else ""
        elif kind == "btrfs":
            handle.btrfs_check(device)
        elif kind in ("vfat", "msdos"):
            handle.fsck("vfat", device)
        elif kind == "ntfs":
            return _NTFS.get(handle.ntfs_3g_probe(True, device), "ntfs-3g cannot open it")
        else:
            return None
    except RuntimeError as error:
        return " ".join(str(error).split())[:DAMAGE_LENGTH]
    return ""


# What ntfs-3g.probe ends with.
_NTFS = {
    0: "",
    14: "Windows is hibernated, or shut down for a fast start: shut it down completely",
    15: "it was not unmounted cleanly",
}


def _system(guest: Guest, root: str, found: dict[str, Any]) -> dict[str, Any]:
    handle = guest.handle
    system: dict[str, Any] = {
        "type": guest.tried(handle.inspect_get_type, root, default="unknown"),
        "distro": guest.tried(handle.inspect_get_distro, root, default="unknown"),
        "name": guest.tried(handle.inspect_get_product_name, root, default="unknown"),  # of some, only a number
        "version": f"{guest.tried(handle.inspect_get_major_version, root, default=0)}."
        f"{guest.tried(handle.inspect_get_minor_version, root, default=0)}",
        "architecture": guest.tried(handle.inspect_get_arch, root, default="unknown"),
        "root": root,
        "mounts": {},
    }
    try:
        system["mounts"] = guest.mount(root)
    except Unusable as error:
        system["unreadable"] = str(error)
        return system
    if system["type"] == "windows":
        system["windows"] = windows.facts(guest, root)
    elif system["type"] == "linux":
        system["name"] = linux.name(guest) or system["name"]
        system["distro"] = linux.identifier(guest) or system["distro"]  # libguestfs knows only some
        system["linux"] = linux.facts(guest)
    return system
