"""Guests that others run or ran, on this host's libvirt or on a Proxmox host, and what can be taken over of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ForeignDisk:
    """A disk as its host describes it. `format`: of core.specs.IMAGE_FORMATS. `problem`: why it cannot be read."""

    path: Path
    format: str
    device: str  # as its host calls it: vda, scsi0
    virtio: bool  # the guest has drivers for virtio, or it would not see the disk
    problem: str = ""


@dataclass(frozen=True)
class ForeignGuest:
    """`disks`: the first is the one that it boots from. `problem`: why it cannot be taken over now, in one line."""

    name: str
    vcpus: int
    memory_mib: int
    disks: tuple[ForeignDisk, ...]
    macs: tuple[str, ...] = ()
    os_type: str = "linux"  # linux | windows
    running: bool = False
    firmware: str = "bios"  # bios | uefi

    @property
    def problem(self) -> str:
        if self.running:
            return f"the guest {self.name} is not shut off: shut it down first"
        if self.firmware != "bios":
            return f"the guest {self.name} boots by UEFI: instances have a BIOS, so its system would not start"
        if not self.disks:
            return f"the guest {self.name} has no disk"
        return next((disk.problem for disk in self.disks if disk.problem), "")


@dataclass(frozen=True)
class Source:
    """Where a guest comes from. `kind`: libvirt (names: of one guest) | config (the path of a Proxmox configuration) |
    files (paths of its disks, the system's first)."""

    kind: str
    names: tuple[str, ...]
