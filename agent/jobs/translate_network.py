"""Rows about networks into what the router of a VPC and its ports shall be: pure but for reading what is related."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from agent.core.addresses import INTERNET_GATEWAY, gateway
from agent.core.ids import CLASSIC_VPC
from agent.core.specs import INTERNET, ForwardSpec, PortSpec, PublicSpec, RouteSpec, VpcSpec
from agent.store.schema import Instance, NetworkInterface, PortForward, PublicAddress, Vpc

KBIT_PER_MBIT = 1024  # of bandwidth that callers name (SPEC section 0)
EIP = "eip"


def vpc_spec(session: Session, vpc: Vpc) -> VpcSpec:
    """The router of a VPC with all that instances have of it, whether they run or not."""
    return VpcSpec(
        vpc_id=vpc.id,
        link=vpc.link,
        cidr=vpc.cidr,
        gateways=(
            *(gateway(vswitch.cidr) for vswitch in vpc.vswitches),
            *([INTERNET_GATEWAY] if vpc.is_classic else []),
        ),
        nat=tuple(vswitch.cidr for vswitch in vpc.vswitches if vswitch.nat),
        routes=tuple(_routes(vpc)),
        publics=tuple(_publics(session, vpc.id)),
        forwards=tuple(_forwards(session, vpc.id)),
    )


def _routes(vpc: Vpc) -> Iterator[RouteSpec]:
    for entry in vpc.routes:
        hop = entry.interface
        yield RouteSpec(entry.cidr, hop.tap, hop.ip) if hop else RouteSpec(entry.cidr)


def _publics(session: Session, vpc_id: str) -> Iterator[PublicSpec]:
    bound = (
        select(PublicAddress)
        .join(PublicAddress.interface)
        .where(NetworkInterface.vpc_id == vpc_id)
        .order_by(PublicAddress.ip)
        .options(selectinload(PublicAddress.interface))
    )
    for address in session.scalars(bound):
        if address.interface is not None:
            yield PublicSpec(address.ip, address.private_ip or address.interface.ip)


def _forwards(session: Session, vpc_id: str) -> Iterator[ForwardSpec]:
    found = (
        select(PortForward)
        .join(PortForward.interface)
        .where(NetworkInterface.vpc_id == vpc_id)
        .order_by(PortForward.id)
        .options(selectinload(PortForward.interface))
    )
    for forward in session.scalars(found):
        yield ForwardSpec(
            protocol=forward.protocol,
            host_address=forward.host_address,
            host_port=forward.host_port,
            private=forward.interface.ip,
            port=forward.port,
        )


def port_spec(instance: Instance, interface: NetworkInterface) -> PortSpec:
    """In the classic network the default route goes by the internet's link, or there is none (SPEC N4)."""
    inbound, outbound = _limits(instance, interface)
    cidr, internet = interface.vswitch.cidr, interface.nic_type == INTERNET
    return PortSpec(
        vpc_id=interface.vpc_id,
        instance_id=instance.id,
        tap=interface.tap,
        mac=interface.mac,
        ip=interface.ip,
        prefix_length=32 if internet else ipaddress.IPv4Network(cidr).prefixlen,
        gateway=INTERNET_GATEWAY if internet else gateway(cidr),
        host_name=instance.host_name,
        secondary_ips=tuple(address.ip for address in interface.secondary),
        nic_type=interface.nic_type,
        default_route=internet or interface.vpc_id != CLASSIC_VPC,
        inbound_kbit=inbound * KBIT_PER_MBIT,
        outbound_kbit=outbound * KBIT_PER_MBIT,
    )


def _limits(instance: Instance, interface: NetworkInterface) -> tuple[int, int]:
    """Of all its public addresses together, in Mbit/s; (0, 0): without one nothing is limited."""
    inbound = outbound = 0
    for address in interface.public:
        eip = address.kind == EIP
        inbound += address.bandwidth_mbps if eip else instance.internet_in_mbps
        outbound += address.bandwidth_mbps if eip else instance.internet_out_mbps
    return inbound, outbound
