"""What facts about a disk come to: golden reports, and what each single fact changes in them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from agent.core import image_check
from agent.core.image_check import Level, Report
from agent.core.specs import ImageInfo
from tests.support import golden
from tests.support.image_facts import GIB, LINUX, WINDOWS, Facts

RAW = ImageInfo("raw", "", 40 * GIB, 2 * GIB)


def _text(report: Report) -> str:
    lines = [f"{report.level.value}: {report.system} ({report.os_type}), import it as {report.platform}"]
    for item in report.items:
        lines.append(f"{item.level.value:8} {item.name}: {item.title}: {item.found}")
        lines += [f"         {item.advice}"] if item.advice else []
    return "\n".join(lines) + "\n"


def _level(facts: Facts, name: str, info: ImageInfo | None = RAW) -> Level:
    return next(item.level for item in image_check.report(info, facts).items if item.name == name)


def _changed(facts: Facts, change: Callable[[Facts], Any]) -> Facts:
    changed = copy.deepcopy(facts)
    change(changed)
    return changed


def test_reports_of_good_disks_and_of_none() -> None:
    golden.check("image_check/linux.txt", _text(image_check.report(RAW, LINUX)))
    golden.check("image_check/windows.txt", _text(image_check.report(RAW, WINDOWS)))
    empty = {
        "partition_table": "",
        "partitions": [],
        "boot_code": False,
        "file_systems": [],
        "systems": 0,
        "system": None,
    }
    golden.check("image_check/empty.txt", _text(image_check.report(RAW, empty)))
    golden.check("image_check/unreadable.txt", _text(image_check.unreadable("it refers to /etc/passwd")))


def _linux(facts: Facts) -> Facts:
    found: Facts = facts["system"]["linux"]
    return found


def _windows(facts: Facts) -> Facts:
    found: Facts = facts["system"]["windows"]
    return found


def test_each_fact_of_a_linux_disk_has_its_consequence() -> None:
    wrong: list[tuple[str, Level, Callable[[Facts], Any]]] = [
        ("PartitionTable", Level.WARNING, lambda f: f.update(partition_table="gpt")),
        ("PartitionTable", Level.FAILED, lambda f: f.update(partition_table="")),
        ("PartitionTable", Level.FAILED, lambda f: f.update(partition_table="sun")),
        ("RootPartition", Level.WARNING, lambda f: f["partitions"].append({"number": 2, "bytes": GIB})),
        ("RootPartition", Level.FAILED, lambda f: f["partitions"].clear()),
        ("BootCode", Level.FAILED, lambda f: f.update(boot_code=False)),
        ("Integrity", Level.FAILED, lambda f: f["file_systems"][0].update(damage="bad superblock")),
        ("Integrity", Level.UNKNOWN, lambda f: f["file_systems"][0].update(damage=None)),
        ("Integrity", Level.UNKNOWN, lambda f: f["file_systems"].clear()),
        ("System", Level.WARNING, lambda f: f.update(systems=2)),
        ("FileSystem", Level.WARNING, lambda f: f["file_systems"][0].update(type="xfs")),
        ("FreeSpace", Level.FAILED, lambda f: _linux(f)["free"].update(bytes=GIB // 3)),
        ("FreeSpace", Level.FAILED, lambda f: _linux(f)["free"].update(inodes=10)),
        ("FreeSpace", Level.UNKNOWN, lambda f: _linux(f)["free"].update(total_bytes=0)),
        ("ReleaseFiles", Level.FAILED, lambda f: _linux(f)["release_files"].clear()),
        ("SystemFiles", Level.FAILED, lambda f: _linux(f).update(init=False)),
        ("SystemFiles", Level.UNKNOWN, lambda f: f["system"].update(unreadable="it cannot be mounted")),
        ("BootLoader", Level.FAILED, lambda f: _linux(f)["boot"].update(loader="", configuration="")),
        ("BootLoader", Level.FAILED, lambda f: _linux(f)["boot"].update(loader="EFI", configuration="")),
        ("BootLoader", Level.FAILED, lambda f: _linux(f)["boot"].update(kernels=[])),
        ("Drivers", Level.FAILED, lambda f: _linux(f)["kernels"][0]["drivers"].update(virtio_blk="module")),
        ("Drivers", Level.FAILED, lambda f: _linux(f)["kernels"][0]["drivers"].update(virtio_pci="missing")),
        ("Drivers", Level.UNKNOWN, lambda f: _linux(f)["kernels"][0]["drivers"].update(virtio_blk="unknown")),
        ("Drivers", Level.WARNING, lambda f: _linux(f)["kernels"][0]["drivers"].update(virtio_net="missing")),
        ("Drivers", Level.UNKNOWN, lambda f: _linux(f)["kernels"].clear()),
        ("Fstab", Level.FAILED, lambda f: _linux(f)["fstab"].append(_entry("UUID=2", "/data"))),
        ("Fstab", Level.OK, lambda f: _linux(f)["fstab"].append(_entry("UUID=2", "/data", options="nofail"))),
        ("Fstab", Level.OK, lambda f: _linux(f)["fstab"].append(_entry("UUID=3", "none", type="swap"))),
        ("Fstab", Level.OK, lambda f: _linux(f)["fstab"].append(_entry("/dev/sr0", "/media/cdrom0"))),
        ("Fstab", Level.FAILED, lambda f: _linux(f)["fstab"][0].update(device="/dev/sda1")),
        ("Fstab", Level.OK, lambda f: _linux(f)["fstab"].clear()),
        ("SELinux", Level.WARNING, lambda f: _linux(f).update(selinux="enforcing")),
        ("SELinux", Level.OK, lambda f: _linux(f).update(selinux="disabled")),
        ("Shadow", Level.FAILED, lambda f: _linux(f)["shadow"].update(present=False)),
        ("Shadow", Level.FAILED, lambda f: _linux(f)["shadow"].update(immutable=True)),
        ("RootLogin", Level.FAILED, lambda f: _linux(f)["shadow"].update(root="empty")),
        ("RootLogin", Level.FAILED, lambda f: _linux(f)["ssh"].update(root="no")),
        ("RootLogin", Level.WARNING, lambda f: _linux(f)["cloud_init"].update(disable_root=True)),
        ("Port22", Level.FAILED, lambda f: _linux(f)["ssh"].update(server="")),
        ("Port22", Level.FAILED, lambda f: _linux(f)["ssh"].update(enabled=False)),
        ("Port22", Level.FAILED, lambda f: _linux(f)["ssh"].update(ports=[2222])),
        ("Port22", Level.UNKNOWN, lambda f: _linux(f)["ssh"].update(enabled=None)),
        ("Firewall", Level.WARNING, lambda f: _linux(f).update(firewalls=["ufw"])),
        ("CloudInit", Level.WARNING, lambda f: _linux(f)["cloud_init"].update(installed=False)),
        ("CloudInit", Level.WARNING, lambda f: _linux(f)["cloud_init"].update(disabled=True)),
        ("CloudInit", Level.FAILED, lambda f: _linux(f)["cloud_init"].update(datasources=["Ec2"])),
        ("CloudInit", Level.OK, lambda f: _linux(f)["cloud_init"].update(datasources=["Ec2", "NoCloud"])),
        ("GuestAgent", Level.WARNING, lambda f: _linux(f).update(guest_agent=True)),
        ("NetworkInterfaces", Level.FAILED, lambda f: _linux(f)["interfaces"][0].update(method="static")),
        ("NetworkInterfaces", Level.WARNING, lambda f: _linux(f)["interfaces"].append(_interface("eth1"))),
        ("NetworkInterfaces", Level.OK, lambda f: _linux(f)["interfaces"].append(_interface("en*"))),
        ("NetworkInterfaces", Level.OK, lambda f: _linux(f)["interfaces"].clear()),
    ]
    for name, level, change in wrong:
        facts = _changed(LINUX, change)
        assert _level(facts, name) is level, (name, facts)


def _entry(device: str, mount: str, *, type: str = "ext4", options: str = "defaults") -> dict[str, str]:
    return {"device": device, "mount": mount, "type": type, "options": options}


def _interface(name: str) -> dict[str, str]:
    return {"name": name, "method": "dhcp"}


def test_each_fact_of_a_windows_disk_has_its_consequence() -> None:
    wrong: list[tuple[str, Level, Callable[[Facts], Any]]] = [
        ("RootPartition", Level.OK, lambda f: None),
        ("Edition", Level.FAILED, lambda f: f["system"].update(name="Windows 10 Pro")),
        ("Edition", Level.WARNING, lambda f: f["system"].update(name="Windows Server 2019 Standard")),
        ("Edition", Level.OK, lambda f: f["system"].update(name="Windows Server 2008 R2 Enterprise")),
        ("FileSystem", Level.FAILED, lambda f: f["file_systems"][1].update(type="refs")),
        ("Drivers", Level.FAILED, lambda f: _windows(f).update(drivers=["netkvm"])),
        ("Drivers", Level.FAILED, lambda f: _windows(f).update(drivers=["viostor"])),
        ("Drivers", Level.WARNING, lambda f: _windows(f).update(boot_drivers=[])),
        ("Port3389", Level.FAILED, lambda f: _windows(f).update(remote_desktop=False)),
        ("Port3389", Level.FAILED, lambda f: _windows(f).update(remote_desktop_port=3390)),
        ("Port3389", Level.UNKNOWN, lambda f: _windows(f).update(remote_desktop=None)),
        ("Firewall", Level.WARNING, lambda f: _windows(f).update(firewalls=["PublicProfile"])),
        ("Firewall", Level.UNKNOWN, lambda f: _windows(f).pop("firewalls")),
        ("CloudInit", Level.WARNING, lambda f: _windows(f).update(cloudbase_init=False)),
        ("GuestAgent", Level.WARNING, lambda f: _windows(f).update(guest_agent=True)),
        ("NetworkInterfaces", Level.WARNING, lambda f: _windows(f).update(interfaces=2)),
        ("NetworkInterfaces", Level.UNKNOWN, lambda f: _windows(f).update(interfaces=None)),
    ]
    for name, level, change in wrong:
        facts = _changed(WINDOWS, change)
        assert _level(facts, name) is level, (name, facts)


def test_the_file_and_what_to_import_it_as() -> None:
    assert _level(LINUX, "Format", ImageInfo("vhd", "fixed", GIB, GIB)) is Level.OK
    assert _level(LINUX, "Format", ImageInfo("vmdk", "sparse", GIB, GIB)) is Level.WARNING
    assert _level(LINUX, "VirtualSize", ImageInfo("raw", "", 600 * GIB, GIB)) is Level.FAILED
    assert "Format" not in [item.name for item in image_check.report(None, LINUX).items]
    platforms = {
        "Debian": LINUX,
        "Customized Linux": _changed(LINUX, lambda f: _linux(f)["cloud_init"].update(installed=False)),
        "Others Linux": _changed(LINUX, lambda f: _linux(f)["shadow"].update(present=False)),
        "AlmaLinux": _changed(LINUX, lambda f: f["system"].update(distro="almalinux")),
        "Windows Server 2012": WINDOWS,
        "FreeBSD": _changed(LINUX, lambda f: f["system"].update(type="freebsd", distro="freebsd")),
    }
    for platform, facts in platforms.items():
        assert image_check.report(RAW, facts).platform == platform
    assert image_check.report(RAW, WINDOWS).level is Level.OK
    assert image_check.report(RAW, _changed(LINUX, lambda f: f.update(boot_code=False))).level is Level.FAILED
