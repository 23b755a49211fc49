"""CopyImage and CancelCopyImage (SPEC M5), and our own actions that one agent calls another with."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from agent.api.caller import caller
from agent.api.common import given_tags, refuse
from agent.api.edge.call import Call
from agent.api.edge.params import Params, RegionParams, Tag
from agent.api.edge.registry import ECS, HOST, action
from agent.services import image_copy as service

ONE = "image/{image_id}"


class CopyImageParams(RegionParams):
    image_id: str
    destination_region_id: str
    destination_image_name: str = ""
    destination_description: str = ""
    encrypted: bool = False
    kms_key_id: Annotated[str, Field(alias="KMSKeyId")] = ""
    tag: list[Tag] = []


class ImageParams(RegionParams):
    image_id: str


class ComingDisk(Params):
    device: str
    size: int
    format: Literal["qcow2", "iso"] = "qcow2"
    content: bool = True


class ReceiveImageParams(RegionParams):
    image_id: str
    source_image_id: str
    image_name: str = ""
    description: str = ""
    os_type: Annotated[str, Field(alias="OSType")]
    os_name: Annotated[str, Field(alias="OSName")]
    platform: str
    architecture: str
    virtio: bool
    setup: str
    default_user: str
    disk: list[ComingDisk]
    tag: list[Tag] = []


@action(
    "CopyImage",
    version=ECS,
    params=CopyImageParams,
    resource=ONE,
    access="write",
    idempotent=True,
    dry_run=True,
    ignored=("EncryptAlgorithm", "ResourceGroupId"),
)
def copy_image(call: Call, p: CopyImageParams) -> dict[str, Any]:
    """ImageId is that of the copy, in the other region."""
    refuse("CopyImage", Encrypted=p.encrypted, KMSKeyId=p.kms_key_id)
    request = service.Request(
        image_id=p.image_id,
        region=p.destination_region_id,
        name=p.destination_image_name,
        description=p.destination_description,
        tags=given_tags(p.tag),
    )
    image_id, _ = service.copy(caller(call), request)
    call.after_commit(call.services.runner.wake)
    return {"ImageId": image_id}


@action("CancelCopyImage", version=ECS, params=ImageParams, resource=ONE, access="write")
def cancel_copy_image(call: Call, p: ImageParams) -> dict[str, Any]:
    """In the region that it is copied to, as the public API has it."""
    service.cancel(caller(call), p.image_id)
    call.after_commit(call.services.runner.wake)
    return {}


@action("ReceiveImage", version=HOST, params=ReceiveImageParams, resource="image/*", access="write")
def receive_image(call: Call, p: ReceiveImageParams) -> dict[str, Any]:
    """Another region announces an image: its disks come as uploads named `copies/<ImageId><Device>`, without Bucket."""
    coming = service.Coming(
        image_id=p.image_id,
        source_id=p.source_image_id,
        name=p.image_name,
        description=p.description,
        os_type=p.os_type,
        os_name=p.os_name,
        platform=p.platform,
        architecture=p.architecture,
        virtio=p.virtio,
        setup=p.setup,
        default_user=p.default_user,
        disks=[service.Disk(disk.device, disk.size, disk.format, disk.content) for disk in p.disk],
        tags=given_tags(p.tag),
    )
    image = service.receive(caller(call), coming)
    call.after_commit(call.services.runner.wake)
    return {"ImageId": image.id}


@action("DescribeReceivedImage", version=HOST, params=ImageParams, resource=ONE, access="read")
def describe_received_image(call: Call, p: ImageParams) -> dict[str, Any]:
    found = service.received(caller(call), p.image_id)
    return {
        "ImageId": found.image.id,
        "Status": found.image.status,
        "Progress": f"{found.progress}%",
        "Message": found.image.message,
        "Arrived": {"Device": found.arrived},
    }
