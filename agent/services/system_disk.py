"""Replacing the system disk of an instance, and with it the operating system (SPEC D8, I9).

What is wanted is written at once; the old disk stays the instance's until the new one's file is there, and the job
puts back what was when that fails.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from agent.core import states, validate
from agent.core.errors import ApiError, Conflict, InvalidParameter
from agent.core.ids import new_id
from agent.jobs import journal
from agent.jobs.layers import tree
from agent.services import disk as disks
from agent.services import image as images
from agent.services import instance as instances
from agent.services import instance_disks, instance_type, login, space
from agent.services.context import Caller
from agent.store.schema import Disk, Image, Instance

# What of an instance follows its system disk; put back by the job when the new disk cannot be made.
FOLLOWING = (
    "image_id",
    "os_type",
    "os_name",
    "virtio",
    "host_name",
    "key_pair_name",
    "password_hash",
    "password",
    "windows_seed_id",
)


@dataclass(frozen=True)
class Request:
    """What ReplaceSystemDisk asks for. `size_gib` None: that of the old disk, or the image's if that is more."""

    instance_id: str
    image_id: str
    size_gib: int | None = None
    password: str = ""
    key_pair_name: str = ""
    password_inherit: bool = False  # the image's own logins, and none of ours


def replace(caller: Caller, request: Request) -> Disk:
    """The new system disk, Creating until the job has put it in the old one's place. Nothing is written when it is
    refused: IncorrectInstanceStatus, IncorrectDiskStatus, what the image does not fit, a missing login."""
    instance = instances.get_for(caller, request.instance_id, "replace_disk")
    old = _old_disk(caller, instance)
    image = images.get_usable(caller, request.image_id)
    if image.data:
        raise Conflict(
            f'The image "{image.id}" has data disks: it cannot replace a system disk. Create an instance of it.',
            code="OperationDenied",
        )
    _check_type(caller, instance, image)
    size_gib = _size(caller, image, request.size_gib, old)
    space.check(caller, space.NEW_LAYER_BYTES, "replace a system disk")
    before = {name: _stored(getattr(instance, name)) for name in FOLLOWING}
    _follow(instance, image)
    _set_login(caller, instance, image, request)
    new = _new_disk(caller, old, image, size_gib)
    old.status = states.REINITIALISING
    journal.enqueue(
        caller.session,
        "system_disk.replace",
        instance.id,
        caller.services.clock.now(),
        account_id=instance.account_id,
        request_id=caller.request_id,
        data={"old": old.id, "new": new.id, "before": before},
    )
    return new


def _old_disk(caller: Caller, instance: Instance) -> Disk:
    old = next(disk for disk in instance.disks if disk.kind == "system")
    return disks.get_for_work(caller, old.id, states.IN_USE)


def _size(caller: Caller, image: Image, wanted: int | None, old: Disk) -> int:
    """That of the old disk unless it is said, never less than the image's."""
    size = instance_disks.system_size(caller, instance_disks.SystemDisk(size_gib=wanted), image)
    return max(size, old.size_gib) if wanted is None else size


def _check_type(caller: Caller, instance: Instance, image: Image) -> None:
    """A type that the host's owner has taken away since is judged by what the instance has of it."""
    known = caller.services.instance_types.get(instance.instance_type)
    if known is not None:
        instance_type.check_image(known, image)


def _stored(value: Any) -> Any:
    """As JSON can hold it."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _follow(instance: Instance, image: Image) -> None:
    """Everything that the image says of an instance."""
    if instance.os_type != image.os_type:
        # Neither system can use the other's: Linux has a hash, Windows a sealed password and no keys.
        instance.key_pair_name = instance.password_hash = instance.password = None
    instance.image_id, instance.os_type, instance.os_name = image.id, image.os_type, image.os_name
    instance.virtio = image.virtio
    if image.os_type == instances.WINDOWS:
        try:
            validate.windows_host_name("HostName", instance.host_name)
        except ApiError:
            instance.host_name = instances.default_host_name(instance.id, image.os_type)


def _set_login(caller: Caller, instance: Instance, image: Image, request: Request) -> None:
    if not request.password_inherit:
        login.for_new_system(caller, instance, request.password, request.key_pair_name)
        return
    if request.password or request.key_pair_name:
        given = "Password" if request.password else "KeyPairName"
        raise InvalidParameter(
            "PasswordInherit", "true", f"it excludes {given}.", code="InvalidParameter.PasswordInheritConflict"
        )
    if image.account_id is None:
        raise InvalidParameter(
            "PasswordInherit",
            "true",
            f"the public image {image.id} has no login of its own: give Password or KeyPairName.",
            code="InvalidPasswordInherit.NotSupported",
        )
    instance.key_pair_name = instance.password_hash = instance.password = None
    instance.windows_seed_id = None  # the new system has not worked through any


def _new_disk(caller: Caller, old: Disk, image: Image, size_gib: int) -> Disk:
    """It is the instance's when its file is there. A snapshot policy is not taken over (SPEC D8)."""
    now, disk_id = caller.services.clock.now(), new_id("disk")
    layer = tree.from_image(caller.session, disk_id, size_gib, now, images.system_of(image))
    new = Disk(
        id=disk_id,
        layer_id=layer.id,
        account_id=old.account_id,
        instance_id=None,
        zone_id=old.zone_id,
        name=old.name,
        description=old.description,
        kind="system",
        category=old.category,
        size_gib=size_gib,
        device=None,
        status=states.CREATING,
        image_id=image.id,
        image_file=layer.image_file,
        source_snapshot_id=images.system_of(image).snapshot_id,
        delete_with_instance=old.delete_with_instance,
        delete_auto_snapshot=old.delete_auto_snapshot,
        enable_auto_snapshot=old.enable_auto_snapshot,
        created_at=now,
    )
    caller.session.add(new)
    caller.session.flush()
    return new
