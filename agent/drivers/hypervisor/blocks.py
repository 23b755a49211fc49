"""The files under a running domain's disks: which they are, going over to a new one, and merging two below it.

A disk is found by its serial. What libvirt's live XML says is the truth; it follows QEMU, also after libvirtd was
restarted.
"""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import libvirt

from agent.core.errors import DriverError
from agent.drivers.hypervisor import guest_agent

_SWITCH = (
    libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
)


def chains(domain: libvirt.virDomain) -> dict[str, tuple[Path, ...]]:
    """By serial the files of each disk of an active domain: the one that is written to, its backing file, …"""
    return chains_in(domain.XMLDesc())


def chains_in(description: str) -> dict[str, tuple[Path, ...]]:
    """The same from the XML of an active domain."""
    found = {}
    for disk in ET.fromstring(description).iterfind("./devices/disk[@device='disk']"):
        serial = disk.findtext("serial")
        if serial:
            found[serial] = tuple(_files(disk))
    return found


def _files(disk: ET.Element) -> Iterator[Path]:
    layer: ET.Element | None = disk
    while layer is not None:
        source = layer.find("source")
        if source is not None and source.get("file"):
            yield Path(source.get("file", ""))
        layer = layer.find("backingStore")


def switch(domain: libvirt.virDomain, serial: str, new: Path, *, quiet: bool) -> None:
    """Let the disk write to `new`, an empty overlay on its file. With `quiet`, the guest's file systems are frozen
    meanwhile, by its guest agent; libvirt raises an error if that fails, and nothing is switched."""
    target = _target(domain, serial)
    stop_merging(domain, serial)  # an interrupted merge is taken up again; libvirt would refuse to switch during one
    flags = _SWITCH
    if quiet:
        domain.agentSetResponseTimeout(guest_agent.ANSWER_SECONDS)
        flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE
    domain.snapshotCreateXML(switch_xml(domain.XMLDesc(), target, new), flags)


def switch_xml(description: str, target: str, new: Path) -> str:
    """libvirt's description of the switch of one disk of the domain, and of no other."""
    snapshot = ET.Element("domainsnapshot")
    disks = ET.SubElement(snapshot, "disks")
    for found in ET.fromstring(description).iterfind("./devices/disk/target"):
        name = found.get("dev", "")
        if name != target:
            ET.SubElement(disks, "disk", name=name, snapshot="no")
            continue
        disk = ET.SubElement(disks, "disk", name=name, snapshot="external", type="file")
        ET.SubElement(disk, "driver", type="qcow2")
        ET.SubElement(disk, "source", file=str(new))
    return ET.tostring(snapshot, encoding="unicode")


def thaw(domain: libvirt.virDomain) -> None:
    """Let the guest's file systems go on, whether they were frozen or not."""
    domain.agentSetResponseTimeout(guest_agent.ANSWER_SECONDS)
    domain.fsThaw()


# ---------------------------------------------------------------------------------- merging


def start_merging(domain: libvirt.virDomain, serial: str, layer: Path, into: Path) -> None:
    """Begin to write the content of `layer`, which is below the disk's own file, into `into` right below it."""
    domain.blockCommit(_target(domain, serial), str(into), str(layer), 0, 0)


def merging(domain: libvirt.virDomain, serial: str) -> tuple[int, int] | None:
    """How far a merge is: done and all, in bytes. None: there is none (any more)."""
    job = domain.blockJobInfo(_target(domain, serial), 0)
    return (int(job["cur"]), int(job["end"])) if job else None


def stop_merging(domain: libvirt.virDomain, serial: str) -> None:
    """Give up a merge; when this returns there is none."""
    target = _target(domain, serial)
    if domain.blockJobInfo(target, 0):
        with contextlib.suppress(libvirt.libvirtError):  # it has just ended
            domain.blockJobAbort(target, 0)
        if domain.blockJobInfo(target, 0):
            raise DriverError(f"the merge below disk {target} of domain {domain.name()} cannot be stopped")


def _target(domain: libvirt.virDomain, serial: str) -> str:
    for disk in ET.fromstring(domain.XMLDesc()).iterfind("./devices/disk"):
        target = disk.find("target")
        if disk.findtext("serial") == serial and target is not None:
            return target.get("dev", "")
    raise DriverError(f"domain {domain.name()} has no disk with the serial {serial}")
