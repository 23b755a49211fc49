"""Jobs of an instance: create, start, stop, reboot, release, and settling one that stopped by itself.

`boot` is one step on purpose: whatever it finds (nothing, a domain still paused, a domain whose QEMU died
before it was wired) it leads to a running, wired domain, so repeating it is always right.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from agent.core import states
from agent.core.specs import DomainInfo, DomainState, PortSpec, SeedSpec
from agent.jobs import journal, translate
from agent.jobs.kinds.disk import detach_row
from agent.jobs.kinds.image_delete import enqueue_drop
from agent.jobs.kinds.network import sync_filter, sync_router
from agent.jobs.layers import tree
from agent.jobs.model import Context, Finish, Kind, NotYet, Step, register
from agent.jobs.translate_network import EIP, port_spec
from agent.store.queries import forget_tags
from agent.store.schema import (
    Disk,
    GroupMembership,
    Instance,
    Job,
    Layer,
    NetworkInterface,
    PortForward,
    PublicAddress,
    RouteEntry,
    SecondaryAddress,
)

POLL_SECONDS = 1.0
SEED, EDIT = "seed", "edit"  # how instances of an image are set up; else: not at all
ASK_AGAIN_SECONDS = 5.0  # a guest that is still booting ignores the power button


def _is_off(info: DomainInfo | None) -> bool:
    return info is None or info.state is DomainState.SHUT_OFF


def _ports(context: Context) -> list[PortSpec]:
    with context.store.read() as session:
        instance = session.get_one(Instance, context.resource_id)
        return [port_spec(instance, i) for i in instance.interfaces]


def _name(context: Context) -> str:
    return translate.domain_name(context.config, context.resource_id)


def _set(context: Context, **values: Any) -> Finish:
    """A Finish that sets columns of the instance."""

    def finish(session: Session) -> None:
        instance = session.get_one(Instance, context.resource_id)
        for name, value in values.items():
            setattr(instance, name, value)

    return finish


# ------------------------------------------------------------------------------ steps upwards


def _router(context: Context) -> None:
    for vpc_id in {port.vpc_id for port in _ports(context)}:
        sync_router(context, vpc_id)


def _filter(context: Context) -> None:
    for vpc_id in {port.vpc_id for port in _ports(context)}:
        sync_filter(context, vpc_id)


def _layers(session: Session, instance_id: str) -> list[Layer]:
    """Those that the instance's disks write to."""
    return list(session.scalars(select(Layer).join(Disk).where(Disk.instance_id == instance_id)))


@contextlib.contextmanager
def _turn(context: Context) -> Iterator[list[Layer]]:
    """The instance's layers, with the turn on the files of their trees."""
    with context.store.read() as session:
        trees = {layer.tree for layer in _layers(session, context.resource_id)}
    with context.turns.claim(trees), context.store.read() as session:
        yield _layers(session, context.resource_id)


def _disks(context: Context) -> Finish:
    with _turn(context) as layers:
        for layer in layers:
            tree.ensure_file(context.drivers.storage, layer)

    def finish(session: Session) -> None:
        for disk in session.get_one(Instance, context.resource_id).disks:
            disk.status, disk.layer.state = states.IN_USE, "ready"

    return finish


def _seed(context: Context) -> Finish:
    """Only here, with the guest off: passwords and keys change at a console start and at no other time (SPEC I6)."""
    with context.store.read() as session:
        instance = session.get_one(Instance, context.resource_id)
        spec = translate.seed_spec(context.config, session, instance)
        if instance.os_type == "windows":
            spec = translate.windows_seed(spec, instance, context.unseal)
    if instance.setup == SEED:
        context.drivers.seeds.write_seed(spec)
        return _set(context, seeded_keys=list(spec.public_keys))
    context.drivers.seeds.delete_seed(context.resource_id)  # of a system that it had before
    if instance.setup == EDIT:
        return _edit(context, spec, instance.edited)
    return _set(context, seeded_keys=[])


def _edit(context: Context, spec: SeedSpec, edited: str) -> Finish:
    """For systems that understand no seed: the same is written into files of their own disk, once for each change."""
    wanted = translate.edit_id(spec)
    if wanted != edited:
        context.report(0, "changing files of the system")
        with _turn(context) as layers, context.store.read() as session:
            disks = session.get_one(Instance, context.resource_id).disks
            system = next(disk.layer_id for disk in disks if disk.kind == "system")
            layer = next(layer for layer in layers if layer.id == system)
            chain = tree.files(session, context.drivers.storage, layer)
            context.drivers.inspector.edit(chain, spec)
    return _set(context, seeded_keys=list(spec.public_keys), edited=wanted)


