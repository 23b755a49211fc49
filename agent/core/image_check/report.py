"""The report of a disk: its items in order, and what they come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.core.image_check import disk, linux, linux_login, windows
from agent.core.image_check.item import Item, Level, failed, unknown
from agent.core.specs import ImageInfo

Facts = dict[str, Any]
Rule = Callable[[Facts], Item]

LINUX: tuple[Rule, ...] = (*linux.RULES, *linux_login.RULES)


@dataclass(frozen=True)
class Report:
    """`system`: the operating system found, by its own name; empty: none. `platform`: what to import it as."""

    items: tuple[Item, ...]
    system: str = ""
    os_type: str = ""
    architecture: str = ""
    platform: str = ""

    @property
    def level(self) -> Level:
        """The worst of all items."""
        levels = {item.level for item in self.items}
        return next((level for level in (Level.FAILED, Level.WARNING, Level.UNKNOWN) if level in levels), Level.OK)


def unreadable(why: str) -> Report:
    """Of a file that is no image, or none that may be used."""
    advice = "Bring one whole image of a supported format, which refers to no other file."
    return Report((failed("Format", "file format", why, advice),))


def report(info: ImageInfo | None, facts: Facts) -> Report:
    """`info` None: a disk of ours, whose file nobody brings."""
    items = [*(disk.file_rules(info) if info else ()), *(rule(facts) for rule in disk.RULES)]
    system = facts["system"]
    if system is None:
        why = "no operating system was found"
        items.append(failed("System", "operating system", why, "Bring a disk with an installed system."))
        return Report(tuple(items))
    items.append(disk.one_system(facts))
    if "unreadable" in system:
        items.append(unknown("SystemFiles", "the system's files", system["unreadable"], "Repair its file systems."))
    elif system["type"] == "linux":
        items += [rule(facts) for rule in LINUX]
    elif system["type"] == "windows":
        items += [rule(facts) for rule in windows.RULES]
    return Report(
        tuple(items),
        system=system["name"],
        os_type=system["type"],
        architecture=system["architecture"],
        platform=_platform(system),
    )


# The public API's platforms, by what distributions call themselves in os-release, or libguestfs calls older ones.
_PLATFORMS = {
    "debian": "Debian",
    "ubuntu": "Ubuntu",
    "centos": "CentOS",
    "opensuse": "OpenSUSE",
    "opensuse-leap": "OpenSUSE",
    "opensuse-tumbleweed": "OpenSUSE",
    "sles": "SUSE",
    "sles_sap": "SUSE",
    "coreos": "CoreOS",
    "redhat": "RedHat",
    "rhel": "RedHat",
    "almalinux": "AlmaLinux",
    "rocky": "Rocky Linux",
    "fedora": "Fedora",
    "alpine": "Alpine",
    "gentoo": "Gentoo",
    "anolis": "Anolis",
    "alinux": "Aliyun",
    "freebsd": "FreeBSD",
}


def _platform(system: Facts) -> str:
    """A system that cloud-init sets up may be called by its name; files of another one are changed."""
    if system["type"] == "windows":
        return windows.platform(system["name"])
    if system["type"] != "linux":
        return _PLATFORMS.get(system["distro"], "")
    found = system.get("linux")
    if found is None or not found["shadow"]["present"]:
        return "Others Linux"
    if not found["cloud_init"]["installed"] or found["cloud_init"]["disabled"]:
        return "Customized Linux"
    return _PLATFORMS.get(system["distro"], "Customized Linux")
