"""Jobs of the second card of an instance in the classic network (SPEC N4): given to its guest, and taken away.

The card is the instance's from the moment it was asked for: a guest that is off, or that cards cannot be plugged into,
has it at its next start.
"""

from __future__ import annotations

from sqlalchemy import delete
from sqlalchemy.orm import Session

from agent.core.errors import DriverError
from agent.core.ids import CLASSIC_VPC
from agent.core.specs import INTERNET, NicSpec, PortSpec
from agent.jobs import translate
from agent.jobs.kinds.network import sync_filter, sync_router
from agent.jobs.model import Context, Finish, Kind, NotYet, Step, register
from agent.jobs.translate_network import port_spec
from agent.store.schema import Instance, NetworkInterface, PublicAddress

PLUG, UNPLUG = "classic.plug", "classic.unplug"
POLL_SECONDS = 1.0  # events come sooner
ASK_AGAIN_SECONDS = 6.0  # a guest that is still booting ignores the request; QEMU takes another one after 5 s


def _name(context: Context) -> str:
    return translate.domain_name(context.config, context.resource_id)


def _card(session: Session, instance: Instance) -> NetworkInterface | None:
    return next((one for one in instance.interfaces if one.nic_type == INTERNET), None)


def _router(context: Context) -> None:
    sync_router(context, CLASSIC_VPC)


def _filter(context: Context) -> None:
    sync_filter(context, CLASSIC_VPC)


# ------------------------------------------------------------------------------ plugging in


def _plug(context: Context) -> None:
    with context.store.read() as session:
        instance = session.get_one(Instance, context.resource_id)
        card = _card(session, instance)
        if card is None:
            return
        nic = translate.nic_spec(instance, card)
    present = context.drivers.hypervisor.attached_nics(_name(context))
    if present is None:
        return
    if not instance.virtio and nic.mac not in present:  # its machine has no slot that takes cards while it runs
        context.report(100, "the guest gets the card at its next console restart")
        return
    if nic.mac in present or _plug_into_running(context, nic, _port(context, card.id)):
        with context.locks[CLASSIC_VPC]:  # as whoever changes the bandwidth: the newest is wired
            context.drivers.network.wire_port(_port(context, card.id))


def _port(context: Context, card_id: str) -> PortSpec:
    with context.store.read() as session:
        instance = session.get_one(Instance, context.resource_id)
        return port_spec(instance, session.get_one(NetworkInterface, card_id))


def _plug_into_running(context: Context, nic: NicSpec, port: PortSpec) -> bool:
    """False when the guest goes off meanwhile: its next start has the card."""
    drivers = context.drivers
    drivers.network.create_tap(port)
    try:
        drivers.hypervisor.attach_nic(_name(context), nic)
    except DriverError:
        if drivers.hypervisor.attached_nics(_name(context)) is not None:
            raise
        drivers.network.remove_port(port.vpc_id, port.tap)
        return False
    return True


# ------------------------------------------------------------------------------ unplugging


def _let_go(context: Context) -> Finish:
    """Ask the guest to let go of the card, and wait; then nobody has its address any more."""
    with context.store.read() as session:
        card = _card(session, session.get_one(Instance, context.resource_id))
    if card is None:
        return lambda session: None
    hypervisor = context.drivers.hypervisor
    if card.mac in (hypervisor.attached_nics(_name(context)) or ()):
        _ask(context, card)
        if card.mac in (hypervisor.attached_nics(_name(context)) or ()):
            raise NotYet(POLL_SECONDS, "waiting for the guest to let go of the network card")
    context.drivers.network.remove_port(card.vpc_id, card.tap)

    def finish(session: Session) -> None:
        session.execute(delete(PublicAddress).where(PublicAddress.interface_id == card.id))
        session.delete(session.get_one(NetworkInterface, card.id))
        if context.data["forget_bandwidth"]:
            session.get_one(Instance, context.resource_id).internet_out_mbps = 0

    return finish


def _ask(context: Context, card: NetworkInterface) -> None:
    waited, limit = context.waited(), context.config.detach_seconds
    if waited >= limit:
        raise DriverError(
            f"the public address {card.ip} stays: the guest did not let go of its network card within {limit:g} s; "
            "stop the instance first"
        )
    if waited >= context.data.get("asked_at", -ASK_AGAIN_SECONDS) + ASK_AGAIN_SECONDS:
        context.drivers.hypervisor.request_detach_nic(_name(context), card.mac)
        context.data["asked_at"] = waited


NETWORK = (Step("router", _router), Step("filter", _filter))

register(Kind(PLUG, (*NETWORK, Step("plug", _plug)), patience=30))
register(Kind(UNPLUG, (Step("let go", _let_go), *NETWORK), patience=30))
