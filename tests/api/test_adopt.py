"""Guests of others, as far as the API goes: libvirt's own test driver has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.core.errors import ApiError
from agent.store.schema import Image, Instance
from tests.support.agent import HOST, flat
from tests.support.cloud import Cloud
from tests.support.stored_disks import change

NODE = """<node>{domains}<cpu><mhz>1000</mhz><model>x</model><active>1</active><nodes>1</nodes><sockets>1</sockets>
<cores>1</cores><threads>1</threads></cpu><memory>9999999</memory></node>"""
DOMAIN = """<domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0">
<name>{name}</name><memory unit="GiB">1</memory><os><type>hvm</type></os>
<test:runstate>{state}</test:runstate>
<devices><disk type="file" device="disk"><driver type="qcow2"/><source file="/guests/{name}.qcow2"/>
<target dev="vda" bus="virtio"/></disk></devices></domain>"""
RUNNING, SHUT_OFF = 1, 5


@pytest.fixture
def lab(make_cloud: Any, tmp_path: Path) -> Cloud:
    """A host with the foreign guests `up` and `down`, and one of ours."""
    guests = (("up", RUNNING), ("down", SHUT_OFF), ("ecs-i-ours", SHUT_OFF))
    domains = "".join(DOMAIN.format(name=name, state=state) for name, state in guests)
    (tmp_path / "node.xml").write_text(NODE.format(domains=domains))
    (tmp_path / "imports").mkdir()
    return make_cloud(libvirt_uri=f"test://{tmp_path}/node.xml", import_dirs=(str(tmp_path / "imports"),))


def call(cloud: Cloud, action: str, **params: Any) -> dict[str, Any]:
    return cloud.call(action, dict(flat(params)), version=HOST)


def refused(cloud: Cloud, action: str, **params: Any) -> str:
    with pytest.raises(ApiError) as error:
        call(cloud, action, **params)
    return error.value.code


def test_guests_of_others_are_listed_and_ours_are_not(lab: Cloud) -> None:
    shown = call(lab, "DescribeForeignGuests")["Guests"]["Guest"]
    assert [(guest["Name"], guest["Status"], bool(guest["Problem"])) for guest in shown] == [
        ("down", "Stopped", False),
        ("up", "Running", True),
    ]
    assert shown[0]["Disks"]["Disk"] == [{"Device": "vda", "Path": "/guests/down.qcow2", "Format": "qcow2"}]


def test_a_guest_becomes_an_image(lab: Cloud) -> None:
    answer = call(lab, "AdoptGuest", Guest="down", ImageName="taken", Setup="seed", Platform="Debian")
    [job] = lab.jobs("image.adopt")
    assert (job.id, job.resource_id, lab.runner.wakes) == (answer["JobId"], answer["ImageId"], 1)
    assert (job.data["source"], len(job.data["files"])) == ({"kind": "libvirt", "names": ["down"]}, 1)
    with lab.store.read() as session:
        image = session.get_one(Image, answer["ImageId"])
        assert (image.name, image.status, image.setup, image.platform) == ("taken", "Creating", "seed", "Debian")
        assert (image.virtio, image.source_id, image.disks) == (True, "down", [])


def test_what_is_refused(lab: Cloud, tmp_path: Path) -> None:
    assert refused(lab, "AdoptGuest", Guest="up") == "InvalidOperation.GuestNotReady"
    assert refused(lab, "AdoptGuest", Guest="ecs-i-ours") == "InvalidGuest.NotFound"
    assert refused(lab, "AdoptGuest") == "InvalidParameter"
    assert refused(lab, "AdoptGuest", Guest="down", File=["/x"]) == "InvalidParameter"
    assert refused(lab, "AdoptGuest", File=["/etc/shadow"]) == "InvalidParameter"
    assert refused(lab, "AdoptGuest", ConfigFile="/etc/passwd") == "InvalidParameter"
    (tmp_path / "imports/100.conf").write_text("cores: 1\n")
    assert refused(lab, "AdoptGuest", ConfigFile=f"{tmp_path}/imports/100.conf") == "InvalidOperation.GuestNotReady"
    other = lab.add_account()
    with pytest.raises(ApiError) as error:
        lab.call("DescribeForeignGuests", version=HOST, account_id=other)
    assert error.value.code == "Forbidden.RAM"
    assert lab.jobs("image.adopt") == []


def test_a_proxmox_guest_and_plain_files(lab: Cloud, tmp_path: Path) -> None:
    images = tmp_path / "imports/images/100"
    images.mkdir(parents=True)
    (images / "vm-100-disk-0.raw").write_bytes(bytes(512))
    config = tmp_path / "imports/100.conf"
    config.write_text("cores: 2\nname: web\nscsi0: local:100/vm-100-disk-0.raw,size=1G\nscsihw: virtio-scsi-pci\n")
    [shown] = call(lab, "DescribeForeignGuests", ConfigFile=config)["Guests"]["Guest"]
    assert (shown["Name"], shown["Cpu"], shown["Problem"]) == ("web", 2, "")
    assert shown["Disks"]["Disk"][0]["Path"] == str(images / "vm-100-disk-0.raw")
    call(lab, "AdoptGuest", ConfigFile=config)
    call(lab, "AdoptGuest", File=[images / "vm-100-disk-0.raw"], ImageName="disk")
    assert [job.data["source"]["kind"] for job in lab.jobs("image.adopt")] == ["config", "files"]


def test_a_stopped_instance_takes_the_address_of_another_machine(lab: Cloud) -> None:
    _, vswitch_id = lab.default_vswitch()
    one, other = (lab.add_instance(vswitch_id, []) for _ in range(2))
    assert refused(lab, "SetMacAddress", InstanceId=one, MacAddress="52:54:00:00:00:01") == "IncorrectInstanceStatus"
    for instance_id in (one, other):
        change(lab, Instance, instance_id, status="Stopped")
    call(lab, "SetMacAddress", InstanceId=one, MacAddress="52:54:00:AA:00:01")
    assert "52:54:00:aa:00:01" in [interface.mac for interface in lab.interfaces()]
    assert lab.jobs("vpc.sync")
    call(lab, "SetMacAddress", InstanceId=one, MacAddress="52:54:00:aa:00:01")
    taken = refused(lab, "SetMacAddress", InstanceId=other, MacAddress="52:54:00:aa:00:01")
    assert taken == "InvalidMacAddress.InUse"
    for wrong in ("", "x", "52:54:00:aa:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "fe:00:00:00:00:01", "00:" * 6):
        assert refused(lab, "SetMacAddress", InstanceId=other, MacAddress=wrong) in (
            "InvalidMacAddress.Malformed",
            "MissingParameter",
        )
