"""DomainSpec → libvirt domain XML: pure, one small builder per part of the machine.

Decisions that are not obvious from the elements themselves:

- Disks use `cache='none'`: a guest's flush reaches the device and nothing lingers in the host's page cache, where
  neither the guest's memory size nor a snapshot accounts for it. A flush is honoured in every mode but `unsafe`.
- No disk names its backing chain: libvirt reads it from the file, which is the truth after snapshots and merges.
- The DAC label is fixed and relabelling is off. QEMU runs as `QemuUser`; libvirt changes the owner of no file, so
  an image shared by many guests never changes hands when one of them starts or stops.
- A write that finds the host's disk full pauses the guest until there is room (`enospace`): it sees no error, so its
  file systems stay whole. Other errors are the guest's to hear of.
- `on_crash` destroys: a preserved guest would keep its memory and its disk locks until somebody looks at it.
- A guest without virtio drivers gets SATA, e1000e and no paravirtual device at all: it would only be shown as unknown.
- Windows keeps the clock in local time. Under KVM it gets the interfaces of Hyper-V, without which it wastes time in
  timers and locks; and a tablet, for its pointer to be where the viewer's is.
- A guest with an ISO in its drive boots from its first disk, or, while that has no boot loader, from the ISO: it is
  installed, and nobody has to take the ISO out for it to come up afterwards.
- VNC and serial are local: VNC on a unix socket that libvirt chooses, serial on a pty for an interactive console
  and, at the same time, appended to the console log.
"""

from __future__ import annotations

import string
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from agent.core.errors import DriverError
from agent.core.specs import DiskSpec, DomainSpec, NicSpec
from agent.drivers.hypervisor.guest_agent import CHANNEL
from agent.drivers.qemu_user import QemuUser

WINDOWS = "windows"
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


def disk_xml(disk: DiskSpec) -> str:
    """One disk, for a domain that runs already."""
    element = _disk(disk)
    ET.indent(element)
    return ET.tostring(element, encoding="unicode") + "\n"


def nic_xml(nic: NicSpec) -> str:
    """One network card, for a domain that runs already."""
    element = _nic(nic)
    ET.indent(element)
    return ET.tostring(element, encoding="unicode") + "\n"


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
    if spec.iso is None:  # else the devices say it
        ET.SubElement(firmware, "boot", dev="hd")
    ET.SubElement(firmware, "smbios", mode="sysinfo")
    yield firmware
    features = ET.Element("features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    enlightened = spec.os_type == WINDOWS and spec.acceleration == "kvm"
    if enlightened:
        features.append(_hyperv())
    yield features
    clock = ET.Element("clock", offset="localtime" if spec.os_type == WINDOWS else "utc")
    ET.SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
    ET.SubElement(clock, "timer", name="pit", tickpolicy="delay")
    ET.SubElement(clock, "timer", name="hpet", present="no")
    if enlightened:
        ET.SubElement(clock, "timer", name="hypervclock", present="yes")
    yield clock


def _hyperv() -> ET.Element:
    element = ET.Element("hyperv", mode="custom")
    for name in ("relaxed", "vapic", "vpindex", "runtime", "synic", "stimer", "frequencies"):
        ET.SubElement(element, name, state="on")
    ET.SubElement(element, "spinlocks", state="on", retries="8191")
    return element


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
    disks = [_disk(disk) for disk in spec.disks]
    devices.extend(disks)
    if spec.iso is not None and disks:
        ET.SubElement(disks[0], "boot", order="1")
    devices.extend(_cdroms(spec))
    devices.extend(_pointer(spec))
    devices.extend(_nic(nic) for nic in spec.nics)
    devices.append(_serial(str(spec.console_log)))
    if spec.virtio:
        devices.append(_agent_channel())
    devices.extend(_display())
    if spec.virtio:
        devices.append(_rng())
    devices.append(_balloon(spec.virtio))
    # Tells a kernel panic from a guest that merely hangs.
    devices.append(ET.Element("panic", model="isa"))
    return devices


def _disk(disk: DiskSpec) -> ET.Element:
    element = ET.Element("disk", type="file", device="disk")
    driver = {"name": "qemu", "type": disk.format, "cache": "none", "discard": "unmap"}
    ET.SubElement(element, "driver", driver, error_policy="enospace", rerror_policy="report")
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


def _cdroms(spec: DomainSpec) -> Iterator[ET.Element]:
    """IDE on `pc`, because Debian's cloud kernel has no AHCI; elsewhere SATA, because there is no IDE."""
    stem, bus = ("hd", "ide") if spec.machine == "pc" else ("sd", "sata")
    taken = {disk.device for disk in spec.disks}
    free = (stem + letter for letter in string.ascii_lowercase if stem + letter not in taken)
    for path, device in zip(filter(None, (spec.seed, spec.config_drive)), free, strict=False):
        yield _cdrom(str(path), device, bus)
    if spec.iso is not None:
        drive = _cdrom(str(spec.iso), next(free), bus, "qcow2")
        ET.SubElement(drive, "boot", order="2")
        yield drive


def _cdrom(path: str, device: str, bus: str, file_format: str = "raw") -> ET.Element:
    element = ET.Element("disk", type="file", device="cdrom")
    ET.SubElement(element, "driver", name="qemu", type=file_format)
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


def _pointer(spec: DomainSpec) -> Iterator[ET.Element]:
    """Besides the PS/2 mouse, one that points where the terminal's user does. Guests without its driver do without."""
    if spec.os_type != WINDOWS:
        yield ET.Element("controller", type="usb", model="none")
        if spec.virtio:
            yield ET.Element("input", type="tablet", bus="virtio")
        return
    yield ET.Element("controller", type="usb", model="ehci")  # Windows has known it since 2003
    yield ET.Element("input", type="tablet", bus="usb")


def _balloon(virtio: bool) -> ET.Element:
    if not virtio:
        return ET.Element("memballoon", model="none")
    # Gives pages that the guest has freed back to the host.
    return ET.Element("memballoon", model="virtio", freePageReporting="on")


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
