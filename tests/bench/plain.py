"""Plain QEMU with the machine that libvirt gives a guest of the product: same processor, devices and cache modes.

What differs: nobody manages it, and its network is QEMU's own, with SSH forwarded to a loopback port.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from agent.drivers.storage.local import LAYOUT
from tests.bench.reach import says_banner
from tests.support.ports import free_port
from tests.support.waiting import wait_for

LIMIT_SECONDS = 400.0


@dataclass(frozen=True)
class Machine:
    """What both guests of a comparison are made of. The seed is for the network card with `mac`."""

    image: Path
    seed: Path
    mac: str
    uuid: str
    memory_mib: int
    disk_gib: int
    accelerator: str = "tcg"


class PlainQemu:
    """One first boot of `machine`, on a new overlay in `directory`; leaving the context ends it. `more`: arguments of
    devices that it has besides."""

    def __init__(self, machine: Machine, directory: Path, more: Sequence[str] = ()) -> None:
        self.port = free_port()
        disk = directory / "disk.qcow2"
        disk.unlink(missing_ok=True)
        overlay = ["-f", "qcow2", "-F", "qcow2", "-b", str(machine.image), "-o", LAYOUT]
        subprocess.run(["qemu-img", "create", "-q", *overlay, str(disk), f"{machine.disk_gib}G"], check=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [*command(machine, disk, directory, self.port), *more]

    def __enter__(self) -> PlainQemu:
        return self

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait_banner(self) -> None:
        """Return as soon as the guest says its SSH banner."""
        wait_for("the SSH banner of plain QEMU's guest", self._answers, LIMIT_SECONDS, every=0.05)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "plain QEMU ended"
        return says_banner(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM), ("127.0.0.1", self.port))


def command(machine: Machine, disk: Path, directory: Path, port: int) -> list[str]:
    """As libvirt composes it for the product's domain XML."""
    cpu = "max" if machine.accelerator == "tcg" else "host,migratable=on,vmx=off,svm=off"
    ids = f"serial={machine.uuid},uuid={machine.uuid}"
    return [
        *("qemu-system-x86_64", "-no-user-config", "-nodefaults", "-no-shutdown", "-no-hpet", "-boot", "strict=on"),
        *("-machine", "pc-i440fx-7.2,usb=off,dump-guest-core=off,memory-backend=pc.ram"),
        *("-accel", machine.accelerator, "-cpu", cpu, "-smp", "1,sockets=1,cores=1,threads=1"),
        *("-m", str(machine.memory_mib), "-object", f"memory-backend-ram,id=pc.ram,size={machine.memory_mib}M"),
        *("-uuid", machine.uuid, "-smbios", f"type=1,manufacturer=Alibaba Cloud,product=Alibaba Cloud ECS,{ids}"),
        *("-rtc", "base=utc,driftfix=slew", "-global", "kvm-pit.lost_tick_policy=delay"),
        *("-global", "PIIX4_PM.disable_s3=1", "-global", "PIIX4_PM.disable_s4=1"),
        *_devices(machine, disk, directory),
        *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", f"virtio-net-pci,host_mtu=1500,netdev=net,mac={machine.mac},bus=pci.0,addr=0x3"),
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
    ]


def data_disk(path: Path) -> list[str]:
    """Arguments of one more disk, as libvirt composes them for the product's."""
    uncached = "discard=unmap,cache.direct=on,cache.no-flush=off"
    return [
        *("-blockdev", f"driver=file,filename={path},node-name=data-file,{uncached}"),
        *("-blockdev", f"driver=qcow2,file=data-file,node-name=data,{uncached}"),
        *("-device", "virtio-blk-pci,bus=pci.0,addr=0x9,drive=data,write-cache=on,serial=plain"),
    ]


def _devices(machine: Machine, disk: Path, directory: Path) -> list[str]:
    uncached = "discard=unmap,cache.direct=on,cache.no-flush=off"
    return [
        *("-blockdev", f"driver=file,filename={machine.image},node-name=base-file,read-only=on,{uncached}"),
        *("-blockdev", f"driver=qcow2,file=base-file,node-name=base,read-only=on,{uncached}"),
        *("-blockdev", f"driver=file,filename={disk},node-name=disk-file,{uncached}"),
        *("-blockdev", f"driver=qcow2,file=disk-file,node-name=disk,backing=base,{uncached}"),
        *("-device", "virtio-blk-pci,bus=pci.0,addr=0x5,drive=disk,bootindex=1,write-cache=on,serial=bench"),
        *("-blockdev", f"driver=file,filename={machine.seed},node-name=seed-file,read-only=on"),
        *("-blockdev", "driver=raw,file=seed-file,node-name=seed,read-only=on"),
        *("-device", "ide-cd,bus=ide.0,unit=0,drive=seed"),
        *("-device", "virtio-serial-pci,id=serial,bus=pci.0,addr=0x4"),
        *("-chardev", f"socket,id=channel,path={directory}/channel,server=on,wait=off"),
        *("-device", "virtserialport,bus=serial.0,nr=1,chardev=channel,name=org.qemu.guest_agent.0"),
        *("-chardev", f"pty,id=console,logfile={directory}/console.log,logappend=on"),
        *("-device", "isa-serial,chardev=console,index=0"),
        *("-vnc", f"unix:{directory}/vnc", "-device", "VGA,vgamem_mb=16,bus=pci.0,addr=0x2"),
        *("-device", "virtio-balloon-pci,free-page-reporting=on,bus=pci.0,addr=0x6"),
        *("-object", "rng-random,id=random,filename=/dev/urandom"),
        *("-device", "virtio-rng-pci,rng=random,bus=pci.0,addr=0x7"),
        *("-device", "pvpanic"),
    ]
