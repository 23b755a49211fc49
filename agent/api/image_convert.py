"""Our own action for converting disk images between formats (SPEC M10)."""

from __future__ import annotations

from typing import Any, Literal

from agent.api.caller import caller
from agent.api.edge.call import Call
from agent.api.edge.params import RegionParams
from agent.api.edge.registry import HOST, action
from agent.services import image_convert as service

Format = Literal["raw", "vhd", "vhdx", "vmdk", "vdi", "qcow", "qcow2", "qed"]


class ConvertImageFileParams(RegionParams):
    """`source` and `target`: handles of files that this caller handed over (api/edge/files.py)."""

    source: str
    target: str
    source_format: Format | None = None
    target_format: Format


@action("ConvertImageFile", version=HOST, params=ConvertImageFileParams, resource="image/*", access="write")
def convert_image_file(call: Call, p: ConvertImageFileParams) -> dict[str, Any]:
    job = service.convert(caller(call), p.source, p.target, p.source_format or "", p.target_format)
    call.after_commit(call.services.runner.wake)
    return {"JobId": job.id}
