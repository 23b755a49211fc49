"""Guests of others: what is read of libvirt's XML, of Proxmox's configurations, and of the files themselves."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from agent.core.errors import BadImage, DriverError
from agent.core.foreign import ForeignDisk, Source
from agent.drivers.foreign import chain, domains, proxmox
from agent.drivers.foreign.directories import ImportDirectories
from agent.drivers.foreign.host import ForeignHost

DOMAIN = """
<domain type="kvm">
  <name>web</name>
  <metadata>
    <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0">
      <libosinfo:os id="{os}"/>
    </libosinfo:libosinfo>
  </metadata>
  <memory unit="KiB">2097152</memory>
  <vcpu>2</vcpu>
  <os>{firmware}<type>hvm</type></os>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw"/><source file="/guests/data.img"/><target dev="vdb" bus="virtio"/>
    </disk>
    <disk type="file" device="cdrom"><source file="/guests/x.iso"/><target dev="sda" bus="sata"/></disk>
    <disk type="{kind}" device="disk">
      <driver name="qemu" type="{said}"/><source {attribute}="/guests/web.qcow2"/><target dev="vda" bus="virtio"/>
      <boot order="1"/>
    </disk>
    <interface type="network"><mac address="52:54:00:AA:bb:cc"/></interface>
  </devices>
</domain>
"""
USUAL = {
    "os": "http://debian.org/debian/12",
    "firmware": "",
    "kind": "file",
    "attribute": "file",
    "said": "qcow2",
}
CONFIG = """# a comment
boot: order=ide2;scsi0;net0
cores: 2
sockets: 2
ide2: local:iso/debian.iso,media=cdrom,size=600M
memory: 2048
name: web
net0: virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1
ostype: l26
scsi0: local:100/vm-100-disk-0.qcow2,iothread=1,size=32G
scsihw: virtio-scsi-single
virtio1: local:100/vm-100-disk-1.raw,size=8G
unused0: local:100/vm-100-disk-2.raw

