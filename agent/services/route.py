"""Route tables (SPEC N1): each VPC has one, with the system's entries and custom ones."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from sqlalchemy import func, select

from agent.core import ids, validate
from agent.core.errors import ApiError, InvalidParameter, MissingParameter, NotFound
from agent.jobs import journal
from agent.services import instance as instances
from agent.services import quota
from agent.services.context import Caller
from agent.services.security_group import place
from agent.store.schema import Job, NetworkInterface, RouteEntry, Vpc, VSwitch

INSTANCE, INTERFACE, HOST = "Instance", "NetworkInterface", "Host"
NEXT_HOP_TYPES = (INSTANCE, INTERFACE, HOST)
# Metadata and the ways between VPCs and the host: the system's own (SPEC N1).
SERVICES_CIDR = "100.64.0.0/10"
_NOWHERE = tuple(map(ipaddress.IPv4Network, ("127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")))
_MALFORMED = "InvalidDestinationCidrBlock.Malformed"


class DuplicateRoute(ApiError):
    code, status = "RouterEntryConflict.Duplicated", 400


@dataclass(frozen=True)
class NextHop:
    """Where an entry leads: `type` is one of NEXT_HOP_TYPES; `id` is ignored for the host."""

    type: str
    id: str = ""


def get_table(caller: Caller, table_id: str) -> Vpc:
    """The VPC whose route table it is; raises NotFound."""
    mine = select(Vpc).where(
        Vpc.account_id == caller.account_id, Vpc.route_table_id == table_id, Vpc.is_classic.is_(False)
    )
    found = caller.session.scalar(mine)
    if found is None:
        raise NotFound("InvalidRouteTableId.NotFound", "RouteTableId", table_id)
    return found


def create_entry(
    caller: Caller, table_id: str, cidr: str, hop: NextHop, *, name: str = "", description: str = ""
) -> tuple[RouteEntry, Job]:
    """A custom entry; the job makes it effective. An address without a length means just that one."""
    vpc = get_table(caller, table_id)
    _check_texts(name, description)
    block = _checked_destination(vpc, cidr)
    quota.check(caller, "route_entries_per_table", len(vpc.routes), of=table_id)
    now = caller.services.clock.now()
    entry = RouteEntry(
        id=ids.new_id("routeentry"),
        cidr=str(block),
        next_hop_type=hop.type,
        interface=_next_hop(caller, vpc, hop),
        name=name,
        description=description,
        created_at=now,
    )
    vpc.routes.append(entry)
    caller.session.flush()
    return entry, journal.enqueue_sync(caller.session, vpc.id, now, caller.request_id)


def delete_entry(
    caller: Caller, *, entry_id: str = "", table_id: str = "", cidr: str = "", hop_id: str = "", hop_type: str = ""
) -> Job:
    """Delete a custom entry, named by its id or by its table and destination; a next hop given must be the entry's.
    Raises NotFound."""
    entry = find_entry(caller, entry_id, table_id, cidr)
    if (hop_id and hop_id != next_hop_id(entry)) or (hop_type and hop_type != entry.next_hop_type):
        raise NotFound("InvalidRouteEntry.NotFound", "NextHopId", hop_id or hop_type)
    vpc = entry.vpc
    vpc.routes.remove(entry)
    caller.session.flush()
    return journal.enqueue_sync(caller.session, vpc.id, caller.services.clock.now(), caller.request_id)


def next_hop_id(entry: RouteEntry) -> str:
    """As callers name it: the instance's id, the interface's, or nothing for the host."""
    if entry.interface is None:
        return ""
    return (entry.interface.instance_id or "") if entry.next_hop_type == INSTANCE else entry.interface.id


def routes_by(caller: Caller, interface: NetworkInterface) -> int:
    """How many entries lead to this interface."""
    counted = select(func.count()).where(RouteEntry.interface_id == interface.id)
    return caller.session.scalar(counted) or 0


def find_entry(caller: Caller, entry_id: str, table_id: str, cidr: str) -> RouteEntry:
    """The custom entry of this id (of this table and destination, if they are given), or of this table and
    destination. Raises NotFound."""
    block = str(validate.network("DestinationCidrBlock", cidr, code=_MALFORMED)) if cidr else ""
    if entry_id:
        entry = caller.session.get(RouteEntry, entry_id)
        if entry is None or entry.vpc.account_id != caller.account_id:
            raise NotFound("InvalidRouteEntry.NotFound", "RouteEntryId", entry_id)
        if table_id not in ("", entry.vpc.route_table_id):
            raise NotFound("InvalidRouteTableId.NotFound", "RouteTableId", table_id)
        if block not in ("", entry.cidr):
            raise NotFound("InvalidRouteEntry.NotFound", "DestinationCidrBlock", cidr)
        return entry
    for name, value in (("RouteTableId", table_id), ("DestinationCidrBlock", cidr)):
        if not value:
            raise MissingParameter(name)
    for entry in get_table(caller, table_id).routes:
        if entry.cidr == block:
            return entry
    raise NotFound("InvalidRouteEntry.NotFound", "DestinationCidrBlock", cidr)


def _checked_destination(vpc: Vpc, cidr: str) -> ipaddress.IPv4Network:
    block = validate.network("DestinationCidrBlock", cidr, code=_MALFORMED)
    if block.subnet_of(ipaddress.IPv4Network(SERVICES_CIDR)):
        raise InvalidParameter(
            "DestinationCidrBlock", cidr, f"{SERVICES_CIDR} is the system's own.", code="Forbidden.DestinationCidrBlock"
        )
    if block.prefixlen and (not int(block[0]) >> 24 or any(block.overlaps(other) for other in _NOWHERE)):
        raise InvalidParameter("DestinationCidrBlock", cidr, "nothing can be routed there.", code=_MALFORMED)
    for vswitch in vpc.vswitches:
        _check_apart(block, vswitch)
    for entry in vpc.routes:
        if entry.cidr == str(block):
            raise DuplicateRoute(
                f'The route table "{vpc.route_table_id}" has an entry for "{block}" already: "{entry.id}".'
            )
    return block


def _check_apart(block: ipaddress.IPv4Network, vswitch: VSwitch) -> None:
    if block.subnet_of(ipaddress.IPv4Network(vswitch.cidr)):
        raise InvalidParameter(
            "DestinationCidrBlock",
            block,
            f'it is in {vswitch.cidr} of the VSwitch "{vswitch.id}", whose instances are reached directly.',
            code="InvalidCIDRBlock.Duplicate",
        )


def _next_hop(caller: Caller, vpc: Vpc, hop: NextHop) -> NetworkInterface | None:
    """The interface that is the next hop, None for the host. Raises NotFound unless it is in the VPC."""
    if hop.type == HOST:
        return None
    if not hop.id:
        raise MissingParameter("NextHopId")
    if hop.type == INSTANCE:
        interface = next(iter(instances.get(caller, hop.id).interfaces), None)
    else:
        interface = caller.session.get(NetworkInterface, hop.id)
    if interface is None or interface.account_id != caller.account_id:
        raise NotFound("InvalidNextHopId.NotFound", "NextHopId", hop.id)
    if interface.vpc_id != vpc.id:
        why = f"it is in {place(interface.vpc_id)}, the route table in {place(vpc.id)}."
        raise InvalidParameter("NextHopId", hop.id, why, code="InvalidNextHopId.Mismatch")
    return interface


def _check_texts(name: str, description: str) -> None:
    if name:
        validate.name("RouteEntryName", name, code="InvalidRouteEntryName.Malformed")
    validate.description("Description", description, code="InvalidRouteEntryDescription.Malformed")
