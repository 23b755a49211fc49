"""ISO images in the drives of instances: what an operating system is installed from."""

from __future__ import annotations

from agent.core.errors import Conflict, InvalidParameter
from agent.jobs.kinds.image_delete import enqueue_drop
from agent.services import image as images
from agent.services import instance as instances
from agent.services.context import Caller
from agent.store.schema import Instance


def insert(caller: Caller, instance_id: str, image_id: str) -> Instance:
    """Put the ISO of an image into the drive of a stopped instance, in place of one that may be there.

    Raises IncorrectInstanceStatus, NotFound, ImageNotReady, InvalidParameter when the image is no ISO.
    """
    instance = instances.get_for(caller, instance_id, "change_iso")
    file = images.system_of(images.get_usable(caller, image_id)).iso_file
    if file is None:
        raise InvalidParameter("ImageId", image_id, "its system disk is no ISO.", code="InvalidImageType.NotSupported")
    _put(caller, instance, file)
    return instance


def eject(caller: Caller, instance_id: str, setup: str | None) -> Instance:
    """Take the ISO out of the drive of a stopped instance; `setup`: how the system that was installed gets its name,
    keys and password from now on. Raises IncorrectInstanceStatus; Conflict when there is no ISO."""
    instance = instances.get_for(caller, instance_id, "change_iso")
    if instance.iso_file is None:
        raise Conflict(f'There is no ISO in the drive of the instance "{instance_id}".', code="InvalidOperation.NoIso")
    _put(caller, instance, None)
    if setup is not None:
        instance.setup = setup
    return instance


def _put(caller: Caller, instance: Instance, file: str | None) -> None:
    before, instance.iso_file = instance.iso_file, file
    caller.session.flush()
    if before != file:
        enqueue_drop(caller.session, before, caller.services.clock.now())
