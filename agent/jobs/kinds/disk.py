"""Jobs of a disk: create, attach, detach, grow. `resource_id` is the disk's id; the lock is the id of its instance when
it has one, else its own.

A disk that is attached to a running guest by a job belongs to its instance from the moment it was asked for: should the
guest stop meanwhile, its next start has the disk, and nothing is left to be done.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator

from sqlalchemy.orm import Session

from agent.core import states
from agent.core.errors import DriverError
from agent.core.ids import body
from agent.core.specs import DiskSpec
from agent.jobs import translate
from agent.jobs.layers import tree
from agent.jobs.model import Context, Finish, Kind, NotYet, Step, register
from agent.store.schema import Disk, Job

GIB = 1 << 30
POLL_SECONDS = 1.0  # events come sooner
ASK_AGAIN_SECONDS = 6.0  # a guest that is still booting ignores the request; QEMU takes another one after 5 s

CREATE, CREATE_ATTACHED = "disk.create", "disk.create_attached"
ATTACH, DETACH, RESIZE = "disk.attach", "disk.detach", "disk.resize"
ATTACH_AGAIN, EXPEL = "disk.attach_again", "disk.expel"  # of the reconciler


@contextlib.contextmanager
def _turn(context: Context) -> Iterator[Disk]:
    """The disk, read after having the turn on the files of its tree."""
    with context.store.read() as session:
        name = session.get_one(Disk, context.resource_id).layer.tree
    with context.turns.claim({name}), context.store.read() as session:
        yield session.get_one(Disk, context.resource_id)


# ------------------------------------------------------------------------------ creating


def _file(context: Context) -> Finish:
    with _turn(context) as disk:
        tree.ensure_file(context.drivers.storage, disk.layer)

    def finish(session: Session) -> None:
        made = session.get_one(Disk, context.resource_id)
        made.layer.state = "ready"
        made.status = states.ATTACHING if made.instance_id else states.AVAILABLE

    return finish


def _creation_failed(session: Session, job: Job, now: dt.datetime) -> None:
    """Nothing is left of a disk that could not be made; the job keeps saying why."""
    tree.forget_disk(session, session.get_one(Disk, job.resource_id), now)


# ------------------------------------------------------------------------------ attaching


def _plug(context: Context) -> Finish:
    """Into the running guest; when that is off its next start has the disk."""
    with _turn(context) as disk:
        name, spec = _wanted(context, disk)
        _if_running(context, name, lambda: context.drivers.hypervisor.attach_disk(name, spec))

    def finish(session: Session) -> None:
        session.get_one(Disk, context.resource_id).status = states.IN_USE

    return finish


def _plug_again(context: Context) -> None:
    """What the guest should have and has not, unless it should not any more."""
    with context.store.read() as session:
        if session.get(Disk, context.resource_id) is None:
            return
    with _turn(context) as disk:
        if disk.instance_id == context.data["instance_id"]:
            name, spec = _wanted(context, disk)
            _if_running(context, name, lambda: context.drivers.hypervisor.attach_disk(name, spec))


def _if_running(context: Context, name: str, action: Callable[[], None]) -> bool:
    """Do it to a running guest. False when it is off, or goes off meanwhile: then it need not have been done."""
    hypervisor = context.drivers.hypervisor
    if not name or hypervisor.attached_disks(name) is None:
        return False
    try:
        action()
    except DriverError:
        if hypervisor.attached_disks(name) is not None:
            raise
        return False
    return True


def _wanted(context: Context, disk: Disk) -> tuple[str, DiskSpec]:
    """(name of the domain, the disk as it shall be there) of an attached disk."""
    assert disk.instance is not None
    spec = translate.disk_spec(context.config, context.drivers, disk, disk.instance)
    return _domain(context, disk), spec


def _domain(context: Context, disk: Disk) -> str:
    """The name of the domain that has the disk; empty when it is nobody's."""
    return translate.domain_name(context.config, disk.instance_id) if disk.instance_id else ""


def detach_row(disk: Disk, now: dt.datetime) -> None:
    """From now on it is nobody's."""
    disk.instance_id, disk.device, disk.status, disk.detached_at = None, None, states.AVAILABLE, now


def _attaching_failed(session: Session, job: Job, now: dt.datetime) -> None:
    detach_row(session.get_one(Disk, job.resource_id), now)


# ------------------------------------------------------------------------------ detaching