def _delete_seed(context: Context) -> None:
    context.drivers.seeds.delete_seed(context.resource_id)
    log = context.config.console_log(context.resource_id)
    for path in log.parent.glob(f"{log.name}*"):  # virtlogd rotates it to .log.0 and so on
        path.unlink(missing_ok=True)


def _boot(context: Context) -> Finish:
    drivers, ports = context.drivers, _ports(context)
    if _is_off(drivers.hypervisor.info(_name(context))):
        for port in ports:
            drivers.network.remove_port(port.vpc_id, port.tap)
            drivers.network.create_tap(port)
        with _turn(context):  # nobody may write into the files that QEMU now opens
            _start_paused(context)
    _wire(context)
    drivers.hypervisor.resume(_name(context))
    now = context.clock.now()
    running = _set(context, status=states.RUNNING, status_reason="", power="on", started_at=now)

    def finish(session: Session) -> None:
        running(session)
        _vnc_password_in_effect(session.get_one(Instance, context.resource_id))

    return finish


def _wire(context: Context) -> None:
    """Read again, under the lock under which addresses and bandwidth change live: the newest are wired."""
    for vpc_id in {port.vpc_id for port in _ports(context)}:
        with context.locks[vpc_id]:
            for port in _ports(context):
                if port.vpc_id == vpc_id:
                    context.drivers.network.wire_port(port)


def _start_paused(context: Context) -> None:
    drivers = context.drivers
    with context.store.read() as session:
        instance = session.get_one(Instance, context.resource_id)
        seed = drivers.seeds.seed_path(instance.id) if instance.setup == SEED else None
        spec = translate.domain_spec(context.config, drivers, instance, seed)
    spec.console_log.parent.mkdir(parents=True, exist_ok=True)
    drivers.hypervisor.start_paused(spec)


def _vnc_password_in_effect(instance: Instance) -> None:
    """A console start puts the wanted password into effect (SPEC L4); who set it knows it already."""
    if instance.vnc_password != instance.vnc_password_active:
        instance.vnc_password_active, instance.vnc_password_shown = instance.vnc_password, True


def _unboot(context: Context) -> None:
    context.drivers.hypervisor.destroy(_name(context))
    context.drivers.hypervisor.undefine(_name(context))
    _unplug_ports(context)


# ------------------------------------------------------------------------------ steps downwards


def _shutdown(context: Context) -> None:
    """Ask the guest to power off, again and again, until it did or its grace time is over."""
    hypervisor, waited = context.drivers.hypervisor, context.waited()
    if context.data.get("force") or _is_off(hypervisor.info(_name(context))):
        return
    if waited >= context.data["grace_seconds"]:
        return
    if waited >= context.data.get("asked_at", -ASK_AGAIN_SECONDS) + ASK_AGAIN_SECONDS:
        hypervisor.shutdown(_name(context))
        context.data["asked_at"] = waited
    raise NotYet(POLL_SECONDS, "waiting for the guest to power off")


def _power_off(context: Context) -> None:
    context.drivers.hypervisor.destroy(_name(context))


def _unplug_ports(context: Context) -> None:
    for port in _ports(context):
        context.drivers.network.remove_port(port.vpc_id, port.tap)


def _unplug_and_stop(context: Context) -> Finish:
    stopped = _after_shutdown(context, _stopped(context))

    def finish(session: Session) -> None:
        stopped(session)
        for layer in _layers(session, context.resource_id):  # what could not be merged under a running guest
            tree.collect_if_needed(session, layer.tree, context.clock.now())

    return finish


def _stopped(context: Context) -> Finish:
    _unplug_ports(context)
    reason = context.data.get("reason", "")
    if context.data.get("host_shutdown"):  # it shall run again when the host does (SPEC I14)
        return _set(context, status=states.STOPPED, status_reason="the host is going down")
    return _set(context, status=states.STOPPED, status_reason=reason, power="off")


def _unplug_and_restart(context: Context) -> Finish:
    _unplug_ports(context)
    return _after_shutdown(context, _set(context, status=states.STARTING))


