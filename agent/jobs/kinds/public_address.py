"""Jobs of public addresses: the VPC's router gets or loses one, and the port its limits. They are repeated until they
succeed, and read what is wanted when they do it: of several, the last is right whatever their order is.

`eip.associate` and `eip.unassociate` are about an elastic address, whose state they are while they are not done;
`instance.network` is about an instance: its own public address, and all bandwidth.
"""

from __future__ import annotations

from agent.core.specs import PortSpec
from agent.jobs.kinds.network import sync_router
from agent.jobs.model import Context, Kind, Step, register
from agent.jobs.translate_network import port_spec
from agent.store.schema import Instance, NetworkInterface

ASSOCIATE, UNASSOCIATE, APPLY = "eip.associate", "eip.unassociate", "instance.network"


def _router(context: Context) -> None:
    sync_router(context, context.data["vpc_id"])


def _limits(context: Context) -> None:
    """Read under the lock, as whoever wires the port does: older limits never replace newer ones."""
    with context.locks[context.data["vpc_id"]]:
        port = _port(context)
        if port is not None:
            context.drivers.network.limit_port(port)


def _port(context: Context) -> PortSpec | None:
    """None: the instance is gone."""
    with context.store.read() as session:
        interface = session.get(NetworkInterface, context.data["interface_id"])
        if interface is None or interface.instance_id is None:
            return None
        return port_spec(session.get_one(Instance, interface.instance_id), interface)


STEPS = (Step("router", _router), Step("limits", _limits))
for _kind in (ASSOCIATE, UNASSOCIATE, APPLY):
    register(Kind(_kind, STEPS, patience=None))
