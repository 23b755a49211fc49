"""A VPC of a real agent with very many instances, none of which runs, in security groups full of rules."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from sqlalchemy import select

from agent.core import ids
from agent.drivers.network import netns
from agent.jobs import journal
from agent.store.schema import (
    GroupMembership,
    Instance,
    Job,
    NetworkInterface,
    SecurityGroup,
    SecurityGroupRule,
    VSwitch,
)
from agent.store.store import Store
from tests.support.agent import AgentProcess, running_agent
from tests.support.waiting import wait_for

NO_LIBVIRT = "qemu+unix:///system?socket=/nonexistent/libvirt-sock"


@dataclass
class Many:
    agent: AgentProcess
    store: Store
    vpc_id: str
    groups: list[str]  # ids
    instances: list[str]

    @property
    def namespace(self) -> str:
        return f"{self.agent.prefix}-{self.vpc_id}"

    def generation(self) -> str:
        """The mark of the rules that the kernel has: a new one with every change."""
        line = ["ip", "netns", "exec", self.namespace, "nft", "list", "chain", "inet", "vpc", "raw"]
        listing = subprocess.run(line, capture_output=True, text=True, check=True, timeout=20).stdout
        return re.findall(r"meta mark set (\w+)", listing)[0]

    def jobs(self, count: int) -> list[float]:
        """Seconds from when the last jobs of the filter were written down, in the calls' transactions, until they were
        done and that was written down."""
        with self.store.read() as session:
            found = select(Job).where(Job.kind == journal.FILTER).order_by(Job.sequence.desc()).limit(count)
            times = [(job.created_at, job.finished_at) for job in session.scalars(found)]
        return [(finished - created).total_seconds() for created, finished in times if finished]


@contextmanager
def many(instances: int, groups: int, rules: int) -> Iterator[Many]:
    """Instance n is in group n modulo `groups`, each of which has so many rules."""
    with running_agent(NO_LIBVIRT) as agent, closing(Store(agent.root / "data/ecs.db")) as store:
        vpc_id = agent.call("CreateVpc", CidrBlock="192.168.0.0/16")["VpcId"]
        vswitch = agent.call("CreateVSwitch", VpcId=vpc_id, ZoneId="local-a", CidrBlock="192.168.0.0/20")["VSwitchId"]
        made = Many(agent, store, vpc_id, [], [])
        wait_for("the router", lambda: netns.exists(made.namespace), 20)
        _write_groups(made, groups, rules)
        _write_instances(made, vswitch, instances)
        yield made


def _write_groups(made: Many, count: int, rules: int) -> None:
    now = dt.datetime.now(dt.UTC)
    with made.store.write() as session:
        account_id = session.scalars(select(VSwitch.account_id).where(VSwitch.vpc_id == made.vpc_id)).one()
        for number in range(count):
            group = SecurityGroup(id=ids.new_id("securitygroup"), account_id=account_id, vpc_id=made.vpc_id)
            group.created_at, group.name = now, f"group {number}"
            group.rules = [_rule(number, one, now) for one in range(rules)]
            session.add(group)
            made.groups.append(group.id)


def _rule(group: int, number: int, now: dt.datetime) -> SecurityGroupRule:
    return SecurityGroupRule(
        id=ids.new_id("securitygrouprule"),
        direction="ingress",
        policy="Accept",
        protocol="TCP",
        port_range=f"{6000 + 10 * number}/{6005 + 10 * number}",
        peer_cidr=f"10.{group % 250}.{number}.0/24",
        nic_type="intranet",
        priority=1,
        created_at=now,
    )


def _write_instances(made: Many, vswitch_id: str, count: int) -> None:
    now = dt.datetime.now(dt.UTC)
    with made.store.write() as session:
        account_id = session.get_one(VSwitch, vswitch_id).account_id
        for number in range(count):
            instance_id = ids.new_id("instance")
            made.instances.append(instance_id)
            session.add(
                Instance(
                    id=instance_id,
                    account_id=account_id,
                    uuid=instance_id,
                    name=f"number {number}",
                    host_name=f"number-{number}",
                    zone_id="local-a",
                    instance_type="ecs.t1.small",
                    vcpus=1,
                    memory_mib=1024,
                    image_id="tiny_x64",
                    os_type="linux",
                    os_name="Tiny",
                    status="Stopped",
                    created_at=now,
                )
            )
            session.flush()
            interface = NetworkInterface(
                id=ids.new_id("eni"),
                account_id=account_id,
                vpc_id=made.vpc_id,
                vswitch_id=vswitch_id,
                instance_id=instance_id,
                mac=f"00:16:3f:00:{number // 256:02x}:{number % 256:02x}",
                ip=f"192.168.{number // 250}.{number % 250 + 1}",
                tap=f"{made.agent.prefix}n{number}",
                created_at=now,
            )
            interface.memberships = [GroupMembership(group_id=made.groups[number % len(made.groups)], position=0)]
            session.add(interface)
