"""Every kind of job. Importing this package registers them all."""

from agent.jobs.kinds import (
    adopt,
    disk,
    disk_content,
    image,
    image_check,
    image_convert,
    image_copy,
    image_create,
    image_delete,
    image_export,
    image_import,
    image_receive,
    instance,
    instance_password,
    instance_resume,
    network,
    system_disk,
)
from agent.jobs.layers import collect, take

__all__ = [
    "adopt",
    "collect",
    "disk",
    "disk_content",
    "image",
    "image_check",
    "image_convert",
    "image_copy",
    "image_create",
    "image_delete",
    "image_export",
    "image_import",
    "image_receive",
    "instance",
    "instance_password",
    "instance_resume",
    "network",
    "system_disk",
    "take",
]
