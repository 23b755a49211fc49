"""Disks and network cards of a running guest: what is read from its XML and from its guest agent, and the XML of what
is plugged in."""

from __future__ import annotations

from pathlib import Path

from agent.core.specs import DiskSpec, NicSpec
from agent.drivers.hypervisor.domain_xml import disk_xml, nic_xml
from agent.drivers.hypervisor.hotplug import LiveDisk, live_disks, mount_points
from agent.drivers.hypervisor.hotplug_nic import live_nics
from tests.support import golden

RUNNING = """
<domain type='qemu'><devices>
  <disk type='file' device='disk'>
    <target dev='vda' bus='virtio'/><serial>system00000000000000</serial><alias name='virtio-disk0'/>
  </disk>
  <disk type='file' device='disk'>
    <target dev='vdc' bus='virtio'/><serial>data0000000000000000</serial><alias name='virtio-disk2'/>
  </disk>
  <disk type='file' device='disk'><target dev='vdd' bus='virtio'/><alias name='virtio-disk3'/></disk>
  <interface type='ethernet'><mac address='00:16:3e:00:00:01'/><alias name='net0'/></interface>
  <interface type='ethernet'><mac address='02:16:3e:00:00:01'/><alias name='net1'/></interface>
  <disk type='file' device='cdrom'>
    <target dev='hda' bus='ide'/><serial>cdrom</serial><alias name='ide0-0-0'/>
  </disk>
</devices></domain>
"""
DATA = LiveDisk("data0000000000000000", "vdc", "virtio-disk2")


def test_a_disk_to_plug_in() -> None:
    spec = DiskSpec(
        Path("/data/disks/d-bp1data000000000000b.qcow2"),
        "vdc",
        "bp1data000000000000b",
        total_iops=1960,
        total_bytes_per_second=56197120,
    )
    golden.check("domain/hot_plugged_disk.xml", disk_xml(spec))


def test_a_network_card_to_plug_in() -> None:
    golden.check("domain/hot_plugged_nic.xml", nic_xml(NicSpec("ecst0abd", "02:16:3e:00:00:01")))


def test_network_cards_are_known_by_their_mac_address() -> None:
    assert live_nics(RUNNING) == {"00:16:3e:00:00:01": "net0", "02:16:3e:00:00:01": "net1"}


def test_disks_are_known_by_their_serial() -> None:
    assert live_disks(RUNNING) == {
        "system00000000000000": LiveDisk("system00000000000000", "vda", "virtio-disk0"),
        "data0000000000000000": DATA,
    }


def test_mount_points_of_a_disk_and_its_partitions() -> None:
    answer: dict[str, object] = {
        "fs.count": 4,
        "fs.0.mountpoint": "/",
        "fs.0.disk.count": 1,
        "fs.0.disk.0.alias": "vda",
        "fs.0.disk.0.serial": "system00000000000000",
        "fs.1.mountpoint": "/srv",
        "fs.1.disk.count": 2,
        "fs.1.disk.0.alias": "vdb",
        "fs.1.disk.0.serial": "other000000000000000",
        "fs.1.disk.1.serial": "data0000000000000000",
        "fs.2.mountpoint": "/var",
        "fs.2.disk.count": 1,
        "fs.2.disk.0.alias": "vdc",  # an older agent tells no serials
        "fs.3.mountpoint": "/proc",
    }
    assert list(mount_points(answer, DATA)) == ["/srv", "/var"]
    assert list(mount_points({}, DATA)) == []
