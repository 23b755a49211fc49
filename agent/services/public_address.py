"""The host's pool of public addresses (SPEC N3): which there are, and who has which.

A row exists as long as an address is somebody's; the unique column and the one writer at a time see to it that it is
never given twice. Whoever binds, unbinds or limits one enqueues a job that makes the VPC's router so (`apply`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from sqlalchemy import select

from agent.config import Config, ConfigError
from agent.core import addresses, ids, validate
from agent.core.errors import ApiError, InvalidParameter
from agent.jobs import journal
from agent.jobs.kinds.public_address import APPLY
from agent.services import quota
from agent.services.context import Caller
from agent.store.schema import Instance, Job, NetworkInterface, PublicAddress

EIP, PUBLIC = "eip", "public"  # kinds: kept without an instance; came with its instance and goes with it
BY_TRAFFIC, BY_BANDWIDTH = "PayByTraffic", "PayByBandwidth"
CHARGE_TYPES = (BY_TRAFFIC, BY_BANDWIDTH)
LARGEST_POOL = 65536


class PoolExhausted(ApiError):
    code, status = "ReserveIpFail", 400


class AddressTaken(ApiError):
    code, status = "InvalidIPAddress.AlreadyUsed", 400


class AlreadyPublic(ApiError):
    """What shall get an address has one."""

    code, status = "AllocatedAlready", 400


def check(config: Config) -> None:
    """Raises ConfigError for a pool that is none; at the agent's start."""
    total = 0
    for text in config.public_addresses:
        try:
            block = ipaddress.IPv4Network(text)
        except ValueError as error:
            raise ConfigError(
                f"public_addresses: {text!r} is no IPv4 address nor a block such as 192.168.1.192/27 ({error})"
            ) from None
        if block.is_loopback or block.is_multicast or block.is_link_local or block.is_unspecified:
            raise ConfigError(f"public_addresses: nobody can be reached at {text}")
        total += block.num_addresses
    if total > LARGEST_POOL:
        raise ConfigError(f"public_addresses: {total} addresses are too many; at most {LARGEST_POOL}")


def pool(config: Config) -> list[ipaddress.IPv4Network]:
    """The blocks that public addresses are taken of."""
    return [ipaddress.IPv4Network(text) for text in config.public_addresses] or [addresses.PRIVATE_POOL]


def candidates(config: Config, host: Iterable[str]) -> Iterator[str]:
    """All addresses of the pool that may be given away, in order. `host`: the host's own, as `192.168.1.4/24`.

    Its own ones are not among them, nor the first and last of a network that it is in; of the pool that nobody
    configured, nothing of such a network is, nor its first and last, which look as if they were no host's.
    """
    own = [ipaddress.IPv4Interface(text) for text in host]
    networks = [one.network for one in own if one.network.prefixlen < 31]
    forbidden = {one.ip for one in own}
    for network in (*networks, addresses.PRIVATE_POOL):
        forbidden |= {network.network_address, network.broadcast_address}
    avoid = [] if config.public_addresses else networks
    for block in pool(config):
        for number in range(int(block[0]), int(block[-1]) + 1):
            address = ipaddress.IPv4Address(number)
            if address not in forbidden and not any(address in network for network in avoid):
                yield str(address)


def free_address(caller: Caller, wanted: str = "") -> str:
    """An address of the pool that is nobody's: the one wanted, else the first. It is taken once a row has it.

    Raises PoolExhausted, AddressTaken, or InvalidParameter for one that is not in the pool.
    """
    config = caller.services.config
    taken = set(caller.session.scalars(select(PublicAddress.ip)))
    usable = candidates(config, caller.services.network.host_addresses())
    if wanted:
        address = str(validate.address("IpAddress", wanted, code="InvalidIpAddress.Malformed"))
        if address in taken:
            raise AddressTaken(f'The IpAddress "{address}" is already in use.')
        if address not in usable:
            blocks = ", ".join(map(str, pool(config)))
            raise InvalidParameter(
                "IpAddress", wanted, f"it is not one that {blocks} gives away.", code="InvalidIpAddress.NotFound"
            )
        return address
    for address in usable:
        if address not in taken:
            return address
    raise PoolExhausted(
        f"No public address is left: all of {', '.join(map(str, pool(config)))} are in use. Release one, or let the "
        "host's owner add more to public_addresses in the agent's configuration."
    )


def take(
    caller: Caller,
    interface: NetworkInterface | None,
    *,
    kind: str = PUBLIC,
    ip: str = "",
    name: str = "",
    description: str = "",
    bandwidth_mbps: int = 0,
    charge_type: str = BY_TRAFFIC,
) -> PublicAddress:
    """Take an address (`ip`: the one wanted), bound to `interface` if that is given; raises as free_address."""
    found = PublicAddress(
        id=ids.new_id("eip"),
        account_id=caller.account_id,
        kind=kind,
        ip=free_address(caller, ip),
        name=name,
        description=description,
        bandwidth_mbps=bandwidth_mbps,
        charge_type=charge_type,
        interface=interface,
        created_at=caller.services.clock.now(),
    )
    caller.session.add(found)
    caller.session.flush()
    return found


def give_back(caller: Caller, address: PublicAddress) -> None:
    """It is nobody's any more; whoever had it bound applies that."""
    if address.interface is not None:
        address.interface.public.remove(address)
    caller.session.delete(address)
    caller.session.flush()


def apply(caller: Caller, interface: NetworkInterface, resource_id: str, kind: str = APPLY) -> Job:
    """The job that makes an interface's addresses and limits as wanted, live."""
    return journal.enqueue(
        caller.session,
        kind,
        resource_id,
        caller.services.clock.now(),
        lock=interface.id if kind == APPLY else None,  # not the instance's: that of a stop takes long
        account_id=caller.account_id,
        request_id=caller.request_id,
        data={"vpc_id": interface.vpc_id, "interface_id": interface.id},
    )


def in_classic(instance: Instance) -> bool:
    """Whether the instance is in the classic network, where public addresses are the guest's own (SPEC N4)."""
    return instance.interfaces[0].vswitch.vpc.is_classic


def check_bandwidth(caller: Caller, parameter: str, mbps: int, *, least: int, code: str = "") -> int:
    """`mbps` if it may be had; raises InvalidParameter."""
    most = quota.limit(caller, "bandwidth_mbps")
    if not least <= mbps <= most:
        raise InvalidParameter(parameter, mbps, f"it must be {least} to {most} Mbit/s.", code=code or None)
    return mbps


def check_charge_type(parameter: str, value: str, *, code: str = "") -> str:
    """`value` if it is one of CHARGE_TYPES; raises InvalidParameter."""
    if value not in CHARGE_TYPES:
        raise InvalidParameter(parameter, value, f"it must be {' or '.join(CHARGE_TYPES)}.", code=code or None)
    return value
