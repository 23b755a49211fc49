"""A program for the system's Python: makes a disk that needs a kernel's help, in libguestfs' appliance.

Arguments: `xfs` for a root of XFS on the only partition, or `lvm` for one on a logical volume, beside a /boot of ext4
and swap; and an empty file. Standard input: the system's files, as JSON of texts by path.
"""

from __future__ import annotations

import json
import posixpath
import sys
from typing import Any

DISK = "/dev/sda"
MIB = 2048  # in sectors
BOOT_CODE = b"\xfa" + bytes(439)
XFS_FSTAB = "LABEL=root / xfs defaults 0 0\n"
LVM_FSTAB = """\
/dev/mapper/guest-root / xfs defaults 0 0
/dev/mapper/guest-swap none swap sw 0 0
UUID={} /boot ext4 defaults 0 2
"""


def write(handle: Any, files: dict[str, str], fstab: str) -> None:
    for path, text in {**files, "/etc/fstab": fstab}.items():
        handle.mkdir_p(posixpath.dirname(path))
        handle.write(path, text.encode())
    for name in ("/usr", "/var", "/proc", "/home", "/tmp", "/dev"):
        handle.mkdir_p(name)


def make_xfs(handle: Any, files: dict[str, str]) -> None:
    handle.part_disk(DISK, "mbr")
    handle.mkfs("xfs", f"{DISK}1", label="root")
    handle.mount(f"{DISK}1", "/")
    write(handle, files, XFS_FSTAB)
    handle.umount_all()


def make_lvm(handle: Any, files: dict[str, str]) -> None:
    handle.part_init(DISK, "mbr")
    handle.part_add(DISK, "p", MIB, 64 * MIB - 1)
    handle.part_add(DISK, "p", 64 * MIB, -MIB)
    handle.mkfs("ext4", f"{DISK}1")
    handle.pvcreate(f"{DISK}2")
    handle.vgcreate("guest", [f"{DISK}2"])
    handle.lvcreate("swap", "guest", 16)
    handle.lvcreate_free("root", "guest", 100)
    handle.mkswap("/dev/guest/swap")
    handle.mkfs("xfs", "/dev/guest/root")
    handle.mount("/dev/guest/root", "/")
    handle.mkdir("/boot")
    handle.mount(f"{DISK}1", "/boot")
    write(handle, files, LVM_FSTAB.format(handle.vfs_uuid(f"{DISK}1")))
    handle.umount_all()


def main(kind: str, disk: str) -> None:
    import guestfs

    files = json.load(sys.stdin)
    handle = guestfs.GuestFS(python_return_dict=True)
    handle.set_backend_setting("force_tcg", "1")
    handle.add_drive_opts(disk, format="raw")
    handle.launch()
    {"xfs": make_xfs, "lvm": make_lvm}[kind](handle, files)
    handle.pwrite_device(DISK, BOOT_CODE, 0)
    handle.shutdown()


main(*sys.argv[1:])
