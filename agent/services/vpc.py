"""VPCs (SPEC N1): an address block with a router of its own; several may have the same block side by side."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from sqlalchemy import Select, func, select

from agent.core import validate
from agent.core.errors import DependencyViolation, InvalidParameter, NotFound
from agent.core.ids import new_id
from agent.jobs import journal
from agent.services import quota, tag
from agent.services.context import Caller
from agent.services.matching import like
from agent.store.schema import Job, NetworkInterface, SecurityGroup, Vpc, VSwitch

DEFAULT_CIDR = "172.16.0.0/12"  # where the caller names none, as with the provider
# 10.0.0.0/8 is our extension.
BLOCKS = tuple(map(ipaddress.IPv4Network, ("192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8")))
LONGEST_PREFIX = 28


def create_vpc(
    caller: Caller, *, cidr: str = "", name: str = "", description: str = "", tags: Sequence[tag.TagPair] = ()
) -> Vpc:
    """A VPC with its router; the router comes up by a job, VSwitches can be made in it at once."""
    block = _checked_cidr(cidr or DEFAULT_CIDR)
    _check_texts(name, description)
    mine = select(func.count()).where(Vpc.account_id == caller.account_id, ~Vpc.is_classic)
    quota.check(caller, "vpcs", caller.session.scalar(mine) or 0)
    now = caller.services.clock.now()
    vpc = Vpc(
        id=new_id("vpc"),
        account_id=caller.account_id,
        name=name,
        description=description,
        cidr=str(block),
        link=free_link(caller),
        router_id=new_id("vrouter"),
        route_table_id=new_id("routetable"),
        is_default=False,
        created_at=now,
    )
    caller.session.add(vpc)
    caller.session.flush()
    tag.set_tags(caller, "vpc", vpc.id, tags)
    journal.enqueue_sync(caller.session, vpc.id, now, caller.request_id)
    return vpc


def get_vpc(caller: Caller, vpc_id: str, *, code: str = "InvalidVpcID.NotFound") -> Vpc:
    """The caller's VPC; raises NotFound with `code`, which differs between actions."""
    vpc = caller.session.get(Vpc, vpc_id)
    if vpc is None or vpc.account_id != caller.account_id or vpc.is_classic:
        raise NotFound(code, "VpcId", vpc_id)
    return vpc


def find_vpcs(
    caller: Caller,
    *,
    ids: Sequence[str] = (),
    name: str | None = None,
    is_default: bool | None = None,
    router_id: str | None = None,
    route_table_id: str | None = None,
    tags: Sequence[tag.TagFilter] = (),
) -> Select[Vpc]:
    """The caller's VPCs, in order of creation."""
    found = select(Vpc).where(Vpc.account_id == caller.account_id, ~Vpc.is_classic)
    if ids:
        found = found.where(Vpc.id.in_(ids))
    if name:
        found = found.where(like(Vpc.name, name))
    if is_default is not None:
        found = found.where(Vpc.is_default == is_default)
    if router_id:
        found = found.where(Vpc.router_id == router_id)
    if route_table_id:
        found = found.where(Vpc.route_table_id == route_table_id)
    return tag.filter_by_tags(found, "vpc", Vpc.id, tags).order_by(Vpc.created_at, Vpc.id)


def modify_vpc(caller: Caller, vpc_id: str, *, name: str | None = None, description: str | None = None) -> None:
    """Change what is not None."""
    vpc = get_vpc(caller, vpc_id)
    _check_texts(name or "", description or "")
    if name is not None:
        vpc.name = name
    if description is not None:
        vpc.description = description


def delete_vpc(caller: Caller, vpc_id: str) -> Job:
    """The VPC is gone at once, its router by the job returned. Raises DependencyViolation while anything is in it."""
    vpc, session = get_vpc(caller, vpc_id), caller.session
    own_group = ~SecurityGroup.is_default
    for what, found in (
        ("VSwitch", select(VSwitch.id).where(VSwitch.vpc_id == vpc_id)),
        ("security group", select(SecurityGroup.id).where(SecurityGroup.vpc_id == vpc_id, own_group)),
        ("network interface", select(NetworkInterface.id).where(NetworkInterface.vpc_id == vpc_id)),
    ):
        other = session.scalar(found.limit(1))
        if other is not None:
            raise DependencyViolation(f'The VPC "{vpc_id}" still has the {what} "{other}": delete that first.')
    link = vpc.link
    for group in session.scalars(select(SecurityGroup).where(SecurityGroup.vpc_id == vpc_id)):
        tag.forget(session, "securitygroup", [group.id])
        session.delete(group)
    session.flush()
    tag.forget(session, "vpc", [vpc_id])
    session.delete(vpc)
    session.flush()
    # The link is kept from others until the job has removed what is named after it.
    return journal.enqueue(
        session,
        "vpc.remove",
        vpc_id,
        caller.services.clock.now(),
        account_id=caller.account_id,
        request_id=caller.request_id,
        data={"link": link},
    )


def default_vpc(caller: Caller) -> Vpc | None:
    """The account's default VPC, if it still has one."""
    mine = select(Vpc).where(Vpc.account_id == caller.account_id, Vpc.is_default)
    return caller.session.scalar(mine.limit(1))


def _checked_cidr(cidr: str) -> ipaddress.IPv4Network:
    code = "InvalidCidrBlock.Malformed"
    block = validate.network("CidrBlock", cidr, code=code)
    if not any(block.subnet_of(allowed) for allowed in BLOCKS) or block.prefixlen > LONGEST_PREFIX:
        allowed = ", ".join(map(str, BLOCKS))
        raise InvalidParameter(
            "CidrBlock", cidr, f"it must be one of {allowed} or a part of one, /{LONGEST_PREFIX} or larger.", code=code
        )
    return block


def _check_texts(name: str, description: str) -> None:
    if name:
        validate.name("VpcName", name, code="InvalidVpcName.Malformed")
    validate.description("Description", description, code="InvalidVpcDescription.Malformed")


def free_link(caller: Caller) -> int:
    """The smallest number no VPC has and no router that is still to be removed."""
    leaving = select(Job.data).where(Job.kind == "vpc.remove", Job.state != "succeeded")
    taken = set(caller.session.scalars(select(Vpc.link)))
    taken.update(data["link"] for data in caller.session.scalars(leaving) if "link" in data)
    return next(number for number in range(1, len(taken) + 2) if number not in taken)
