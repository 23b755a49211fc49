"""Layers under running guests: which files they have open, and letting them follow the store to a new layer.

A disk goes over to a new layer first in the store, then in the running guest. In between, and after a crash there, the
store is right already: the new layer is an empty overlay, so whoever starts the guest from it starts from what it had.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sqlalchemy.orm import Session

from agent.core.errors import DriverError
from agent.core.ids import body
from agent.jobs import journal, translate
from agent.jobs.model import Context, Kind, Step, register
from agent.store.schema import Disk, Layer

THAW = "guest.thaw"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plugged:
    """A disk of an instance, and the layer that the store says it writes to."""

    disk_id: str
    domain: str
    instance_id: str
    size_gib: int
    layer_id: str
    below: str | None  # the layer under that one

    @property
    def serial(self) -> str:
        return body(self.disk_id)


def plugged(context: Context, session: Session, disk: Disk) -> Plugged | None:
    """None: the disk is of no instance."""
    if disk.instance_id is None:
        return None
    name = translate.domain_name(context.config, disk.instance_id)
    layer = session.get_one(Layer, disk.layer_id)
    return Plugged(disk.id, name, disk.instance_id, disk.size_gib, layer.id, layer.parent_id)


def chain(context: Context, disk: Plugged) -> tuple[str, ...]:
    """Ids of the layers (and the image's file, if it comes from one) that the running guest has open, the one it
    writes to first; none when it is off or has no such disk."""
    files = context.drivers.hypervisor.disk_files(disk.domain).get(disk.serial, ())
    return tuple(path.stem for path in files)


def follow(context: Context, disk: Plugged, *, quiet: bool = False) -> bool:
    """Let the guest, if it runs, write to the disk's layer; whether its file systems were frozen at that moment.

    The caller has the tree's turn. Raises DriverError when the guest still writes to the layer below.
    """
    if _is_there(context, disk):
        return False
    context.drivers.storage.resize_layer(disk.layer_id, disk.size_gib)  # the disk may have grown meanwhile
    hypervisor, new = context.drivers.hypervisor, context.drivers.storage.layer_path(disk.layer_id)
    if quiet:
        try:
            hypervisor.switch_layer(disk.domain, disk.serial, new, quiet=True)
            return True
        except DriverError as error:
            log.warning("%s; taking it without", error)
            thaw_later(context, disk.instance_id)
            if _is_there(context, disk):
                return False
    try:
        hypervisor.switch_layer(disk.domain, disk.serial, new, quiet=False)
    except DriverError:
        if not _is_there(context, disk):
            raise
    return False


def _is_there(context: Context, disk: Plugged) -> bool:
    """Whether nothing writes to the layer below any more."""
    files = chain(context, disk)
    if files and files[0] not in (disk.layer_id, disk.below):
        raise DriverError(f"disk {disk.disk_id} writes to {files[0]}.qcow2, which is not its layer")
    return not files or files[0] == disk.layer_id


# ---------------------------------------------------------------------------------- nobody is left frozen


def thaw_later(context: Context, instance_id: str) -> None:
    """A guest agent that did not answer may still freeze when it wakes up, and one whose request was cut off by a
    crash may have frozen already: thaw it, for as long as it takes."""
    with context.store.write() as session:
        if not is_thawing(session, instance_id):
            journal.enqueue(session, THAW, instance_id, context.clock.now(), lock=_thaw_lock(instance_id))


def is_thawing(session: Session, instance_id: str) -> bool:
    return journal.busy(session, _thaw_lock(instance_id))


def _thaw_lock(instance_id: str) -> str:
    return f"thaw:{instance_id}"  # beside the instance's other jobs, which must not wait for a guest


def _thaw(context: Context) -> None:
    name = translate.domain_name(context.config, context.resource_id)
    if context.drivers.hypervisor.guest_agent_connected(name):
        context.drivers.hypervisor.thaw(name)


register(Kind(THAW, (Step("thaw", _thaw),), patience=None))
