"""Every kind of job. Importing this package registers them all."""

from agent.jobs.kinds import (
    disk,
    disk_content,
    image,
    image_catalogue,
    image_convert,
    image_create,
    image_delete,
    image_export,
    image_import,
    instance,
    instance_password,
    instance_resume,
    network,
    system_disk,
)
from agent.jobs.layers import collect, take

__all__ = [
    "collect",
    "disk",
    "disk_content",
    "image",
    "image_catalogue",
    "image_convert",
    "image_create",
    "image_delete",
    "image_export",
    "image_import",
    "instance",
    "instance_password",
    "instance_resume",
    "network",
    "system_disk",
    "take",
]
