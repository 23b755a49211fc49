"""Images as the public API shows them: every field truthful, those without meaning here neutral."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from agent.api.caller import caller
from agent.api.common import ecs_tags
from agent.api.edge.call import Call
from agent.core.clock import iso_seconds
from agent.jobs.journal import UNFINISHED
from agent.services import image as service
from agent.services import image_check, image_share, tag
from agent.store.schema import Image, ImageDisk, Job


def listed(call: Call, images: Sequence[Image]) -> list[dict[str, Any]]:
    """The elements of DescribeImages."""
    ids = [image.id for image in images]
    tags = tag.tags_of(call.session, "image", ids)
    checks = image_check.latest(caller(call), ids)
    used = set(call.session.scalars(service.used_images(caller(call))))
    shared = image_share.shared_ids(caller(call), ids)
    return [
        _element(call, image, image.id in used, image.id in shared, tags[image.id])
        | {"DetectionOptions": _detection(checks.get(image.id))}
        for image in images
    ]


_RISKS = {"failed": "High", "warning": "Medium", "unknown": "Low"}


def _detection(check: Job | None) -> dict[str, Any]:
    """What the newest check found (`ecsctl image check`), if there was one; RiskCode is the name of its rule."""
    items = check.data.get("report", {}).get("items", []) if check else []
    return {
        "Status": "" if check is None else "Processing" if check.state in UNFINISHED else "Finished",
        "Items": {
            "Item": [
                {
                    "Name": item["title"],
                    "Value": item["found"],
                    "RiskLevel": _RISKS.get(item["level"], ""),
                    "RiskCode": item["name"] if item["level"] in _RISKS else "",
                }
                for item in items
            ]
        },
    }


def _element(call: Call, image: Image, used: bool, shared: bool, tags: list[tuple[str, str]]) -> dict[str, Any]:
    """Message, why an image could not be made, is ours."""
    usable = image.status in (service.AVAILABLE, service.DEPRECATED) and image.system is not None
    progress = "100%" if usable else f"{_progress(call, image)}%"
    own = image.account_id == call.account_id
    return {
        "ImageId": image.id,
        "ImageName": image.name,
        "ImageFamily": image.family,
        "ImageVersion": image.version,
        "ImageOwnerAlias": "system" if image.account_id is None else "self" if own else "others",
        "ImageOwnerId": int(image.account_id or 0),
        "Description": image.description,
        "Status": image.status,
        "Message": image.message if own else "",
        "Progress": progress,
        "Usable": usable,
        "Usage": "instance" if used else "none",
        "Size": image.size_gib,
        "Architecture": image.architecture,
        "BootMode": "BIOS",
        "OSType": image.os_type,
        "OSName": image.os_name,
        "OSNameEn": image.os_name,
        "Platform": image.platform,
        "IsPublic": image.account_id is None,
        "IsCopied": image.origin == "copy",
        "IsSelfShared": str(own and shared).lower(),
        "IsSubscribed": False,
        "IsSupportCloudinit": image.os_type == "linux" and image.setup == "seed",
        "IsSupportIoOptimized": True,
        "LoginAsNonRootSupported": False,
        "LicenseType": "",
        "SupplierName": "",
        "ProductCode": "",
        "ResourceGroupId": "",
        "Features": {"NvmeSupport": "unsupported", "ImdsSupport": "v1"},
        "DiskDeviceMappings": {"DiskDeviceMapping": _disks(image, own)},
        "CreationTime": iso_seconds(image.created_at),
        "Tags": ecs_tags(tags if own else []),
    }


def _disks(image: Image, own: bool) -> list[dict[str, Any]]:
    """Of public images nothing, as in public. What an image is made of is its owner's."""
    return [] if image.account_id is None else [_disk(disk, own) for disk in image.disks]


def _disk(disk: ImageDisk, own: bool) -> dict[str, Any]:
    snapshot = disk.snapshot
    done = snapshot is None or snapshot.status == "accomplished"
    return {
        "Device": disk.device,
        "Type": disk.kind,
        "Size": str(disk.size_gib),
        "SnapshotId": snapshot.id if snapshot and own else "",
        "Progress": "100%" if done or snapshot is None else f"{snapshot.progress}%",
        "RemainTime": 0 if done else None,
        "Format": disk.import_format.upper(),
        "ImportOSSBucket": disk.import_bucket if own else "",
        "ImportOSSObject": disk.import_object if own else "",
        "Encrypted": False,
    }


def _progress(call: Call, image: Image) -> int:
    """Percent of the job that makes the image."""
    jobs = select(Job.progress).where(Job.resource_id == image.id, Job.state.in_(UNFINISHED))
    return call.session.scalar(jobs.order_by(Job.sequence).limit(1)) or 0
