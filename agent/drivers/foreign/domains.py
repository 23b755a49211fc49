"""Domains of this host's libvirt that are not ours, over a connection that can only read."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import libvirt

from agent.core.foreign import ForeignDisk, ForeignGuest
from agent.core.specs import IMAGE_FORMATS
from agent.drivers.hypervisor.errors import driver_error, unreachable
from agent.drivers.hypervisor.pool import close_quietly

_OS = "{http://libosinfo.org/xmlns/libvirt/domain/1.0}os"
_WINDOWS = "microsoft.com"
_MIB = {"b": 2**-20, "KiB": 2**-10, "MiB": 1, "GiB": 2**10, "TiB": 2**20}
_FORMATS = {"vpc": "vhd"} | {name: name for name in IMAGE_FORMATS}  # of libvirt, by ours
_LAST = 10**6  # in the order of boot: not named in it


def guests(uri: str, own: str) -> list[ForeignGuest]:
    """All whose names do not begin with `own`, by name. Raises DriverError."""
    with _connection(uri) as connection:
        domains = [domain for domain in connection.listAllDomains() if not domain.name().startswith(own)]
        # As it will be at its next start, if it was changed since this one.
        described = [(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), bool(domain.isActive())) for domain in domains]
    return sorted((guest(text, running=running) for text, running in described), key=lambda one: one.name)


@contextlib.contextmanager
def _connection(uri: str) -> Iterator[libvirt.virConnect]:
    try:
        connection = libvirt.openReadOnly(uri)
    except libvirt.libvirtError as error:
        raise unreachable(error, uri) from None
    try:
        yield connection
    except libvirt.libvirtError as error:
        raise driver_error(error, "look at other guests") from None
    finally:
        close_quietly(connection)


def guest(description: str, *, running: bool) -> ForeignGuest:
    """From a domain's XML: pure."""
    domain = ET.fromstring(description)
    memory, family = domain.find("memory"), domain.find(f".//{_OS}")
    uefi = domain.find("os/loader[@type='pflash']") is not None or domain.find("os[@firmware='efi']") is not None
    disks = sorted(domain.iterfind("devices/disk"), key=_place)
    return ForeignGuest(
        name=domain.findtext("name", ""),
        vcpus=int(domain.findtext("vcpu", "1")),
        memory_mib=0 if memory is None else int(int(memory.text or 0) * _MIB.get(memory.get("unit", "KiB"), 2**-10)),
        disks=tuple(_disk(disk) for disk in disks if disk.get("device", "disk") == "disk"),
        macs=tuple(mac.get("address", "").lower() for mac in domain.iterfind("devices/interface/mac")),
        os_type="windows" if family is not None and _WINDOWS in family.get("id", "") else "linux",
        running=running,
        firmware="uefi" if uefi else "bios",
    )


def _place(disk: ET.Element) -> int:
    """First the one that is booted from; others stay as libvirt sorts them."""
    boot = disk.find("boot")
    return int(boot.get("order", _LAST)) if boot is not None else _LAST


def _disk(disk: ET.Element) -> ForeignDisk:
    source, target, driver = disk.find("source"), disk.find("target"), disk.find("driver")
    device, bus = ("", "") if target is None else (target.get("dev", ""), target.get("bus", ""))
    said = "raw" if driver is None else driver.get("type", "raw")
    path = "" if source is None else source.get("file", "")
    problem = ""
    if not path:
        problem = f"disk {device} is no file: copy it into one with `qemu-img convert`, and import that"
    elif said not in _FORMATS:
        problem = f"disk {device} ({path}) is in the format {said}, which cannot be read"
    return ForeignDisk(Path(path), _FORMATS.get(said, said), device, bus == "virtio", problem)
