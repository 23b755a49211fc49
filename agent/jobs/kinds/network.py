"""Jobs of a VPC's router and filter. They are repeated until they succeed."""

from __future__ import annotations

from agent.jobs import journal
from agent.jobs.model import Context, Kind, Step, register
from agent.jobs.translate_network import vpc_spec
from agent.store.schema import Vpc


def sync_router(context: Context, vpc_id: str) -> None:
    """Make the VPC's namespace as wanted; no-op when the VPC was deleted meanwhile."""
    with context.locks[vpc_id]:
        with context.store.read() as session:
            vpc = session.get(Vpc, vpc_id)
            spec = vpc_spec(session, vpc) if vpc else None
        if spec:
            context.drivers.network.ensure_vpc(spec)


def sync_filter(context: Context, vpc_id: str) -> None:
    """Make the VPC's filter as wanted. Read under the lock, so that an older state never replaces a newer one."""
    with context.locks[vpc_id]:
        with context.store.read() as session:
            known = session.get(Vpc, vpc_id) is not None
            spec = context.filters.read(session, vpc_id, context.config) if known else None
        if spec:
            context.drivers.network.apply_filter(spec)


def _router(context: Context) -> None:
    sync_router(context, context.resource_id)


def _filter(context: Context) -> None:
    sync_filter(context, context.resource_id)


def _filter_alone(context: Context) -> None:
    """Where there is no router yet, nothing passes: the job that makes it applies the filter, too."""
    if context.resource_id in context.drivers.network.list_vpcs():
        sync_filter(context, context.resource_id)


def _remove(context: Context) -> None:
    with context.locks[context.resource_id]:
        context.drivers.network.remove_vpc(context.resource_id)
        context.filters.forget(context.resource_id)


SYNC = register(Kind(journal.SYNC, (Step("router", _router), Step("filter", _filter)), patience=None))
FILTER = register(Kind(journal.FILTER, (Step("filter", _filter_alone),), patience=None))
REMOVE = register(Kind("vpc.remove", (Step("remove router", _remove),), patience=None))
