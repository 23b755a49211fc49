"""DomainSpec → libvirt domain XML: pure, one small builder per part of the machine.

Decisions that are not obvious from the elements themselves:

- Disks use `cache='none'`: a guest's flush reaches the device and nothing lingers in the host's page cache, where
  neither the guest's memory size nor a snapshot accounts for it. A flush is honoured in every mode but `unsafe`.
- No disk names its backing chain: libvirt reads it from the file, which is the truth after snapshots and merges.
- The DAC label is fixed and relabelling is off. QEMU runs as `QemuUser`; libvirt changes the owner of no file, so
  an image shared by many guests never changes hands when one of them starts or stops.
- `on_crash` destroys: a preserved guest would keep its memory and its disk locks until somebody looks at it.
- VNC and serial are local: VNC on a unix socket that libvirt chooses, serial on a pty for an interactive console
  and, at the same time, appended to the console log.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from agent.core.errors import DriverError
from agent.core.specs import DiskSpec, DomainSpec, NicSpec
from agent.drivers.hypervisor.guest_agent import CHANNEL
from agent.drivers.qemu_user import QemuUser

MANUFACTURER = "Alibaba Cloud"
PRODUCT = "Alibaba Cloud ECS"


def domain_xml(spec: DomainSpec, user: QemuUser) -> str:
    """The whole domain. Raises DriverError for an acceleration that is neither `kvm` nor `tcg`."""
    if spec.acceleration not in ("kvm", "tcg"):
        raise DriverError(f"domain {spec.name}: acceleration {spec.acceleration!r} must be kvm or tcg")
    domain = ET.Element("domain", type="kvm" if spec.acceleration == "kvm" else "qemu")
    _text(domain, "name", spec.name)
    _text(domain, "uuid", spec.uuid)
    _text(domain, "memory", str(spec.memory_mib), unit="MiB")
    _text(domain, "vcpu", str(spec.vcpus))
    domain.extend(_platform(spec))
    domain.append(_cpu(spec))
    domain.extend(_life_cycle())
    domain.append(_devices(spec))
    domain.append(_label(user))
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


# ---------------------------------------------------------------------------------- machine


def _platform(spec: DomainSpec) -> Iterator[ET.Element]:
    info = ET.Element("sysinfo", type="smbios")
    system = ET.SubElement(info, "system")
    _text(system, "entry", MANUFACTURER, name="manufacturer")
    _text(system, "entry", PRODUCT, name="product")
    _text(system, "entry", spec.uuid, name="serial")
    _text(system, "entry", spec.uuid, name="uuid")
    yield info
    firmware = ET.Element("os")
    _text(firmware, "type", "hvm", arch="x86_64", machine=spec.machine)
    ET.SubElement(firmware, "boot", dev="hd")
    ET.SubElement(firmware, "smbios", mode="sysinfo")
    yield firmware
    features = ET.Element("features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    yield features
    clock = ET.Element("clock", offset="utc")
    ET.SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
    ET.SubElement(clock, "timer", name="pit", tickpolicy="delay")
    ET.SubElement(clock, "timer", name="hpet", present="no")
    yield clock


def _cpu(spec: DomainSpec) -> ET.Element:
    if spec.acceleration == "tcg":
        # All that TCG can do: boots as fast as the plainest model, and runs what was built for x86-64-v3.
        return ET.Element("cpu", mode="maximum", check="none")
    cpu = ET.Element("cpu", mode="host-passthrough", check="none", migratable="on")
    if not spec.nested_virtualization:
        for name in ("vmx", "svm"):
            ET.SubElement(cpu, "feature", policy="disable", name=name)
    return cpu


def _life_cycle() -> Iterator[ET.Element]:
    for event, action in (("poweroff", "destroy"), ("reboot", "restart"), ("crash", "destroy")):
        element = ET.Element(f"on_{event}")
        element.text = action
        yield element
    # A guest that suspends itself looks dead and nothing in the API could wake it.
    sleep = ET.Element("pm")
    ET.SubElement(sleep, "suspend-to-mem", enabled="no")
    ET.SubElement(sleep, "suspend-to-disk", enabled="no")
    yield sleep


def _label(user: QemuUser) -> ET.Element:
    label = ET.Element("seclabel", type="static", model="dac", relabel="no")
    _text(label, "label", f"+{user.uid}:+{user.gid}")
    return label


# ---------------------------------------------------------------------------------- devices


def _devices(spec: DomainSpec) -> ET.Element:
    devices = ET.Element("devices")
    devices.extend(_disk(disk) for disk in spec.disks)
    if spec.seed is not None:
        devices.append(_seed(str(spec.seed), spec.machine))
    devices.append(ET.Element("controller", type="usb", model="none"))
    devices.extend(_nic(nic) for nic in spec.nics)
    devices.append(_serial(str(spec.console_log)))
    devices.append(_agent_channel())
    devices.extend(_display())
    devices.append(_rng())
    # Gives pages that the guest has freed back to the host.
    devices.append(ET.Element("memballoon", model="virtio", freePageReporting="on"))
    # Tells a kernel panic from a guest that merely hangs.
    devices.append(ET.Element("panic", model="isa"))
    return devices


def _disk(disk: DiskSpec) -> ET.Element:
    element = ET.Element("disk", type="file", device="disk")
    ET.SubElement(element, "driver", name="qemu", type=disk.format, cache="none", discard="unmap")
    ET.SubElement(element, "source", file=str(disk.path))
    ET.SubElement(element, "target", dev=disk.device, bus=disk.bus)
    _text(element, "serial", disk.serial)
    limits = (("total_bytes_sec", disk.total_bytes_per_second), ("total_iops_sec", disk.total_iops))
    if any(value is not None for _, value in limits):
        tune = ET.SubElement(element, "iotune")
        for tag, value in limits:
            if value is not None:
                _text(tune, tag, str(value))
    return element


def _seed(path: str, machine: str) -> ET.Element:
    """A CD-ROM: IDE on `pc`, because Debian's cloud kernel has no AHCI; elsewhere SATA, because there is no IDE."""
    device, bus = ("hda", "ide") if machine == "pc" else ("sda", "sata")
    element = ET.Element("disk", type="file", device="cdrom")
    ET.SubElement(element, "driver", name="qemu", type="raw")
    ET.SubElement(element, "source", file=path)
    ET.SubElement(element, "target", dev=device, bus=bus)
    ET.SubElement(element, "readonly")
    return element


def _nic(nic: NicSpec) -> ET.Element:
    """On a tap that exists already; libvirt neither makes nor removes it."""
    element = ET.Element("interface", type="ethernet")
    ET.SubElement(element, "mac", address=nic.mac)
    ET.SubElement(element, "target", dev=nic.tap, managed="no")
    ET.SubElement(element, "model", type=nic.model)
    ET.SubElement(element, "mtu", size=str(nic.mtu))
    return element


def _serial(log: str) -> ET.Element:
    element = ET.Element("serial", type="pty")
    ET.SubElement(element, "log", file=log, append="on")
    ET.SubElement(element, "target", port="0")
    return element


def _agent_channel() -> ET.Element:
    element = ET.Element("channel", type="unix")
    ET.SubElement(element, "target", type="virtio", name=CHANNEL)
    return element


def _display() -> Iterator[ET.Element]:
    graphics = ET.Element("graphics", type="vnc")
    ET.SubElement(graphics, "listen", type="socket")
    yield graphics
    video = ET.Element("video")
    ET.SubElement(video, "model", type="vga", vram="16384")
    yield video


def _rng() -> ET.Element:
    element = ET.Element("rng", model="virtio")
    _text(element, "backend", "/dev/urandom", model="random")
    return element