def _after_shutdown(context: Context, finish: Finish) -> Finish:
    """A Windows that shut itself down had its services running, cloudbase-init among the first: its password has
    arrived, and its seed need not carry it any more. After a pulled plug nobody knows."""
    info = context.drivers.hypervisor.info(_name(context))
    if info is None or info.reason != "shutdown":
        return finish

    def also(session: Session) -> None:
        finish(session)
        instance = session.get_one(Instance, context.resource_id)
        if instance.os_type == "windows":
            instance.windows_seed_id, instance.password = translate.windows_seed_id(instance), None

    return also


def _undefine(context: Context) -> None:
    context.drivers.hypervisor.undefine(_name(context))


def _forget(context: Context) -> Finish:
    """The instance's rows go last: as long as anything of it exists, the store knows of it."""
    _delete_seed(context)

    def finish(session: Session) -> None:
        _delete_rows(session, context.resource_id, context.clock.now())

    return finish


def _delete_rows(session: Session, instance_id: str, now: dt.datetime, *, all_disks: bool = False) -> None:
    """Forget an instance with its addresses, tags and the disks that go with it; its routers are told."""
    instance = session.get_one(Instance, instance_id)
    for disk in list(instance.disks):
        if all_disks or disk.delete_with_instance:
            tree.forget_disk(session, disk, now)
        else:
            detach_row(disk, now)
    for vpc_id in {interface.vpc_id for interface in instance.interfaces}:
        journal.enqueue_sync(session, vpc_id, now)
    interfaces = select(NetworkInterface.id).where(NetworkInterface.instance_id == instance_id)
    for of_interface in (GroupMembership, SecondaryAddress, PortForward, RouteEntry):
        session.execute(delete(of_interface).where(of_interface.interface_id.in_(interfaces)))
    public = PublicAddress.interface_id.in_(interfaces)
    session.execute(delete(PublicAddress).where(public, PublicAddress.kind != EIP))
    session.execute(update(PublicAddress).where(public).values(interface_id=None, private_ip=None))  # kept (SPEC I4)
    session.execute(delete(NetworkInterface).where(NetworkInterface.instance_id == instance_id))
    forget_tags(session, "instance", [instance_id])
    journal.give_up_waiting(session, instance_id, "the instance is gone", now)
    iso_file = instance.iso_file
    session.flush()
    session.execute(delete(Instance).where(Instance.id == instance_id))
    enqueue_drop(session, iso_file, now)


# ------------------------------------------------------------------------------ kinds


def _creation_failed(session: Session, job: Job, now: dt.datetime) -> None:
    """Nothing is left of an instance that could not be made; the job keeps saying why."""
    _delete_rows(session, job.resource_id, now, all_disks=True)


def _start_failed(session: Session, job: Job, now: dt.datetime) -> None:
    instance = session.get_one(Instance, job.resource_id)
    instance.status, instance.status_reason, instance.power = states.STOPPED, job.message, "off"


def _stop_failed(session: Session, job: Job, now: dt.datetime) -> None:
    # The reconciler looks what really is; until then the instance counts as running, as it did before.
    instance = session.get_one(Instance, job.resource_id)
    instance.status, instance.status_reason = states.RUNNING, job.message


def _created(context: Context) -> Finish:
    return _set(context, status=states.STOPPED)


MAKE = (Step("router", _router), Step("disks", _disks), Step("seed", _seed, _delete_seed))
BOOT = (Step("filter", _filter), Step("boot", _boot, _unboot))
DOWN = (Step("shut down", _shutdown), Step("power off", _power_off))

register(Kind("instance.create", (*MAKE, Step("ready", _created)), failed=_creation_failed))
register(Kind("instance.run", (*MAKE, *BOOT), failed=_creation_failed))
register(Kind("instance.start", (Step("router", _router), Step("seed", _seed), *BOOT), failed=_start_failed))
register(Kind("instance.stop", (*DOWN, Step("unplug", _unplug_and_stop)), failed=_stop_failed))
register(
    Kind(
        "instance.reboot",
        (*DOWN, Step("unplug", _unplug_and_restart), Step("router", _router), Step("seed", _seed), *BOOT),
        failed=_start_failed,
    )
)
register(Kind("instance.settle", (Step("unplug", _unplug_and_stop),), patience=None))
register(
    Kind(
        "instance.release",
        (
            Step("power off", _power_off),
            Step("undefine", _undefine),
            Step("unplug", _unplug_ports),
            Step("forget", _forget),
        ),
        patience=None,
    )
)
