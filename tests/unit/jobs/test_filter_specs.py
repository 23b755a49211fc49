"""The wanted filters are kept up with the store by what changed in it; they are what reading everything gives."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.config import Config
from agent.jobs.translate_filter import FilterSpecs
from agent.store import filter_changes
from agent.store.schema import (
    Account,
    GroupMembership,
    NetworkInterface,
    RouteEntry,
    SecondaryAddress,
    SecurityGroup,
    SecurityGroupRule,
    Vpc,
    VSwitch,
)
from agent.store.store import Store
from tests.support.fresh_store import fresh_store

OWNER, VPCS = "1000000000000001", ("vpc-1", "vpc-2")
NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
STEPS = 150


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = fresh_store(tmp_path / "ecs.db")
    with store.write() as session:
        session.add(Account(id=OWNER, name="owner", created_at=NOW))
        session.flush()
        for link, vpc_id in enumerate(VPCS, 1):
            ids = {"id": vpc_id, "router_id": f"vrt-{link}", "route_table_id": f"vtb-{link}"}
            session.add(Vpc(**ids, account_id=OWNER, created_at=NOW, cidr="10.0.0.0/8", link=link))
            session.flush()
            made = {"id": f"vsw-{vpc_id}", "vpc_id": vpc_id, "zone_id": "local-a", "created_at": NOW}
            session.add(VSwitch(**made, account_id=OWNER, cidr="10.0.0.0/16"))
    yield store
    store.close()


class Writer:
    """Writes rows as services do, at random."""

    def __init__(self, random: Random) -> None:
        self._random, self._number = random, 0

    def step(self, session: Session) -> None:
        self._number += 1
        works = (self._group, self._rule, self._rule, self._policy, self._interface, self._members, self._members)
        rarer = (self._address, self._route, self._move, self._delete)
        self._random.choice((*works, *rarer))(session)

    def _any(self, session: Session, kind: type) -> object | None:
        found = session.scalars(select(kind)).all()
        return self._random.choice(found) if found else None

    def _group(self, session: Session) -> None:
        vpc_id = self._random.choice(VPCS)
        session.add(SecurityGroup(id=f"sg-{self._number}", account_id=OWNER, vpc_id=vpc_id, created_at=NOW))

    def _rule(self, session: Session) -> None:
        if isinstance(group := self._any(session, SecurityGroup), SecurityGroup):
            row = SecurityGroupRule(id=f"sgr-{self._number}", group_id=group.id, direction="ingress", policy="Accept")
            row.protocol, row.port_range, row.peer_cidr = "TCP", f"{self._number}/{self._number}", "10.0.0.0/8"
            row.nic_type, row.priority, row.created_at = "intranet", 1, NOW
            session.add(row)

    def _policy(self, session: Session) -> None:
        if isinstance(group := self._any(session, SecurityGroup), SecurityGroup):
            group.inner_access = not group.inner_access

    def _interface(self, session: Session) -> None:
        vpc_id, n = self._random.choice(VPCS), self._number
        row = NetworkInterface(id=f"eni-{n:03}", account_id=OWNER, vpc_id=vpc_id, vswitch_id=f"vsw-{vpc_id}")
        row.mac, row.ip, row.tap, row.created_at = f"00:16:3e:00:00:{n:02x}", f"10.0.0.{n}", f"t{n}", NOW
        session.add(row)

    def _members(self, session: Session) -> None:
        if isinstance(row := self._any(session, NetworkInterface), NetworkInterface):
            there = session.scalars(select(SecurityGroup.id).where(SecurityGroup.vpc_id == row.vpc_id)).all()
            chosen = self._random.sample(there, self._random.randint(0, min(3, len(there))))
            row.memberships = []
            session.flush()
            row.memberships = [GroupMembership(group_id=one, position=n) for n, one in enumerate(chosen)]

    def _address(self, session: Session) -> None:
        if isinstance(row := self._any(session, NetworkInterface), NetworkInterface):
            further = SecondaryAddress(vpc_id=row.vpc_id, ip=f"10.0.1.{self._number}", created_at=NOW)
            row.secondary = [] if row.secondary else [further]

    def _route(self, session: Session) -> None:
        if isinstance(row := self._any(session, NetworkInterface), NetworkInterface):
            entry = RouteEntry(id=f"rte-{self._number}", vpc_id=row.vpc_id, cidr=f"10.9.{self._number}.0/24")
            entry.next_hop_type, entry.interface_id, entry.created_at = "Instance", row.id, NOW
            session.add(entry)

    def _move(self, session: Session) -> None:
        """To the other VPC, without what it had in this one."""
        if isinstance(row := self._any(session, NetworkInterface), NetworkInterface):
            row.memberships, row.secondary = [], []
            row.vpc_id = VPCS[row.vpc_id == VPCS[0]]
            row.vswitch_id = f"vsw-{row.vpc_id}"

    def _delete(self, session: Session) -> None:
        kind = self._random.choice((SecurityGroup, SecurityGroupRule, NetworkInterface, RouteEntry))
        row = self._any(session, kind)
        if isinstance(row, SecurityGroup):
            for membership in session.scalars(select(GroupMembership).where(GroupMembership.group_id == row.id)):
                session.delete(membership)
        if isinstance(row, NetworkInterface):
            for entry in session.scalars(select(RouteEntry).where(RouteEntry.interface_id == row.id)):
                entry.interface_id, entry.next_hop_type = None, "Host"
        session.flush()
        if row is not None:
            session.delete(row)


def test_what_is_kept_up_is_what_reading_everything_gives(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_changes, "_KEPT", 12)
    random, config, specs = Random(6), Config(), FilterSpecs()
    writer = Writer(random)
    for _ in range(STEPS):
        with store.write() as session:
            writer.step(session)
            if random.random() < 0.05:
                filter_changes.prune(session)
        if random.random() < 0.3:
            continue  # several changes are read at once
        with store.read() as session:
            for vpc_id in random.sample(VPCS, random.randint(1, 2)):
                assert specs.read(session, vpc_id, config) == FilterSpecs().read(session, vpc_id, config)