def _let_go(context: Context) -> Finish:
    """Ask the guest to let go of the disk, and wait; it is never torn out."""
    hypervisor = context.drivers.hypervisor
    with context.store.read() as session:
        disk = session.get_one(Disk, context.resource_id)
        assert disk.instance is not None
        instance_id, status = disk.instance.id, disk.instance.status
    name, serial = translate.domain_name(context.config, instance_id), body(context.resource_id)
    if serial in (hypervisor.attached_disks(name) or ()):
        _check_unused(context, name, serial)
        _check_time(context, instance_id, status)
        waited = context.waited()
        if waited >= context.data.get("asked_at", -ASK_AGAIN_SECONDS) + ASK_AGAIN_SECONDS:
            with _turn(context):  # libvirt refuses while layers of the disk are being merged
                hypervisor.request_detach(name, serial)
            context.data["asked_at"] = waited
        if serial in (hypervisor.attached_disks(name) or ()):
            raise NotYet(POLL_SECONDS, "waiting for the guest to let go of the disk")
    now = context.clock.now()

    def finish(session: Session) -> None:
        detach_row(session.get_one(Disk, context.resource_id), now)

    return finish


def _check_unused(context: Context, name: str, serial: str) -> None:
    """Before the guest is asked for the first time: a disk with mounted file systems is in use."""
    if "asked_at" in context.data:
        return
    places = context.drivers.hypervisor.mounted(name, serial)
    if places:
        raise DriverError(
            f"the disk {context.resource_id} stays attached: the guest has it mounted at {', '.join(places)}; "
            "unmount it there first"
        )


def _check_time(context: Context, instance_id: str, status: str) -> None:
    if status != states.RUNNING:
        raise DriverError(
            f"the disk {context.resource_id} stays attached: the instance {instance_id} is {status}; "
            "detach it when it is stopped"
        )
    limit = context.config.detach_seconds
    if context.waited() >= limit:
        raise DriverError(
            f"the disk {context.resource_id} stays attached: the guest did not let go of it within {limit:g} s; "
            "unmount it there and try again, or stop the instance first"
        )


def _still_attached(session: Session, job: Job, now: dt.datetime) -> None:
    disk = session.get(Disk, job.resource_id)
    if disk is not None:
        disk.status = states.IN_USE


def _expel(context: Context) -> None:
    """Ask a guest, once, for a disk that is not its own."""
    with context.store.read() as session:
        disk = session.get(Disk, context.resource_id)
    instance_id = context.data["instance_id"]
    if disk is None or disk.instance_id != instance_id:
        name = translate.domain_name(context.config, instance_id)
        context.drivers.hypervisor.request_detach(name, body(context.resource_id))


# ------------------------------------------------------------------------------ growing


def _grow(context: Context) -> Finish:
    """A running guest's QEMU does it and tells the guest; else it is done in the file."""
    size_gib, drivers = int(context.data["size_gib"]), context.drivers
    with _turn(context) as disk:
        name = _domain(context, disk)
        serial = body(disk.id)
        if not (
            name and _if_running(context, name, lambda: drivers.hypervisor.resize_disk(name, serial, size_gib * GIB))
        ):
            drivers.storage.resize_layer(disk.layer_id, size_gib)

    def finish(session: Session) -> None:
        grown = session.get_one(Disk, context.resource_id)
        grown.size_gib = grown.layer.size_gib = size_gib

    return finish


def _limit(context: Context) -> None:
    """A larger disk may do more."""
    with context.store.read() as session:
        disk = session.get_one(Disk, context.resource_id)
        if disk.instance is not None:
            name, spec = _wanted(context, disk)
            _if_running(context, name, lambda: context.drivers.hypervisor.limit_disk(name, spec))


# ------------------------------------------------------------------------------ kinds

register(Kind(CREATE, (Step("file", _file),), failed=_creation_failed))
register(Kind(CREATE_ATTACHED, (Step("file", _file), Step("plug", _plug)), failed=_creation_failed))
register(Kind(ATTACH, (Step("plug", _plug),), patience=30, failed=_attaching_failed))
register(Kind(ATTACH_AGAIN, (Step("plug", _plug_again),), patience=30))
register(Kind(EXPEL, (Step("request", _expel),)))
register(Kind(DETACH, (Step("let go", _let_go),), failed=_still_attached))
register(Kind(RESIZE, (Step("grow", _grow), Step("limits", _limit))))
