"""Replacing the system disk of an instance (SPEC D8, I9)."""

from __future__ import annotations

from typing import Any

from agent.api.caller import caller
from agent.api.common import refuse
from agent.api.edge.call import Call
from agent.api.edge.params import Params, RegionParams
from agent.api.edge.registry import ECS, action
from agent.services import system_disk as service

# Of a cloud that many share, or superseded by the image's own.
_IGNORED = (
    "Architecture",
    "Arn",
    "EncryptAlgorithm",
    "Platform",
    "SecurityEnhancementStrategy",
    "UseAdditionalService",
)


class NewSystemDiskParams(Params):
    size: int | None = None


class ReplaceSystemDiskParams(RegionParams):
    instance_id: str
    image_id: str
    system_disk: NewSystemDiskParams = NewSystemDiskParams()
    password: str = ""
    key_pair_name: str = ""
    password_inherit: bool = False
    # Parts of the public action that do not exist here: refused, never misread.
    disk_id: str = ""
    encrypted: bool = False
    kms_key_id: str = ""


@action(
    "ReplaceSystemDisk",
    version=ECS,
    params=ReplaceSystemDiskParams,
    resource=("instance/{instance_id}", "image/{image_id}"),
    access="write",
    idempotent=True,
    ignored=_IGNORED,
)
def replace_system_disk(call: Call, p: ReplaceSystemDiskParams) -> dict[str, Any]:
    refuse("ReplaceSystemDisk", DiskId=p.disk_id, Encrypted=p.encrypted, KMSKeyId=p.kms_key_id)
    request = service.Request(
        instance_id=p.instance_id,
        image_id=p.image_id,
        size_gib=p.system_disk.size,
        password=p.password,
        key_pair_name=p.key_pair_name,
        password_inherit=p.password_inherit,
    )
    new = service.replace(caller(call), request)
    call.after_commit(call.services.runner.wake)
    return {"DiskId": new.id}
