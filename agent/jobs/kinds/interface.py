"""The job that makes a change of a running instance's network interface effective: its addresses, its bandwidth."""

from __future__ import annotations

from agent.core.specs import PortSpec
from agent.jobs.kinds.network import sync_filter
from agent.jobs.model import Context, Kind, Step, register
from agent.jobs.translate_network import port_spec
from agent.store.schema import Instance, NetworkInterface


def _vpc_id(context: Context) -> str | None:
    """None: the interface is gone."""
    with context.store.read() as session:
        interface = session.get(NetworkInterface, context.resource_id)
        return interface.vpc_id if interface else None


def _filter(context: Context) -> None:
    """First: it decides what the guest may send, and no address is routed to a port that may not speak for it."""
    if vpc_id := _vpc_id(context):
        sync_filter(context, vpc_id)


def _wire(context: Context) -> None:
    """Read under the lock, as whoever starts the instance does. Nothing is wired of one that does not run."""
    if not (vpc_id := _vpc_id(context)):
        return
    with context.locks[vpc_id]:
        port, network = _port(context), context.drivers.network
        if port and network.is_wired(port):
            network.wire_port(port)


def _port(context: Context) -> PortSpec | None:
    with context.store.read() as session:
        interface = session.get(NetworkInterface, context.resource_id)
        instance = session.get(Instance, interface.instance_id) if interface and interface.instance_id else None
        return port_spec(instance, interface) if instance and interface else None


# Its lock is the instance's, so that no start or stop of it is under way.
SYNC = register(Kind("interface.sync", (Step("filter", _filter), Step("wire", _wire)), patience=None))
