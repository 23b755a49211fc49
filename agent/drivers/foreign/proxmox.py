"""The configuration of a guest of Proxmox VE (`/etc/pve/qemu-server/<id>.conf`): pure.

boot: order=scsi0;net0
cores: 2
memory: 2048
name: web
net0: virtio=BC:24:11:00:00:01,bridge=vmbr0
ostype: l26
scsi0: local:100/vm-100-disk-0.qcow2,size=32G
scsihw: virtio-scsi-pci
[a snapshot]                                      what follows is of the past
"""

from __future__ import annotations

import re
from pathlib import Path

from agent.core.errors import DriverError
from agent.core.foreign import ForeignDisk, ForeignGuest

_LINE = re.compile(r"([a-z][a-z0-9_-]*):\s*(.*?)\s*\Z")
_DISK = re.compile(r"(virtio|scsi|sata|ide)([0-9]+)\Z")
_BUSES = ("virtio", "scsi", "sata", "ide")  # in the order that Proxmox lists them
_FORMATS = {".qcow2": "qcow2", ".raw": "raw", ".vmdk": "vmdk"}
_WINDOWS = ("wxp", "w2k", "wvista", "win")


def guest(name: str, text: str) -> ForeignGuest:
    """`name` is what it is called unless it says so itself. Paths of disks in a storage are relative to where it has
    its images. Raises DriverError for what is not such a configuration."""
    keys = _keys(name, text)
    if not {"memory", "cores", "sockets", "scsihw", "ostype", "boot"} & keys.keys():
        raise DriverError(f"{name} is no configuration of a Proxmox guest")
    return ForeignGuest(
        name=keys.get("name", name),
        vcpus=_number(name, keys, "cores", 1) * _number(name, keys, "sockets", 1),
        memory_mib=_number(name, keys, "memory", 512),
        disks=tuple(_disk(device, keys) for device in _boot_first(keys)),
        macs=tuple(mac for key in sorted(keys) if key.startswith("net") and (mac := _mac(keys[key]))),
        os_type="windows" if keys.get("ostype", "").startswith(_WINDOWS) else "linux",
        firmware="uefi" if keys.get("bios") == "ovmf" else "bios",
    )


def _keys(name: str, text: str) -> dict[str, str]:
    """The lines before the first section, which begins what snapshots remember."""
    keys = {}
    for line in text.splitlines():
        if line.startswith("["):
            break
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise DriverError(f"{name} is no configuration of a Proxmox guest: {line[:80]!r} is not `key: value`")
        keys[match[1]] = match[2]
    return keys


def _number(name: str, keys: dict[str, str], key: str, default: int) -> int:
    text = _options(keys.get(key, str(default)), "current")["current"]
    if not text.isdigit() or not 0 < int(text) < 2**31:
        raise DriverError(f"{name}: {key} is {text[:40]!r}, it must be a number")
    return int(text)


def _options(value: str, first: str) -> dict[str, str]:
    """`a,b=c` as {first: a, b: c}."""
    pairs = (part.partition("=") for part in value.split(","))
    return {key if sign else first: rest if sign else key for key, sign, rest in pairs}


def _mac(value: str) -> str:
    """Of `virtio=BC:24:11:00:00:01,bridge=vmbr0`; the model is the key."""
    options = _options(value, "model")
    found = next(iter(options.values()))
    return options.get("macaddr", found).lower()


def _boot_first(keys: dict[str, str]) -> list[str]:
    """The names of all disks, the one that is booted from first."""
    disks = [key for key in keys if _DISK.match(key) and _options(keys[key], "file").get("media") != "cdrom"]
    ordered = sorted(disks, key=_place)
    wanted = [*_options(keys.get("boot", ""), "").get("order", "").split(";"), keys.get("bootdisk", "")]
    first = next((device for device in wanted if device in ordered), None)
    return ordered if first is None else [first, *(device for device in ordered if device != first)]


def _place(device: str) -> tuple[int, int]:
    match = _DISK.match(device)
    assert match is not None
    return _BUSES.index(match[1]), int(match[2])


def _disk(device: str, keys: dict[str, str]) -> ForeignDisk:
    options = _options(keys[device], "file")
    volume = options.get("file", "")
    storage, colon, inside = volume.partition(":")
    path = Path(inside if colon and not volume.startswith("/") else volume)
    said = options.get("format") or _FORMATS.get(path.suffix, "")
    paravirtual = device.startswith("virtio") or (
        device.startswith("scsi") and keys.get("scsihw", "").startswith("virtio")
    )
    problem = ""
    if said not in _FORMATS.values():
        problem = (
            f"disk {device} ({volume}) is no file of the storage {storage}: "
            f"copy it into one with `qemu-img convert`, and import that"
        )
    return ForeignDisk(path, said, device, paravirtual, problem)
