"""Rules for a Linux system: its file systems, and what it needs to boot here."""

from __future__ import annotations

from typing import Any

from agent.core.image_check import disk
from agent.core.image_check.item import Item, failed, listed, ok, unknown, warning

GOOD_FILE_SYSTEMS = ("ext3", "ext4")
# What never keeps a system from starting.
_NO_DISK = {
    "proc",
    "sysfs",
    "tmpfs",
    "devpts",
    "swap",
    "debugfs",
    "cgroup",
    "overlay",
    "efivarfs",
    "securityfs",
    "none",
}
_NO_DEVICE_NEEDED = {"nofail", "noauto"}
_MISSING = ("missing", "module")


def file_system(facts: dict[str, Any]) -> Item:
    name, title, root = "FileSystem", "root file system", facts["system"]["root"]
    kind = next((one["type"] for one in facts["file_systems"] if one["device"] == root), "unknown")
    if kind in GOOD_FILE_SYSTEMS:
        return ok(name, title, f"{kind} on {root}")
    return warning(
        name,
        title,
        f"{kind} on {root}; it works here",
        "The public cloud supports ext3 and ext4 only for Linux images.",
    )


def free_space(facts: dict[str, Any]) -> Item:
    return disk.free_space("FreeSpace", "free space", facts["system"]["linux"]["free"])


def release_files(facts: dict[str, Any]) -> Item:
    name, title, found = "ReleaseFiles", "release files", facts["system"]["linux"]["release_files"]
    if found:
        return ok(name, title, listed(found))
    advice = "Do not change /etc/issue*, /etc/os-release and the like: the distribution is recognised by them."
    return failed(name, title, "there is none", advice)


def system_files(facts: dict[str, Any]) -> Item:
    name, title = "SystemFiles", "system files"
    if facts["system"]["linux"]["init"]:
        return ok(name, title, "/sbin/init is there")
    return failed(
        name, title, "there is no /sbin/init", "Do not change /sbin, /bin and /lib*: nothing would be started."
    )


def boot_loader(facts: dict[str, Any]) -> Item:
    name, title, boot = "BootLoader", "boot loader", facts["system"]["linux"]["boot"]
    if boot["configuration"] and boot["kernels"]:
        return ok(name, title, f"{boot['loader']}, {boot['configuration']}, {listed(boot['kernels'])}")
    if boot["loader"] == "EFI":
        advice = "Install a boot loader for BIOS beside it: guests here do not boot by EFI."
        return failed(name, title, "for EFI only", advice)
    if boot["configuration"]:
        return failed(name, title, f"{boot['configuration']}, but there is no kernel", "Install a kernel in /boot.")
    advice = "Do not change /boot/grub/menu.lst or grub.cfg; if it is gone, make it anew with the system's own tool."
    return failed(name, title, "no configuration was found", advice)


def fstab(facts: dict[str, Any]) -> Item:
    """Entries whose device is on no partition of this disk keep the system from booting."""
    name, title, linux = "Fstab", "/etc/fstab", facts["system"]["linux"]
    mounted = set(facts["system"]["mounts"])
    entries = [entry for entry in linux["fstab"] if _needs_device(entry)]
    lost = [f"{entry['mount']} ({entry['device']})" for entry in entries if entry["mount"] not in mounted]
    if lost:
        advice = (
            "Take entries of data disks out of /etc/fstab, or give them `nofail`: their disks are not in the image."
        )
        return failed(name, title, f"on no partition of this disk: {listed(lost)}", advice)
    fragile = [entry["device"] for entry in entries if entry["device"].startswith(("/dev/sd", "/dev/hd", "/dev/xvd"))]
    if fragile:
        advice = "Name file systems by UUID= or LABEL=: the system disk is /dev/vda here."
        return failed(name, title, f"by names that change: {listed(fragile)}", advice)
    return ok(name, title, listed([entry["mount"] for entry in entries]) or "it has no entries")


def _needs_device(entry: dict[str, str]) -> bool:
    options = set(entry["options"].split(","))
    local = entry["device"].startswith(("/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="))
    cd_rom = entry["device"].startswith(("/dev/sr", "/dev/cdrom", "/dev/fd"))
    return local and not cd_rom and entry["type"] not in _NO_DISK and not options & _NO_DEVICE_NEEDED


def drivers(facts: dict[str, Any]) -> Item:
    """Of the newest kernel, which is what the boot loader starts as a rule."""
    name, title, kernels = "Drivers", "drivers for virtio", facts["system"]["linux"]["kernels"]
    if not kernels:
        return unknown(name, title, "no kernel was found")
    kernel = kernels[-1]
    places = kernel["drivers"]
    found = listed([f"{driver} {place}" for driver, place in places.items()])
    found = f"{kernel['version']}: {found}" if kernel["version"] else found
    if places["virtio_blk"] in _MISSING or places["virtio_pci"] in _MISSING:
        advice = (
            "Put virtio_blk and virtio_pci into the initramfs: a line for each in /etc/initramfs-tools/modules and "
            "`update-initramfs -u`, or `dracut -f --add-drivers 'virtio_blk virtio_pci'`."
        )
        return failed(name, title, found, advice)
    if "unknown" in places.values():
        return unknown(name, title, found, f"The initramfs {kernel['initramfs']} could not be read.")
    if places["virtio_net"] == "missing":
        return warning(name, title, found, "Without virtio_net there is no network; install a kernel that has it.")
    return ok(name, title, found)


def selinux(facts: dict[str, Any]) -> Item:
    name, title, mode = "SELinux", "SELinux", facts["system"]["linux"]["selinux"]
    if mode in ("", "disabled"):
        return ok(name, title, mode or "not installed")
    advice = "Set SELINUX=disabled in /etc/selinux/config: the guide asks for it, as a system may fail to start."
    return warning(name, title, mode, advice)


RULES = (
    file_system,
    free_space,
    release_files,
    system_files,
    boot_loader,
    drivers,
    fstab,
    selinux,
)
