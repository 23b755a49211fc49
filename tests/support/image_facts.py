"""Facts about good disks, as the program beside the appliance gathers them; tests change them."""

from __future__ import annotations

import copy
from typing import Any

GIB = 1 << 30
Facts = dict[str, Any]

LINUX: Facts = {
    "partition_table": "msdos",
    "partitions": [{"number": 1, "bytes": 40 * GIB, "id": 131, "bootable": True}],
    "boot_code": True,
    "file_systems": [{"device": "/dev/sda1", "type": "ext4", "damage": ""}],
    "systems": 1,
    "system": {
        "type": "linux",
        "distro": "debian",
        "name": "Debian GNU/Linux 12 (bookworm)",
        "version": "12.5",
        "architecture": "x86_64",
        "root": "/dev/sda1",
        "mounts": {"/": "/dev/sda1"},
        "linux": {
            "free": {"bytes": 30 * GIB, "total_bytes": 39 * GIB, "inodes": 900000, "total_inodes": 1000000},
            "release_files": ["/etc/os-release", "/etc/issue"],
            "init": True,
            "boot": {
                "loader": "GRUB 2",
                "configuration": "/boot/grub/grub.cfg",
                "kernels": ["/boot/vmlinuz-6.1.0-18-amd64"],
            },
            "fstab": [{"device": "UUID=1", "mount": "/", "type": "ext4", "options": "errors=remount-ro"}],
            "shadow": {"present": True, "immutable": False, "root": "locked"},
            "selinux": "",
            "firewalls": [],
            "ssh": {"server": "OpenSSH", "enabled": True, "ports": [22], "root": "", "passwords": True},
            "cloud_init": {"installed": True, "disabled": False, "datasources": [], "disable_root": False},
            "kernels": [
                {
                    "version": "6.1.0-18-amd64",
                    "initramfs": "/boot/initrd.img-6.1.0-18-amd64",
                    "drivers": {"virtio_blk": "initramfs", "virtio_pci": "built in", "virtio_net": "module"},
                }
            ],
            "guest_agent": False,
            "interfaces": [{"name": "eth0", "method": "dhcp"}],
        },
    },
}
WINDOWS: Facts = {
    **copy.deepcopy(LINUX),
    "partitions": [
        {"number": 1, "bytes": GIB // 2, "id": 7, "bootable": True},
        {"number": 2, "bytes": 39 * GIB, "id": 7, "bootable": False},
    ],
    "file_systems": [
        {"device": "/dev/sda1", "type": "ntfs", "damage": ""},
        {"device": "/dev/sda2", "type": "ntfs", "damage": ""},
    ],
    "system": {
        "type": "windows",
        "distro": "windows",
        "name": "Windows Server 2012 R2 Standard",
        "version": "6.3",
        "architecture": "x86_64",
        "root": "/dev/sda2",
        "mounts": {"/": "/dev/sda2"},
        "windows": {
            "variant": "Server",
            "drivers": ["viostor", "netkvm"],
            "boot_drivers": ["viostor"],
            "remote_desktop": True,
            "remote_desktop_port": 3389,
            "firewalls": [],
            "cloudbase_init": True,
            "guest_agent": False,
            "interfaces": 1,
        },
    },
}
