"""Finding instances (SPEC I3, G4)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import selectinload

from agent.core.ids import CLASSIC_VPC
from agent.core.specs import INTRANET
from agent.services import classic, tag
from agent.services.context import Caller
from agent.services.matching import like
from agent.services.public_address import EIP, PUBLIC
from agent.store.schema import GroupMembership, Instance, NetworkInterface, PublicAddress


@dataclass(frozen=True)
class Filters:
    """None and empty: do not filter by it. Names may hold `*`."""

    ids: list[str] | None = None
    name: str = ""
    status: str = ""
    image_id: str = ""
    instance_type: str = ""
    family: str = ""
    key_pair_name: str = ""
    zone_id: str = ""
    vpc_id: str = ""
    vswitch_id: str = ""
    network_type: str = ""  # vpc | classic
    security_group_id: str = ""
    private_ips: list[str] | None = None  # of VPCs
    inner_ips: list[str] | None = None  # of the classic network's intranet
    public_ips: list[str] | None = None  # of instances' own
    eips: list[str] | None = None
    internet_charge_type: str = ""
    tags: tuple[tuple[str, str | None], ...] = ()


def find(caller: Caller, filters: Filters) -> Select[Instance]:
    """The caller's instances, newest first."""
    query = select(Instance).where(Instance.account_id == caller.account_id, Instance.releasing.is_(False))
    if filters.ids is not None:
        query = query.where(Instance.id.in_(filters.ids))
    if filters.name:
        query = query.where(like(Instance.name, filters.name))
    if filters.family:
        types = [t.id for t in caller.services.instance_types.values() if t.family == filters.family]
        query = query.where(Instance.instance_type.in_(types))
    exact = {
        Instance.status: filters.status,
        Instance.image_id: filters.image_id,
        Instance.instance_type: filters.instance_type,
        Instance.key_pair_name: filters.key_pair_name,
        Instance.zone_id: filters.zone_id,
        Instance.internet_charge_type: filters.internet_charge_type,
    }
    for column, value in exact.items():
        if value:
            query = query.where(column == value)
    query = _by_network(query, filters)
    query = tag.filter_by_tags(query, "instance", Instance.id, list(filters.tags))
    # What every answer shows of an instance, in one statement each for the whole page.
    interfaces = selectinload(Instance.interfaces)
    parts = (NetworkInterface.memberships, NetworkInterface.secondary, NetworkInterface.public)
    return query.options(*(interfaces.selectinload(of) for of in parts)).order_by(
        Instance.created_at.desc(), Instance.id
    )


def _by_network(query: Select[Instance], filters: Filters) -> Select[Instance]:
    interfaces = select(NetworkInterface.instance_id)
    in_classic = NetworkInterface.vpc_id == CLASSIC_VPC
    for column, wanted in (
        (NetworkInterface.vpc_id, filters.vpc_id),
        (NetworkInterface.vswitch_id, filters.vswitch_id),
    ):
        if wanted:
            query = query.where(Instance.id.in_(interfaces.where(~in_classic, column == wanted)))
    if filters.network_type:
        of_type = in_classic if filters.network_type == classic.CLASSIC else ~in_classic
        query = query.where(Instance.id.in_(interfaces.where(of_type)))
    intranet = interfaces.where(NetworkInterface.nic_type == INTRANET)
    for ips, place in ((filters.private_ips, ~in_classic), (filters.inner_ips, in_classic)):
        if ips is not None:
            query = query.where(Instance.id.in_(intranet.where(place, NetworkInterface.ip.in_(ips))))
    for kind, ips in ((PUBLIC, filters.public_ips), (EIP, filters.eips)):
        if ips is not None:
            holders = interfaces.join(PublicAddress).where(PublicAddress.kind == kind, PublicAddress.ip.in_(ips))
            query = query.where(Instance.id.in_(holders))
    if filters.security_group_id:
        member = interfaces.join(GroupMembership).where(GroupMembership.group_id == filters.security_group_id)
        query = query.where(Instance.id.in_(member))
    return query
