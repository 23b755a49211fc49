"""Our own actions for converting disk images between formats (SPEC M10)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from agent.api.caller import caller
from agent.api.edge.call import Call
from agent.api.edge.params import RegionParams
from agent.api.edge.registry import HOST, action
from agent.services import image_convert as service
from agent.services.image_import import Source

Format = Literal["raw", "vhd", "vhdx", "vmdk", "vdi", "qcow", "qcow2", "qed"]


class ConvertImageFileParams(RegionParams):
    """`source` and `target`: handles of files that this caller handed over (api/edge/files.py)."""

    source: str
    target: str
    source_format: Format | None = None
    target_format: Format


class ConvertImageObjectParams(RegionParams):
    """`oss_object`: an object of the bucket, or its whole address."""

    oss_bucket: Annotated[str, Field(alias="OSSBucket")] = ""
    oss_object: Annotated[str, Field(alias="OSSObject")]
    source_format: Format | None = None
    target_format: Format


@action("ConvertImageFile", version=HOST, params=ConvertImageFileParams, resource="image/*", access="write")
def convert_image_file(call: Call, p: ConvertImageFileParams) -> dict[str, Any]:
    job = service.convert(caller(call), p.source, p.target, p.source_format or "", p.target_format)
    call.after_commit(call.services.runner.wake)
    return {"JobId": job.id}


@action("ConvertImageObject", version=HOST, params=ConvertImageObjectParams, resource="image/*", access="write")
def convert_image_object(call: Call, p: ConvertImageObjectParams) -> dict[str, Any]:
    """What is made is in a hidden bucket of the caller's account, from which it is fetched and then deleted."""
    source = Source(bucket=p.oss_bucket, object=p.oss_object)
    job = service.convert_object(caller(call), source, p.source_format or "", p.target_format)
    call.after_commit(call.services.runner.wake)
    return {"TaskId": job.id, "Bucket": job.data["bucket"], "Object": job.data["object"]}
