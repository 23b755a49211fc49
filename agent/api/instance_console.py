"""What an instance shows: its serial console's output and its screen (SPEC L7)."""

from __future__ import annotations

import base64
from typing import Any

from agent.api.caller import caller
from agent.api.edge.call import Call
from agent.api.edge.registry import ECS, action
from agent.api.instance_params import InstanceParams
from agent.core.clock import iso_seconds
from agent.services import console as service
from agent.services import instance as instances


class ConsoleOutputParams(InstanceParams):
    remove_symbols: bool = False


class ScreenshotParams(InstanceParams):
    wake_up: bool = False


@action(
    "GetInstanceConsoleOutput",
    version=ECS,
    params=ConsoleOutputParams,
    resource="instance/{instance_id}",
    access="read",
)
def get_instance_console_output(call: Call, p: ConsoleOutputParams) -> dict[str, Any]:
    instance = instances.get(caller(call), p.instance_id)
    tail = service.tail(caller(call), instance.id)
    if p.remove_symbols:
        tail = service.without_symbols(tail)
    return {
        "InstanceId": instance.id,
        "ConsoleOutput": base64.b64encode(tail).decode(),
        "LastUpdateTime": iso_seconds(service.last_output(caller(call), instance)),
    }


@action("GetInstanceScreenshot", version=ECS, params=ScreenshotParams, resource="instance/{instance_id}", access="read")
def get_instance_screenshot(call: Call, p: ScreenshotParams) -> dict[str, Any]:
    picture = service.screenshot(caller(call), instances.get(caller(call), p.instance_id), wake=p.wake_up)
    return {"InstanceId": p.instance_id, "Screenshot": base64.b64encode(picture).decode()}
