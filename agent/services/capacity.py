"""Room on the host: what is promised to instances that run or shall run, against what there is."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from agent.core.errors import NoStock
from agent.services.context import Caller
from agent.store.schema import Instance


def allocated(session: Session) -> tuple[int, int]:
    """(vCPUs, MiB of memory) of all instances of this host that are on."""
    on = select(func.sum(Instance.vcpus), func.sum(Instance.memory_mib)).where(Instance.power == "on")
    vcpus, memory_mib = session.execute(on).one()
    return vcpus or 0, memory_mib or 0


def check_room(caller: Caller, vcpus: int, memory_mib: int) -> None:
    """Raises NoStock when instances of that size in sum do not fit on the host any more.

    Raises DriverError when libvirt cannot be reached: better now than in a job that nobody watches.
    """
    caller.services.hypervisor.ping()
    config, host = caller.services.config, caller.services.hypervisor.capacity()
    used_vcpus, used_mib = allocated(caller.session)
    room_vcpus = int(host.vcpus * config.cpu_overcommit) - used_vcpus
    room_mib = int(host.memory_mib * config.memory_overcommit) - used_mib
    if vcpus > room_vcpus or memory_mib > room_mib:
        raise NoStock(
            f"The host has room for {max(0, room_vcpus)} vCPUs and {max(0, room_mib)} MiB of memory; "
            f"{vcpus} vCPUs and {memory_mib} MiB were asked for. Stop instances or choose a smaller type."
        )
