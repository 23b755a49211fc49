"""Disks of a running guest: plugged in, let go of, grown, limited. A disk is found by its serial, never by its target.

A guest lets go of a disk when it wants to: the request only asks. libvirt tells of it by an event (see events), and
until then the domain has the disk, with everything written to it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

import libvirt

from agent.core.errors import DriverError
from agent.core.specs import DiskSpec
from agent.drivers.hypervisor import guest_agent
from agent.drivers.hypervisor.domain_xml import disk_xml

# What QEMU says to a second request while the guest has not answered the first one.
ASKED_ALREADY = "in the process of unplug"


@dataclass(frozen=True)
class LiveDisk:
    """A disk as a running domain has it. `alias` is QEMU's name of the device."""

    serial: str
    target: str
    alias: str


def live_disks(description: str) -> dict[str, LiveDisk]:
    """The disks with a serial in the XML of a running domain, by serial: pure."""
    found = (_live_disk(element) for element in ET.fromstring(description).iterfind("./devices/disk[@device='disk']"))
    return {disk.serial: disk for disk in found if disk is not None}


def _live_disk(element: ET.Element) -> LiveDisk | None:
    serial, target, alias = element.find("serial"), element.find("target"), element.find("alias")
    if serial is None or target is None or alias is None:
        return None
    return LiveDisk(serial.text or "", target.get("dev", ""), alias.get("name", ""))


def attached(domain: libvirt.virDomain) -> dict[str, LiveDisk]:
    return live_disks(domain.XMLDesc())


def attach(domain: libvirt.virDomain, disk: DiskSpec) -> None:
    if disk.serial not in attached(domain):
        domain.attachDeviceFlags(disk_xml(disk), libvirt.VIR_DOMAIN_AFFECT_LIVE)


def request_detach(domain: libvirt.virDomain, serial: str) -> None:
    disk = attached(domain).get(serial)
    if disk is None:
        return
    try:
        domain.detachDeviceAlias(disk.alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        if serial in attached(domain) and ASKED_ALREADY not in str(error):
            raise


def resize(domain: libvirt.virDomain, serial: str, size_bytes: int) -> None:
    domain.blockResize(_need(domain, serial).target, size_bytes, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def limit(domain: libvirt.virDomain, disk: DiskSpec) -> None:
    """0 stands for no limit."""
    wanted = {"total_iops_sec": disk.total_iops or 0, "total_bytes_sec": disk.total_bytes_per_second or 0}
    domain.setBlockIoTune(_need(domain, disk.serial).target, wanted, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def mounted(domain: libvirt.virDomain, serial: str) -> list[str] | None:
    """None when no agent answers, or it cannot tell."""
    description = domain.XMLDesc()
    disk = live_disks(description).get(serial)
    if disk is None or not guest_agent.is_connected(description):
        return None
    try:
        domain.agentSetResponseTimeout(guest_agent.ANSWER_SECONDS)
        answer = domain.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_FILESYSTEM)
    except libvirt.libvirtError:
        return None
    return sorted(mount_points(answer, disk))


def mount_points(answer: dict[str, object], disk: LiveDisk) -> Iterator[str]:
    """Those of `disk` in what libvirt makes of the agent's guest-get-fsinfo: pure."""
    for number in range(_count(answer, "fs.count")):
        head = f"fs.{number}"
        for part in range(_count(answer, f"{head}.disk.count")):
            serial, target = (answer.get(f"{head}.disk.{part}.{key}") for key in ("serial", "alias"))
            if serial == disk.serial or (serial is None and target == disk.target):
                yield str(answer[f"{head}.mountpoint"])
                break


def _count(answer: dict[str, object], key: str) -> int:
    return int(str(answer.get(key, 0)))


def _need(domain: libvirt.virDomain, serial: str) -> LiveDisk:
    disk = attached(domain).get(serial)
    if disk is None:
        raise DriverError(f"domain {domain.name()} has no disk {serial}")
    return disk
