"""The host itself: what it has, what runs on it, its jobs, and its going down (SPEC W4, I14)."""

from __future__ import annotations

import platform
from typing import Any

from sqlalchemy import Select, func, select

from agent.core import states
from agent.core.errors import DriverError, IncorrectInstanceStatus
from agent.core.specs import HostCapacity, HostCheck
from agent.jobs import journal
from agent.jobs.model import KINDS
from agent.services import account, capacity, space
from agent.services import instance as instances
from agent.services.context import Caller
from agent.store.schema import Instance, Job, Vpc

TUNNEL_SECONDS = 30  # for which the token of a tunnel is good
DIAL_SECONDS = 10.0

STATES = {
    "pending": "Pending",
    "running": "Running",
    "undoing": "Undoing",
    "succeeded": "Succeeded",
    "failed": "Failed",
    "cancelled": "Cancelled",
}


def describe(caller: Caller) -> dict[str, Any]:
    """The host as DescribeHost shows it. Hypervisor is a plain sentence when libvirt cannot be reached. What is wrong
    with it is told to its owner: it may name what belongs to other accounts."""
    services, session = caller.services, caller.session
    room = services.hypervisor.capacity()
    vcpus, memory_mib = capacity.allocated(session)
    acceleration = services.hypervisor.acceleration()
    try:
        hypervisor = services.hypervisor.version()
    except DriverError as error:
        hypervisor = str(error)
    total = session.scalar(select(func.count()).select_from(Instance)) or 0
    running = select(func.count()).select_from(Instance).where(Instance.status == states.RUNNING)
    return {
        "HostName": platform.node(),
        "Version": services.version,
        "RegionId": services.config.region_id,
        "ZoneId": services.config.zone_id,
        "Acceleration": {"Kind": acceleration.kind, "Reason": acceleration.reason},
        "Hypervisor": hypervisor,
        "Uplink": services.config.uplink,
        "Cpu": {"Total": room.vcpus, "Allocated": vcpus},
        "Memory": {
            "TotalMiB": room.memory_mib,
            "AvailableMiB": room.memory_available_mib,
            "AllocatedMiB": memory_mib,
        },
        "Disk": _disk(caller, room),
        "Instances": {"Total": total, "Running": session.scalar(running) or 0},
        "Problems": {"Problem": services.problems() if account.owns_host(session, caller.account_id) else []},
    }


def check(caller: Caller) -> list[HostCheck]:
    """What stands between guests and the world on this host, and everything else that is wrong with it."""
    vpcs = {f"{vpc.name or vpc.id} ({vpc.id})": vpc.cidr for vpc in caller.session.scalars(select(Vpc))}
    problems = [HostCheck("host", "problem", what) for what in caller.services.problems()]
    acceleration = caller.services.hypervisor.acceleration()
    speed = HostCheck("acceleration", "ok", f"{acceleration.kind}: {acceleration.reason}")
    return [*problems, speed, *caller.services.network.check_host(vpcs)]


def _disk(caller: Caller, room: HostCapacity) -> dict[str, int]:
    """`PromisedBytes`: what all disks would take if they were written full."""
    return {
        "TotalBytes": room.disk_bytes,
        "AvailableBytes": room.disk_available_bytes,
        "ReservedBytes": space.reserved_bytes(caller.services.config, room.disk_bytes),
        "PromisedBytes": space.promised_bytes(caller.session),
    }


def find_jobs(caller: Caller, ids: list[str], resource_ids: list[str], status: str) -> Select[Job]:
    """The caller's jobs, newest first, also of resources that are gone."""
    query = select(Job).where(Job.account_id == caller.account_id)
    if ids:
        query = query.where(Job.id.in_(ids))
    if resource_ids:
        query = query.where(Job.resource_id.in_(resource_ids))
    if status:
        query = query.where(Job.state == status.lower())
    return query.order_by(Job.sequence.desc())


def step_name(job: Job) -> str:
    """The name of the step a job is at, or of its last one."""
    steps = KINDS[job.kind].steps
    return steps[min(job.step, len(steps) - 1)].name


def open_tunnel(caller: Caller, instance_id: str, port: int) -> str:
    """A token for one TCP stream to a port of a running instance, from its VPC's router."""
    instance = instances.get(caller, instance_id)
    if instance.status != states.RUNNING:
        raise IncorrectInstanceStatus(instance_id, instance.status, frozenset({states.RUNNING}))
    vpc_id, ip = instance.interfaces[0].vpc_id, instance.interfaces[0].ip
    network = caller.services.network
    return caller.services.tunnels.issue(
        lambda: network.dial(vpc_id, ip, port, DIAL_SECONDS), f"{instance_id} port {port}"
    )


def stop_all(caller: Caller, grace_seconds: int) -> list[str]:
    """Stop what runs because the host goes down; it shall run again when the host does. Ids of the jobs."""
    jobs = []
    running = select(Instance).where(Instance.status.in_((states.RUNNING, states.STARTING, states.PENDING)))
    for instance in caller.session.scalars(running.where(Instance.releasing.is_(False))):
        instance.status, instance.status_reason = states.STOPPING, "the host is going down"
        job = journal.enqueue(
            caller.session,
            "instance.stop",
            instance.id,
            caller.services.clock.now(),
            account_id=instance.account_id,
            request_id=caller.request_id,
            data={"grace_seconds": grace_seconds, "host_shutdown": True},
        )
        jobs.append(job.id)
    return jobs
