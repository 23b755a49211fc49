"""What the metadata service says of an instance: the same identity, keys and user data as its seed (SPEC I11)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from agent.config import Config
from agent.core.addresses import INTERNET_GATEWAY, gateway
from agent.core.ids import CLASSIC_VPC, body
from agent.core.specs import INTERNET
from agent.services import instance_credentials
from agent.services.public_address import EIP, PUBLIC
from agent.store.schema import Instance, NetworkInterface, SecondaryAddress, Vpc
from agent.store.store import Store


@dataclass(frozen=True)
class InterfaceFacts:
    """Of a VPC; without one in the classic network."""

    id: str
    mac: str
    ip: str
    netmask: str
    gateway: str
    vswitch_id: str = ""
    vswitch_cidr: str = ""
    vpc_id: str = ""
    vpc_cidr: str = ""
    secondary: tuple[str, ...] = ()  # further addresses


@dataclass(frozen=True)
class DiskFacts:
    """`serial`: as the guest finds the disk in /dev/disk/by-id."""

    serial: str
    id: str
    name: str


@dataclass(frozen=True)
class InstanceFacts:
    """`interfaces`: the primary one first, never empty. `serial_number`: as DMI shows it to the guest.

    `public_keys`: those of the seed that the guest was started with. `enabled` and `token_required`: the options of
    its metadata service. `eip` stands for the first private address; `public_ip`: that, or the instance's own one.
    """

    instance_id: str
    name: str
    host_name: str
    instance_type: str
    image_id: str
    serial_number: str
    owner_id: str
    region_id: str
    zone_id: str
    interfaces: tuple[InterfaceFacts, ...]
    public_keys: tuple[str, ...] = ()
    name_servers: tuple[str, ...] = ()
    user_data: bytes = b""
    disks: tuple[DiskFacts, ...] = ()
    role_name: str = ""
    enabled: bool = True
    token_required: bool = False
    eip: str = ""
    public_ip: str = ""


class Instances:
    """The instances by where they are. `name_servers`: what DHCP tells guests."""

    def __init__(self, store: Store, config: Config, name_servers: tuple[str, ...]) -> None:
        self._store, self._config, self._name_servers = store, config, name_servers

    def at(self, vpc_id: str, ip: str) -> InstanceFacts | None:
        """The instance with that address in the VPC; the same address elsewhere is somebody else's."""
        with self._store.read() as session:
            further = NetworkInterface.secondary.any(SecondaryAddress.ip == ip)
            here = select(NetworkInterface.instance_id).where(
                NetworkInterface.vpc_id == vpc_id, or_(NetworkInterface.ip == ip, further)
            )
            found = select(Instance).where(Instance.id.in_(here), Instance.releasing.is_(False))
            instance = session.scalar(found)
            return self._facts(session, instance) if instance else None

    def _facts(self, session: Session, instance: Instance) -> InstanceFacts:
        role = instance_credentials.role_of(session, instance)
        public = {one.kind: one.ip for port in instance.interfaces for one in port.public if one.private_ip is None}
        return InstanceFacts(
            instance_id=instance.id,
            name=instance.name,
            host_name=instance.host_name,
            instance_type=instance.instance_type,
            image_id=instance.image_id,
            serial_number=instance.uuid,
            owner_id=instance.account_id,
            region_id=self._config.region_id,
            zone_id=instance.zone_id,
            interfaces=tuple(_interface(session, one) for one in instance.interfaces),
            public_keys=tuple(instance.seeded_keys),
            name_servers=self._name_servers,
            user_data=instance.user_data,
            disks=tuple(DiskFacts(body(disk.id), disk.id, disk.name) for disk in instance.disks),
            role_name=role.name if role else "",
            enabled=instance.metadata_enabled,
            token_required=instance.metadata_token_required,
            eip=public.get(EIP, ""),
            public_ip=public.get(EIP) or public.get(PUBLIC, ""),
        )


def _interface(session: Session, interface: NetworkInterface) -> InterfaceFacts:
    cidr = interface.vswitch.cidr
    if interface.vpc_id == CLASSIC_VPC:
        internet = interface.nic_type == INTERNET
        return InterfaceFacts(
            id=interface.id,
            mac=interface.mac,
            ip=interface.ip,
            netmask=str(ipaddress.IPv4Network(f"{interface.ip}/32" if internet else cidr).netmask),
            gateway=INTERNET_GATEWAY if internet else gateway(cidr),
        )
    return InterfaceFacts(
        id=interface.id,
        mac=interface.mac,
        ip=interface.ip,
        netmask=str(ipaddress.IPv4Network(cidr).netmask),
        gateway=gateway(cidr),
        vswitch_id=interface.vswitch_id,
        vswitch_cidr=cidr,
        vpc_id=interface.vpc_id,
        vpc_cidr=session.get_one(Vpc, interface.vpc_id).cidr,
        secondary=tuple(address.ip for address in interface.secondary),
    )
