"""Our own actions for the ISO in an instance's drive, which the public API lacks."""

from __future__ import annotations

from typing import Any, Literal

from agent.api.caller import caller
from agent.api.edge.call import Call
from agent.api.edge.params import RegionParams
from agent.api.edge.registry import HOST, action
from agent.services import iso as service


class InsertIsoParams(RegionParams):
    instance_id: str
    image_id: str


class EjectIsoParams(RegionParams):
    instance_id: str
    setup: Literal["seed", "none"] | None = None


@action(
    "InsertIso",
    version=HOST,
    params=InsertIsoParams,
    resource=("instance/{instance_id}", "image/{image_id}"),
    access="write",
)
def insert_iso(call: Call, p: InsertIsoParams) -> dict[str, Any]:
    service.insert(caller(call), p.instance_id, p.image_id)
    call.after_commit(call.services.runner.wake)
    return {}


@action("EjectIso", version=HOST, params=EjectIsoParams, resource="instance/{instance_id}", access="write")
def eject_iso(call: Call, p: EjectIsoParams) -> dict[str, Any]:
    """Setup: how the installed system gets its host name, keys and password: by the seed, or not at all."""
    service.eject(caller(call), p.instance_id, p.setup)
    call.after_commit(call.services.runner.wake)
    return {}
