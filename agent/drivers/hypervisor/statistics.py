"""Counters of all guests in one call of libvirt's.

libvirt names a disk in them by its target and the file that is written to. Whose they are its XML says, which is read
again only when something about a guest's disks has changed.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import libvirt

from agent.core.specs import DiskCounters, GuestCounters

Disks = tuple[tuple[str, str], ...]  # target and file of each


class Statistics:
    """Not thread-safe: one asks at a time."""

    def __init__(self) -> None:
        self._serials: dict[str, tuple[Disks, dict[str, str]]] = {}  # by run: for which disks, serials by target

    def read(self, connection: libvirt.virConnect, own: str) -> dict[str, GuestCounters]:
        """Of the running domains whose names begin with `own`."""
        # A domain that something long goes on with must not hold up all others.
        flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        found, known = {}, {}
        for domain, values in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_BLOCK, flags):
            if not domain.name().startswith(own):
                continue
            run = f"{domain.UUIDString()}/{domain.ID()}"
            blocks = blocks_of(values)
            disks: Disks = tuple((block["name"], block.get("path", "")) for block in blocks)
            if not any("rd.reqs" in block for block in blocks):
                found[domain.name()] = GuestCounters(run, None)
                continue
            known[run] = self._known(domain, run, disks)
            found[domain.name()] = GuestCounters(run, counters(blocks, known[run][1]))
        self._serials = known
        return found

    def _known(self, domain: libvirt.virDomain, run: str, disks: Disks) -> tuple[Disks, dict[str, str]]:
        kept = self._serials.get(run)
        return kept if kept is not None and kept[0] == disks else (disks, serials(domain.XMLDesc()))


def blocks_of(values: dict[str, Any]) -> list[dict[str, Any]]:
    """libvirt's flat `block.0.name`, `block.0.rd.reqs`, … as one dictionary for each disk."""
    blocks: list[dict[str, Any]] = [{} for _ in range(values.get("block.count", 0))]
    for key, value in values.items():
        head, _, rest = key.partition(".")
        number, _, name = rest.partition(".")
        if head == "block" and name:
            blocks[int(number)][name] = value
    return blocks


def serials(description: str) -> dict[str, str]:
    """By target the serial of each disk that has one, in a domain's XML: CD-ROMs have none."""
    found = {}
    for disk in ET.fromstring(description).iterfind("./devices/disk"):
        target, serial = disk.find("target"), disk.findtext("serial")
        if target is not None and serial:
            found[target.get("dev", "")] = serial
    return found


def counters(blocks: list[dict[str, Any]], by_target: dict[str, str]) -> dict[str, DiskCounters]:
    """By serial, of the disks that have one."""
    return {
        by_target[block["name"]]: DiskCounters(
            reads=block.get("rd.reqs", 0),
            writes=block.get("wr.reqs", 0),
            bytes_read=block.get("rd.bytes", 0),
            bytes_written=block.get("wr.bytes", 0),
            read_ns=block.get("rd.times", 0),
            write_ns=block.get("wr.times", 0),
        )
        for block in blocks
        if block.get("name") in by_target
    }
