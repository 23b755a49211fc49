"""The classic network (SPEC N4): one of the host, shared by all accounts, in which only security groups separate them.

To the store it is a VPC with one VSwitch, which belong to the host's owner and which no action shows.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from sqlalchemy import select

from agent.config import Config, ConfigError
from agent.core.ids import CLASSIC_VPC, CLASSIC_VSWITCH, new_id
from agent.jobs import journal
from agent.services import account, vpc
from agent.services.context import Caller
from agent.store.schema import SecurityGroup, Vpc, VSwitch

CLASSIC, VPC = "classic", "vpc"  # network types, as callers write them


def check_cidr(config: Config) -> None:
    """Raises ConfigError for a `classic_cidr` that instances cannot get addresses from; at the agent's start."""
    try:
        block = ipaddress.IPv4Network(config.classic_cidr)
    except ValueError as error:
        raise ConfigError(f"classic_cidr: {error}") from None
    if not any(block.subnet_of(allowed) for allowed in vpc.BLOCKS) or block.prefixlen > vpc.LONGEST_PREFIX:
        allowed = ", ".join(map(str, vpc.BLOCKS))
        raise ConfigError(
            f"classic_cidr = {config.classic_cidr!r} must be one of {allowed} or a part of one, "
            f"/{vpc.LONGEST_PREFIX} or larger"
        )


def network(caller: Caller) -> VSwitch:
    """What its instances get their intranet addresses from; made when it is first needed."""
    return caller.session.get(VSwitch, CLASSIC_VSWITCH) or _make(caller)


def has_group(caller: Caller, group_ids: Sequence[str]) -> bool:
    """Whether one of these groups of the caller is of the classic network: an instance in it is, too."""
    mine = select(SecurityGroup.id).where(
        SecurityGroup.id.in_(group_ids),
        SecurityGroup.account_id == caller.account_id,
        SecurityGroup.vpc_id == CLASSIC_VPC,
    )
    return caller.session.scalar(mine.limit(1)) is not None


def _make(caller: Caller) -> VSwitch:
    session, now = caller.session, caller.services.clock.now()
    owner = account.ensure_default_account(session, caller.services.clock).id
    cidr = caller.services.config.classic_cidr
    session.add(
        Vpc(
            id=CLASSIC_VPC,
            account_id=owner,
            name=CLASSIC,
            cidr=cidr,
            link=vpc.free_link(caller),
            router_id=new_id("vrouter"),
            route_table_id=new_id("routetable"),
            is_classic=True,
            created_at=now,
        )
    )
    session.flush()
    made = VSwitch(
        id=CLASSIC_VSWITCH,
        account_id=owner,
        vpc_id=CLASSIC_VPC,
        zone_id=caller.services.config.zone_id,
        name=CLASSIC,
        cidr=cidr,
        nat=False,  # without a public address nothing of it reaches the outside
        created_at=now,
    )
    session.add(made)
    session.flush()
    journal.enqueue_sync(session, CLASSIC_VPC, now, caller.request_id)
    return made