[before]
memory: 512
sata5: local:100/old.raw
"""


def test_a_domain_of_libvirt() -> None:
    found = domains.guest(DOMAIN.format(**USUAL), running=False)
    assert (found.name, found.vcpus, found.memory_mib, found.macs) == ("web", 2, 2048, ("52:54:00:aa:bb:cc",))
    assert (found.os_type, found.firmware, found.problem) == ("linux", "bios", "")
    assert [(str(disk.path), disk.format, disk.device, disk.virtio) for disk in found.disks] == [
        ("/guests/web.qcow2", "qcow2", "vda", True),
        ("/guests/data.img", "raw", "vdb", True),
    ]
    assert domains.guest(DOMAIN.format(**USUAL | {"os": "http://microsoft.com/win/10"}), running=False).os_type == (
        "windows"
    )


@pytest.mark.parametrize(
    ("changed", "running", "problem"),
    [
        ({}, True, "is not shut off"),
        ({"firmware": "<loader type='pflash'>/x.fd</loader>"}, False, "UEFI"),
        ({"kind": "block", "attribute": "dev"}, False, "disk vda is no file"),
        ({"said": "luks"}, False, "in the format luks"),
    ],
)
def test_domains_that_cannot_be_taken(changed: dict[str, str], running: bool, problem: str) -> None:
    assert problem in domains.guest(DOMAIN.format(**USUAL | changed), running=running).problem


def test_a_configuration_of_proxmox() -> None:
    found = proxmox.guest("100", CONFIG)
    assert (found.name, found.vcpus, found.memory_mib, found.os_type) == ("web", 4, 2048, "linux")
    assert (found.macs, found.firmware, found.problem) == (("bc:24:11:00:00:01",), "bios", "")
    assert [(str(disk.path), disk.format, disk.device, disk.virtio) for disk in found.disks] == [
        ("100/vm-100-disk-0.qcow2", "qcow2", "scsi0", True),
        ("100/vm-100-disk-1.raw", "raw", "virtio1", True),
    ]


def test_what_else_proxmox_says() -> None:
    text = (
        "ostype: win10\nbios: ovmf\nmemory: current=4096,x=1\nnet0: e1000,macaddr=AA:00:00:00:00:01\nbootdisk: sata1\n"
    )
    found = proxmox.guest("7", f"{text}sata0: local:7/a.raw\nsata1: local-lvm:vm-7-disk-1,size=8G\n")
    assert (found.name, found.os_type, found.firmware, found.memory_mib) == ("7", "windows", "uefi", 4096)
    assert found.macs == ("aa:00:00:00:00:01",)
    assert [(disk.device, disk.virtio) for disk in found.disks] == [("sata1", False), ("sata0", False)]
    assert "no file of the storage local-lvm" in found.disks[0].problem
    formatted = proxmox.guest("8", "cores: 1\nscsi0: pool:8/disk,format=qcow2\nscsihw: lsi\n").disks[0]
    assert (formatted.format, formatted.virtio) == ("qcow2", False)


@pytest.mark.parametrize("text", ["", "name: x\n", "root:x:0:0:root:/root:/bin/bash\n", "cores: many\n", "\0\1\2\n"])
def test_what_is_no_configuration(text: str) -> None:
    with pytest.raises(DriverError) as refused:
        proxmox.guest("100", text)
    assert "\n" not in str(refused.value)


# ------------------------------------------------------------------------------ files


def qcow2(path: Path, base: bytes, base_format: bytes = b"qcow2", offset: int = 200) -> Path:
    header = bytearray(4096)
    struct.pack_into(">4sIQI", header, 0, chain.MAGIC, 3, offset if base else 0, len(base))
    struct.pack_into(">I", header, 100, 104)
    if base_format:
        struct.pack_into(">II", header, 104, 0xE2792ACA, len(base_format))
        header[112 : 112 + len(base_format)] = base_format
    if offset < len(header):
        header[offset : offset + len(base)] = base
    path.write_bytes(header)
    return path


def found_chain(directory: Path, first: Path, said: str = "qcow2") -> list[str]:
    host = ForeignHost("test:///default", "ecs-i-", [str(directory)])
    files, _ = host.chain(Source("files", (str(first),)), ForeignDisk(first, said, "vda", True))
    return [file.name for file in files]


def test_a_chain_of_files(tmp_path: Path) -> None:
    (tmp_path / "base.raw").write_bytes(bytes(512))
    qcow2(tmp_path / "middle", b"base.raw", b"raw")
    first = qcow2(tmp_path / "first", os.fsencode(tmp_path / "middle"))
    assert found_chain(tmp_path, first) == ["first", "middle", "base.raw"]
    assert found_chain(tmp_path, first, "raw") == ["first"]  # what a guest wrote into a raw disk means nothing


def test_chains_that_are_refused(tmp_path: Path) -> None:
    first, outside = tmp_path / "first", tmp_path.parent / "outside"
    outside.write_bytes(bytes(512))
    for base, said, offset, why in (
        (os.fsencode(first), b"qcow2", 200, "on itself"),
        (b"nbd://10.0.0.1/x", b"raw", 200, "which is no file"),
        (b'json:{"driver":"raw"}', b"raw", 200, "which is no file"),
        (b"base", b"", 200, "does not say the format"),
        (b"first2", b"vmdk", 200, "cannot be read"),
        (b"base", b"raw", 1 << 40, "is damaged"),
        (b"../outside", b"raw", 200, "in none of the directories"),
        (b"missing", b"raw", 200, "No such file"),
    ):
        qcow2(first, base, said, offset)
        with pytest.raises((BadImage, DriverError), match=why):
            found_chain(tmp_path, first)


def test_only_files_of_the_configured_directories(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for directory in (inside / "images" / "100", outside):
        directory.mkdir(parents=True)
    (inside / "images/100/a.raw").write_bytes(b"A")
    (outside / "secret").write_bytes(b"S")
    (inside / "link").symlink_to(outside / "secret")
    (inside / "away").symlink_to(outside)
    os.mkfifo(inside / "fifo")
    allowed = ImportDirectories([str(inside)])
    assert allowed.find(Path("100/a.raw")) == inside / "images/100/a.raw"
    with allowed.opened(inside / "images/100/a.raw") as descriptor:
        assert os.read(descriptor, 9) == b"A"
    refused = ("link", "away/secret", "fifo", "images", "../out/secret", "images/100/../../../out/secret", "none", ".")
    for path in (
        *(inside / name for name in refused),
        outside / "secret",
        Path("/etc/shadow"),
        Path("images/100/a.raw"),
    ):
        with pytest.raises(DriverError), allowed.opened(path):
            pass
    with pytest.raises(DriverError, match=r"cannot find the disk 101/a\.raw"):
        allowed.find(Path("101/a.raw"))
