"""Jobs of public addresses: the VPC's router gets or loses one, and the port its limits. They are repeated until they
succeed, and read what is wanted when they do it: of several, the last is right whatever their order is.

`eip.associate` and `eip.unassociate` are about an elastic address, whose state they are while they are not done;
`instance.network` is about an instance: its own public address, and all bandwidth.
"""

from __future__ import annotations

from agent.jobs.kinds.network import sync_router
from agent.jobs.model import Context, Kind, Step, register

ASSOCIATE, UNASSOCIATE, APPLY = "eip.associate", "eip.unassociate", "instance.network"


def _router(context: Context) -> None:
    sync_router(context, context.data["vpc_id"])


STEPS = (Step("router", _router),)
for _kind in (ASSOCIATE, UNASSOCIATE, APPLY):
    register(Kind(_kind, STEPS, patience=None))
