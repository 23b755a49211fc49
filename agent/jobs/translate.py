"""Rows of the store into specs for drivers: pure, apart from reading what is related."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.config import Config
from agent.core import disk_categories, ids
from agent.core.ids import CLASSIC_VPC, body
from agent.core.specs import INTERNET, DiskSpec, DomainSpec, NicSpec, SeedSpec, WindowsSeed
from agent.drivers.guest.boothook import operation_id
from agent.jobs.model import Drivers
from agent.store.schema import Disk, Instance, KeyPair, NetworkInterface


def domain_name(config: Config, instance_id: str) -> str:
    return f"{config.prefix}-{instance_id}"


def domain_spec(config: Config, drivers: Drivers, instance: Instance, seed: Path | None) -> DomainSpec:
    """The guest as libvirt shall run it: with virtio, or with what everything since the first AHCI disk boots from.
    `seed` None: it gets none, nor a config drive."""
    windows = instance.os_type == "windows"
    return DomainSpec(
        name=domain_name(config, instance.id),
        instance_id=instance.id,
        uuid=instance.uuid,
        vcpus=instance.vcpus,
        memory_mib=instance.memory_mib,
        disks=tuple(disk_spec(config, drivers, disk, instance) for disk in instance.disks),
        nics=tuple(nic_spec(instance, interface) for interface in instance.interfaces),
        seed=seed,
        console_log=config.console_log(instance.id),
        acceleration=drivers.hypervisor.acceleration().kind,
        nested_virtualization=config.nested_virtualization,
        machine="pc" if instance.virtio else "q35",
        os_type=instance.os_type,
        virtio=instance.virtio,
        config_drive=drivers.seeds.config_drive_path(instance.id) if windows and seed else None,
        iso=drivers.storage.image_path(instance.iso_file) if instance.iso_file else None,
    )


def nic_spec(instance: Instance, interface: NetworkInterface) -> NicSpec:
    """A network card as the instance shall have it."""
    return NicSpec(tap=interface.tap, mac=interface.mac, model="virtio" if instance.virtio else "e1000e")


def disk_spec(config: Config, drivers: Drivers, disk: Disk, instance: Instance) -> DiskSpec:
    """A disk as the instance shall have it."""
    # The API's name /dev/xvdb is the guest's /dev/vdb or sdb; guests should look for the serial (SPEC D2).
    stem, bus = ("vd", "virtio") if instance.virtio else ("sd", "sata")
    limits = disk_categories.limits(disk.category, disk.size_gib, config.disk_limits)
    return DiskSpec(
        path=drivers.storage.layer_path(disk.layer_id),
        device=(disk.device or "/dev/xvda").rsplit("/", 1)[1].replace("xvd", stem),
        serial=body(disk.id),
        bus=bus,
        total_iops=limits.iops if limits else None,
        total_bytes_per_second=limits.bytes_per_second if limits else None,
    )


def seed_spec(config: Config, session: Session, instance: Instance) -> SeedSpec:
    """What cloud-init shall find: identity, keys, password hash and the user's own data."""
    keys: tuple[str, ...] = ()
    if instance.key_pair_name:
        found = select(KeyPair.public_key).where(
            KeyPair.account_id == instance.account_id, KeyPair.name == instance.key_pair_name
        )
        keys = tuple(session.scalars(found))
    return SeedSpec(
        instance_id=instance.id,
        host_name=instance.host_name,
        public_keys=keys,
        password_hash=instance.password_hash,
        mac=instance.interfaces[0].mac,
        user_data=instance.user_data,
        region_id=config.region_id,
        zone_id=instance.zone_id,
        internet_mac=_internet_mac(instance),
    )


def _internet_mac(instance: Instance) -> str:
    primary = instance.interfaces[0]
    if primary.vpc_id != CLASSIC_VPC:
        return ""
    own = (one.mac for one in instance.interfaces if one.nic_type == INTERNET)
    return next(own, ids.internet_mac(primary.mac))


def edit_id(spec: SeedSpec) -> str:
    """Changes with what is to be written into files of a system that understands no seed."""
    return hashlib.sha256(repr((operation_id(spec), spec.host_name, spec.mac)).encode()).hexdigest()[:20]


def windows_seed_id(instance: Instance) -> str:
    """What the instance's next seed is called: another name with each new password, or cloudbase-init ignores it.

    Made from the sealed form of the password: from the plain one, everybody in the guest could try passwords out.
    """
    if instance.password is None:
        return instance.windows_seed_id or instance.uuid
    return str(uuid.uuid5(uuid.UUID(instance.uuid), hashlib.sha256(instance.password).hexdigest()))


def windows_seed(spec: SeedSpec, instance: Instance, unseal: Callable[[bytes], str]) -> SeedSpec:
    """The seed for cloudbase-init. User data ran with the first seed; it would run again with another."""
    password = None if instance.password is None else unseal(instance.password)
    seed_id = windows_seed_id(instance)
    ran = instance.windows_seed_id not in (None, seed_id)
    return replace(spec, windows=WindowsSeed(seed_id, password), user_data=b"" if ran else spec.user_data)
