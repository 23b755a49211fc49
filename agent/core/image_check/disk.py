"""Rules for the file, its partitions and its file systems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.core.image_check.item import Item, failed, listed, ok, unknown, warning
from agent.core.specs import ImageInfo

GIB = 1 << 30
RECOMMENDED_FORMATS = ("raw", "vhd")
LARGEST_GIB = 500
LOW_BYTES, LOW_SHARE = 512 << 20, 0.05
_GUIDE_FORMATS = "The public cloud takes RAW and VHD only: `ecsctl image convert` makes one of this for it."


def file_rules(info: ImageInfo) -> Sequence[Item]:
    return _format(info), _size(info)


def _format(info: ImageInfo) -> Item:
    found = f"{info.format} ({info.variant})" if info.variant else info.format
    if info.format in RECOMMENDED_FORMATS:
        return ok("Format", "file format", found)
    return warning("Format", "file format", f"{found}; it can be imported here", _GUIDE_FORMATS)


def _size(info: ImageInfo) -> Item:
    found = f"{info.virtual_bytes / GIB:.3g} GiB in a file of {info.file_bytes / GIB:.3g} GiB"
    if info.virtual_bytes > LARGEST_GIB * GIB:
        advice = f"A system disk has at most {LARGEST_GIB} GiB: make its partitions and the disk smaller."
        return failed("VirtualSize", "virtual size", found, advice)
    return ok("VirtualSize", "virtual size", found)


# ---------------------------------------------------------------------------------- partitions


def partition_table(facts: dict[str, Any]) -> Item:
    name, title, table = "PartitionTable", "partition table", facts["partition_table"]
    if table == "msdos":
        return ok(name, title, "MBR")
    if table == "gpt":
        advice = "Use an MBR partition table: the public cloud takes no other, and guests here boot by BIOS."
        return warning(name, title, "GPT", advice)
    if not table:
        return failed(name, title, "none", "Install the system on a disk with an MBR partition table.")
    return failed(name, title, table, "Use an MBR partition table.")


def partitions(facts: dict[str, Any]) -> Item:
    """A single root partition on Linux; Windows may have several."""
    name, title, system = "RootPartition", "partitions", facts["system"]
    found = f"{len(facts['partitions'])}: " + listed(
        [f"{part['number']} of {part['bytes'] / GIB:.3g} GiB" for part in facts["partitions"]]
    )
    if not facts["partitions"]:
        return failed(name, title, "none", "Install the system into a partition.")
    windows = system is not None and system["type"] == "windows"
    if windows or len(facts["partitions"]) == 1:
        return ok(name, title, found)
    advice = "Only a single root partition is supported on the public cloud; here the others stay as they are."
    mounts = system["mounts"] if system else {}
    beside = [f"{point} on {device}" for point, device in sorted(mounts.items()) if point != "/"]
    return warning(name, title, f"{found}{'; ' + listed(beside) if beside else ''}", advice)


def boot_code(facts: dict[str, Any]) -> Item:
    name, title = "BootCode", "boot code for BIOS"
    if facts["boot_code"]:
        return ok(name, title, "in the first sector")
    advice = "Install a boot loader for BIOS, as with `grub-install /dev/sda`: guests here do not boot by EFI."
    return failed(name, title, "the first sector has none", advice)


# ---------------------------------------------------------------------------------- file systems


def integrity(facts: dict[str, Any]) -> Item:
    name, title = "Integrity", "integrity of file systems"
    damaged = [f"{one['device']}: {one['damage']}" for one in facts["file_systems"] if one["damage"]]
    if damaged:
        advice = "Repair them before the import: fsck on Linux with the file system unmounted, chkdsk on Windows."
        return failed(name, title, "; ".join(damaged), advice)
    unchecked = [f"{one['device']} ({one['type']})" for one in facts["file_systems"] if one["damage"] is None]
    checked = len(facts["file_systems"]) - len(unchecked)
    if not checked:
        return unknown(name, title, f"no checker for {listed(unchecked)}" if unchecked else "there is no file system")
    return ok(name, title, f"{checked} checked" + (f"; not {listed(unchecked)}" if unchecked else ""))


def one_system(facts: dict[str, Any]) -> Item:
    name, title, system = "System", "operating system", facts["system"]
    found = f"{system['name']}, {system['architecture']}"
    if facts["systems"] > 1:
        advice = "Only the first one was looked at; an image should have one system."
        return warning(name, title, f"{found}; {facts['systems']} systems are on the disk", advice)
    if system["type"] not in ("linux", "windows"):
        return unknown(name, title, found, "Its files are not checked; import it as `Others Linux`.")
    return ok(name, title, found)


def free_space(name: str, title: str, free: dict[str, int]) -> Item:
    found = f"{free['bytes'] / GIB:.2f} of {free['total_bytes'] / GIB:.2f} GiB free"
    if not free["total_bytes"]:
        return unknown(name, title, "it cannot be told")
    if free["bytes"] < min(LOW_BYTES, LOW_SHARE * free["total_bytes"]):
        return failed(name, title, found, "Make room on the system disk, or enlarge its file system.")
    if free["total_inodes"] and free["inodes"] < LOW_SHARE * free["total_inodes"]:
        return failed(name, title, f"{found}, but only {free['inodes']} inodes", "Delete files: no more can be made.")
    return ok(name, title, found)


RULES = (partition_table, partitions, boot_code, integrity)
