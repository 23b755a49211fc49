"""The second card of an instance in the classic network (SPEC N4): it has the instance's public address itself."""

from __future__ import annotations

from agent.core import ids
from agent.core.specs import INTERNET
from agent.jobs import journal
from agent.jobs.kinds.internet_card import PLUG, UNPLUG
from agent.services import classic, public_address, vswitch
from agent.services.context import Caller
from agent.store.schema import Instance, Job, PublicAddress, SecurityGroup


def add(caller: Caller, instance: Instance, *, ip: str = "") -> PublicAddress:
    """A public address (`ip`: the one wanted) with a card in the instance's groups. The next start has it; a guest that
    runs gets it by `plug`. Raises what public_address.take raises."""
    primary = instance.interfaces[0]
    address = public_address.take(caller, None, ip=ip, charge_type=instance.internet_charge_type)
    card = vswitch.new_interface(
        caller,
        classic.network(caller),
        [caller.session.get_one(SecurityGroup, membership.group_id) for membership in primary.memberships],
        address.ip,
        instance_id=instance.id,
        nic_type=INTERNET,
        mac=ids.internet_mac(primary.mac),
    )
    address.interface = card
    caller.session.flush()
    caller.session.expire(instance, ["interfaces"])
    return address


def plug(caller: Caller, instance: Instance) -> Job:
    """The job that gives the card to the guest, if that runs."""
    return _enqueue(caller, instance, PLUG)


def unplug(caller: Caller, instance: Instance, *, forget_bandwidth: bool = False) -> Job:
    """The job that takes the card from the guest and forgets it, with its address and, if asked, the bandwidth. If the
    guest does not let go of it, it fails and everything is as before."""
    return _enqueue(caller, instance, UNPLUG, {"forget_bandwidth": forget_bandwidth})


def _enqueue(caller: Caller, instance: Instance, kind: str, data: dict[str, bool] | None = None) -> Job:
    return journal.enqueue(
        caller.session,
        kind,
        instance.id,
        caller.services.clock.now(),
        account_id=caller.account_id,
        request_id=caller.request_id,
        data=data,
    )
