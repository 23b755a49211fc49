"""Windows instances as far as the store and the seed go (SPEC I1, L2): choices, refusals, and the password's way."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.core.errors import ApiError
from agent.core.specs import Acceleration, DomainInfo, DomainState, SeedSpec
from agent.jobs import translate
from agent.jobs.kinds import instance as kinds
from agent.jobs.layers.turns import Turns
from agent.jobs.model import Context, Finish, Locks
from agent.jobs.translate_filter import FilterSpecs
from agent.store.schema import Image, Instance
from tests.support.agent import flat
from tests.support.cloud import Cloud

PASSWORD = "Passw0rd!x"


@pytest.fixture
def ready(make_cloud: Any) -> Cloud:
    """A cloud with one Windows image that brings no virtio drivers."""
    cloud: Cloud = make_cloud(minimum_disk_gib={"system": 1})
    cloud.default_vswitch()
    cloud.add_image("win_x64")
    with cloud.store.write() as session:
        image = session.get_one(Image, "win_x64")
        image.os_type, image.os_name, image.virtio = "windows", "Windows Server 2022", False
    return cloud


def run(cloud: Cloud, **params: object) -> str:
    wanted = {"ImageId": "win_x64", "InstanceType": "ecs.s2.large", "Password": PASSWORD} | params
    return cloud.call("RunInstances", dict(flat(wanted)))["InstanceIdSets"]["InstanceIdSet"][0]


def refused(cloud: Cloud, **params: object) -> str:
    with pytest.raises(ApiError) as found:
        run(cloud, **params)
    return found.value.code


def row(cloud: Cloud, instance_id: str) -> Instance:
    with cloud.store.read() as session:
        return session.get_one(Instance, instance_id)


def seed_of(cloud: Cloud, instance_id: str) -> SeedSpec:
    """The seed of the next console start."""
    with cloud.store.read() as session:
        instance = session.get_one(Instance, instance_id)
        spec = translate.seed_spec(cloud.services.config, session, instance)
        return translate.windows_seed(spec, instance, cloud.services.sealer.open)


def shut_down(cloud: Cloud, instance_id: str, reason: str) -> None:
    """What the job that stops an instance notes at its end, when libvirt tells `reason`."""
    info = DomainInfo("x", DomainState.SHUT_OFF, reason)
    drivers: Any = SimpleNamespace(
        hypervisor=SimpleNamespace(info=lambda name: info),
        network=SimpleNamespace(remove_port=lambda *_: None),
    )
    context = Context(
        config=cloud.services.config,
        store=cloud.store,
        drivers=drivers,
        filters=FilterSpecs(),
        locks=Locks(),
        turns=Turns(),
        clock=cloud.clock,
        job_id="",
        resource_id=instance_id,
        data={},
        step_started_at=cloud.clock.now(),
        report=lambda *_: None,
        unseal=cloud.services.sealer.open,
    )
    finish: Finish = kinds._unplug_and_stop(context)
    with cloud.store.write() as session:
        finish(session)


def test_the_password_is_sealed_and_not_hashed(ready: Cloud) -> None:
    made = row(ready, run(ready))
    assert (made.os_type, made.virtio, made.password_hash) == ("windows", False, None)
    assert made.password
    assert PASSWORD.encode() not in made.password
    assert ready.services.sealer.open(made.password) == PASSWORD
    assert made.host_name == made.id[:15]


def test_what_windows_cannot_be(ready: Cloud) -> None:
    ready.call("CreateKeyPair", {"KeyPairName": "mine"})
    assert refused(ready, KeyPairName="mine") == "DependencyViolation.WindowsInstance"
    assert refused(ready, Password="short") == "InvalidPassword.Malformed"
    for name in ("a.b", "sixteen-letters-", "12345", "x" * 16):
        assert refused(ready, HostName=name) == "InvalidHostName.Malformed"
    assert refused(ready, HostName="fourteen-chars", UniqueSuffix="true", Amount=2) == "InvalidHostName.Malformed"
    with ready.store.write() as session:
        session.get_one(Image, "win_x64").architecture = "i386"
    assert refused(ready, InstanceType="ecs.s3.large") == "InvalidInstanceType.ValueNotSupported"


def test_system_disks_of_windows_are_larger(make_cloud: Any) -> None:
    cloud: Cloud = make_cloud()
    cloud.default_vswitch()
    cloud.add_image("win_x64")
    with cloud.store.write() as session:
        session.get_one(Image, "win_x64").os_type = "windows"
    instance_id = run(cloud)
    with cloud.store.read() as session:
        assert [disk.size_gib for disk in session.get_one(Instance, instance_id).disks] == [40]
    assert refused(cloud, SystemDisk={"Size": 39}) == "InvalidSystemDiskSize.LessThanImageSize"


def test_the_seed_goes_on_until_the_guest_has_shut_itself_down(ready: Cloud) -> None:
    instance_id = run(ready, UserData="cmVtIGhlbGxv")
    first = seed_of(ready, instance_id)
    assert first.windows
    assert (first.windows.password, first.user_data) == (PASSWORD, b"rem hello")
    shut_down(ready, instance_id, "destroyed")  # the plug: nobody knows whether it had arrived
    assert seed_of(ready, instance_id) == first

    shut_down(ready, instance_id, "shutdown")
    after = seed_of(ready, instance_id)
    assert after.windows == dataclasses.replace(first.windows, password=None)  # the id is known: nothing runs again
    assert row(ready, instance_id).password is None


def test_a_reset_password_is_a_new_seed_that_runs_no_user_data(ready: Cloud) -> None:
    instance_id = run(ready, UserData="cmVtIGhlbGxv")
    first = seed_of(ready, instance_id)
    shut_down(ready, instance_id, "shutdown")
    ready.call("ModifyInstanceAttribute", {"InstanceId": instance_id, "Password": "An0ther!password"})
    again = seed_of(ready, instance_id)
    assert first.windows
    assert again.windows
    assert again.windows.id != first.windows.id
    assert (again.windows.password, again.user_data) == ("An0ther!password", b"")
    shut_down(ready, instance_id, "shutdown")
    assert seed_of(ready, instance_id).windows == dataclasses.replace(again.windows, password=None)


def test_without_a_password_the_instance_is_its_own_seed(ready: Cloud) -> None:
    instance_id = run(ready, Password="")
    found = seed_of(ready, instance_id)
    assert found.windows
    assert (found.windows.id, found.windows.password) == (row(ready, instance_id).uuid, None)


def test_devices_that_windows_boots_from(ready: Cloud) -> None:
    drivers: Any = SimpleNamespace(
        hypervisor=SimpleNamespace(acceleration=lambda: Acceleration("kvm", "")),
        storage=SimpleNamespace(layer_path=lambda layer_id: Path("/disks", layer_id)),
        seeds=SimpleNamespace(config_drive_path=lambda instance_id: Path("/seeds/drive")),
    )

    def spec(instance_id: str, **config: Any) -> Any:
        with ready.store.read() as session:
            instance = session.get_one(Instance, instance_id)
            return translate.domain_spec(
                replace(ready.services.config, **config), drivers, instance, Path("/seeds/seed")
            )

    found = spec(run(ready))
    assert (found.machine, found.os_type, found.virtio, found.config_drive) == (
        "q35",
        "windows",
        False,
        Path("/seeds/drive"),
    )
    assert [(disk.bus, disk.device) for disk in found.disks] == [("sata", "sda")]
    assert [nic.model for nic in found.nics] == ["e1000e"]

    with ready.store.write() as session:
        session.get_one(Image, "win_x64").virtio = True
    instance_id = run(ready)
    found = spec(instance_id)
    assert spec(instance_id, nested_virtualization=True).nested_virtualization
    assert not found.nested_virtualization  # but for the owner's word (SPEC N8)
    assert (found.machine, found.disks[0].bus, found.disks[0].device) == ("pc", "virtio", "vda")
    assert [nic.model for nic in found.nics] == ["virtio"]
