"""Ports of the host that lead to instances: for hosts at home, where public addresses are rare.

They are the host's, so its owner decides who may have them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Select, func, select
from sqlalchemy.orm import selectinload

from agent.config import Config, ConfigError
from agent.core import ids, validate
from agent.core.errors import Conflict, Forbidden, InvalidParameter, NotFound
from agent.jobs import journal
from agent.services import account, quota
from agent.services import instance as instances
from agent.services.context import Caller
from agent.store.schema import Job, NetworkInterface, PortForward

OWNER, ALL = "owner", "all"  # who may have port forwards
PROTOCOLS = ("tcp", "udp")
FIRST_PORT: Final = 1024  # of those that others than the host's owner may have
LAST_PORT: Final = 65535


def check(config: Config) -> None:
    """Raises ConfigError for a word that says of nobody that he may; at the agent's start."""
    if config.port_forwards not in (OWNER, ALL):
        raise ConfigError(f'port_forwards = "{config.port_forwards}" must be "{OWNER}" or "{ALL}"')


def create(
    caller: Caller,
    instance_id: str,
    *,
    host_port: int,
    port: int,
    protocol: str = "tcp",
    host_address: str = "",
    description: str = "",
) -> tuple[PortForward, Job]:
    """Lead a port of the host (of all its addresses, or of one) to a port of an instance, and the job that does it."""
    _check_allowed(caller)
    validate.description("Description", description)
    _check_ports(protocol, host_port, port, 1 if account.owns_host(caller.session, caller.account_id) else FIRST_PORT)
    interface = instances.get(caller, instance_id).interfaces[0]
    _check_address(caller, host_address)
    _check_free(caller, protocol, host_address, host_port)
    mine = select(func.count()).select_from(PortForward).where(PortForward.account_id == caller.account_id)
    quota.check(caller, "port_forwards", caller.session.scalar(mine) or 0)
    now = caller.services.clock.now()
    made = PortForward(
        id=ids.new_id("portforward"),
        account_id=caller.account_id,
        protocol=protocol,
        host_address=host_address,
        host_port=host_port,
        interface=interface,
        port=port,
        description=description,
        created_at=now,
    )
    caller.session.add(made)
    caller.session.flush()
    return made, journal.enqueue_sync(caller.session, interface.vpc_id, now, caller.request_id)


def delete(caller: Caller, forward_id: str) -> Job:
    """The port is the host's again once the job returned is done."""
    found = caller.session.get(PortForward, forward_id)
    if found is None or found.account_id != caller.account_id:
        raise NotFound("InvalidPortForwardId.NotFound", "PortForwardId", forward_id)
    vpc_id = found.interface.vpc_id
    found.interface.forwards.remove(found)
    caller.session.flush()
    return journal.enqueue_sync(caller.session, vpc_id, caller.services.clock.now(), caller.request_id)


def find(
    caller: Caller,
    *,
    forward_ids: Sequence[str] = (),
    instance_id: str = "",
    protocol: str = "",
    host_port: int | None = None,
) -> Select[PortForward]:
    """The caller's, in order of the host's ports."""
    query = select(PortForward).where(PortForward.account_id == caller.account_id)
    if forward_ids:
        query = query.where(PortForward.id.in_(forward_ids))
    if instance_id:
        query = query.where(PortForward.interface.has(NetworkInterface.instance_id == instance_id))
    if protocol:
        query = query.where(PortForward.protocol == protocol)
    if host_port is not None:
        query = query.where(PortForward.host_port == host_port)
    query = query.options(selectinload(PortForward.interface))
    return query.order_by(PortForward.host_port, PortForward.protocol, PortForward.host_address)


def _check_allowed(caller: Caller) -> None:
    if caller.services.config.port_forwards != ALL and not account.owns_host(caller.session, caller.account_id):
        raise Forbidden(
            "Ports of the host are for the default account, whose owner the host belongs to; he may let all accounts "
            f'have them by port_forwards = "{ALL}" in the agent\'s configuration.'
        )


def _check_ports(protocol: str, host_port: int, port: int, first: int) -> None:
    if protocol not in PROTOCOLS:
        raise InvalidParameter("Protocol", protocol, f"it must be {' or '.join(PROTOCOLS)}.")
    if not first <= host_port <= LAST_PORT:
        why = f"it must be {first} to {LAST_PORT}{': those below are for the owner of the host' if first > 1 else ''}."
        raise InvalidParameter("HostPort", host_port, why, code="InvalidHostPort.ValueNotSupported")
    if not 1 <= port <= LAST_PORT:
        raise InvalidParameter("Port", port, f"it must be 1 to {LAST_PORT}.", code="InvalidPort.ValueNotSupported")


def _check_address(caller: Caller, host_address: str) -> None:
    if not host_address:
        return
    wanted = validate.address("HostAddress", host_address, code="InvalidHostAddress.Malformed")
    own = [ipaddress.IPv4Interface(text) for text in caller.services.network.host_addresses()]
    if wanted not in [one.ip for one in own]:
        raise InvalidParameter(
            "HostAddress",
            host_address,
            f"the host has {', '.join(str(one.ip) for one in own)}; leave it out for all of them.",
            code="InvalidHostAddress.NotFound",
        )


def _check_free(caller: Caller, protocol: str, host_address: str, host_port: int) -> None:
    """Neither another instance's nor the host's own. Whose the other instance is, is not said."""
    same = select(PortForward).where(PortForward.protocol == protocol, PortForward.host_port == host_port)
    for other in caller.session.scalars(same):
        if not host_address or other.host_address in ("", host_address):
            whose = (
                f'the port forward "{other.id}"' if other.account_id == caller.account_id else "another port forward"
            )
            raise Conflict(
                f"The port {host_port}/{protocol} of the host is used by {whose}.", code="InvalidHostPort.InUse"
            )
    if caller.services.network.port_taken(protocol, host_address, host_port):
        raise Conflict(
            f"The port {host_port}/{protocol} of the host is used by a program on it: choose another one.",
            code="InvalidHostPort.InUse",
        )
