"""DomainSpec → libvirt XML."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.errors import DriverError
from agent.core.specs import DiskSpec, DomainSpec, NicSpec
from agent.drivers.hypervisor.domain_xml import domain_xml
from agent.drivers.qemu_user import QemuUser
from tests.support import golden

USER = QemuUser(64055, 108, 64055)
SYSTEM_DISK = DiskSpec(Path("/data/disks/d-bp1system0000000000a.qcow2"), "vda", "bp1system0000000000a")
SMALL = DomainSpec(
    name="ecs-i-bp1000000000000000aa",
    instance_id="i-bp1000000000000000aa",
    uuid="6d1a3c4e-0000-4000-8000-0123456789ab",
    vcpus=1,
    memory_mib=512,
    disks=(SYSTEM_DISK,),
    nics=(NicSpec("ecst0abc", "00:16:3e:00:00:01"),),
    seed=Path("/data/seeds/i-bp1000000000000000aa.iso"),
    console_log=Path("/log/console/i-bp1000000000000000aa.log"),
    acceleration="tcg",
)
LARGE = replace(
    SMALL,
    vcpus=8,
    memory_mib=16384,
    disks=(
        replace(SYSTEM_DISK, total_iops=1800, total_bytes_per_second=104857600),
        DiskSpec(Path("/data/disks/d-bp1data000000000000b.qcow2"), "vdb", "bp1data000000000000b", total_iops=500),
    ),
    nics=(NicSpec("ecst0abc", "00:16:3e:00:00:01"), NicSpec("ecst0abd", "00:16:3e:00:00:02", "e1000", 1400)),
    acceleration="kvm",
)
WINDOWS = replace(
    SMALL,
    vcpus=4,
    memory_mib=8192,
    disks=(
        replace(SYSTEM_DISK, device="sda", bus="sata"),
        DiskSpec(Path("/data/disks/d-bp1data000000000000b.qcow2"), "sdb", "bp1data000000000000b", bus="sata"),
    ),
    nics=(NicSpec("ecst0abc", "00:16:3e:00:00:01", "e1000e"),),
    acceleration="kvm",
    machine="q35",
    os_type="windows",
    virtio=False,
    config_drive=Path("/data/seeds/i-bp1000000000000000aa.config-drive"),
)
INSTALLED = replace(SMALL, seed=None, iso=Path("/data/images/debian-netinst.qcow2"))
WINDOWS_VIRTIO = replace(SMALL, os_type="windows", acceleration="kvm", config_drive=WINDOWS.config_drive)


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("tcg_small", SMALL),
        ("kvm_large", LARGE),
        ("kvm_nested", replace(SMALL, acceleration="kvm", nested_virtualization=True)),
        ("q35_sata", replace(SMALL, machine="q35", disks=(replace(SYSTEM_DISK, device="sdb", bus="sata"),))),
        ("windows_kvm", WINDOWS),
        ("windows_tcg", replace(WINDOWS, acceleration="tcg")),
        ("windows_virtio", WINDOWS_VIRTIO),
        ("linux_without_virtio", replace(WINDOWS, os_type="linux", acceleration="tcg", config_drive=None)),
        ("no_seed_no_nic", replace(SMALL, seed=None, nics=())),
        ("installed_from_iso", INSTALLED),
    ],
)
def test_golden(name: str, spec: DomainSpec) -> None:
    golden.check(f"domain/{name}.xml", domain_xml(spec, USER))


def test_hostile_text_stays_text() -> None:
    spec = replace(SMALL, console_log=Path("/log/a'\"<&>/x.log"))
    log = ET.fromstring(domain_xml(spec, USER)).find("./devices/serial/log")
    assert log is not None
    assert log.get("file") == "/log/a'\"<&>/x.log"


def test_nothing_listens_on_the_network_and_nothing_names_a_chain() -> None:
    for spec in (SMALL, LARGE):
        text = domain_xml(spec, USER)
        assert "port=" not in text.replace('target port="0"', "")
        assert "backingStore" not in text
        assert "listen=" not in text


def test_unknown_acceleration() -> None:
    with pytest.raises(DriverError, match=r"acceleration 'hvf' must be kvm or tcg"):
        domain_xml(replace(SMALL, acceleration="hvf"), USER)


def test_nothing_that_needs_a_virtio_driver_without_one() -> None:
    assert "virtio" not in domain_xml(WINDOWS, USER)
    assert "virtio" in domain_xml(replace(WINDOWS, virtio=True), USER)


def test_windows_has_local_time_and_hyperv_only_under_kvm() -> None:
    assert "hyperv" in domain_xml(WINDOWS, USER)
    emulated = domain_xml(replace(WINDOWS, acceleration="tcg"), USER)
    assert "hyperv" not in emulated
    assert 'offset="localtime"' in emulated
    assert 'offset="utc"' in domain_xml(replace(WINDOWS, os_type="linux"), USER)
