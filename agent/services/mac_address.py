"""The MAC address of an instance that was another machine before: licences and leases may hang on it."""

from __future__ import annotations

import re

from sqlalchemy import select

from agent.core.errors import Conflict, InvalidParameter
from agent.jobs import journal
from agent.services import instance as instances
from agent.services.context import Caller
from agent.store.schema import NetworkInterface

_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}\Z")
_GROUP_BIT = 0x01  # of the first byte: the address is of many
_RESERVED = 0xFE  # the first byte of what the host's own side of a tap has


def change(caller: Caller, instance_id: str, mac: str) -> None:
    """Give the primary interface of a stopped instance another address, in effect from its next start on.

    Raises IncorrectInstanceStatus, InvalidParameter for what no guest can have; Conflict when another one has it.
    """
    mac = mac.lower()
    first = int(mac[:2], 16) if _MAC.match(mac) else _GROUP_BIT
    if first & _GROUP_BIT or first == _RESERVED or mac == "00:00:00:00:00:00":
        why = "it must be six bytes as 52:54:00:12:34:56, of one machine, not beginning with fe."
        raise InvalidParameter("MacAddress", mac, why, code="InvalidMacAddress.Malformed")
    instance = instances.get_for(caller, instance_id, "set_mac_address")
    interface = instance.interfaces[0]
    owner = caller.session.scalar(select(NetworkInterface.id).where(NetworkInterface.mac == mac))
    if owner not in (None, interface.id):
        raise Conflict(f'Another network interface has the MacAddress "{mac}".', code="InvalidMacAddress.InUse")
    interface.mac = mac
    caller.session.flush()
    journal.enqueue_sync(caller.session, interface.vpc_id, caller.services.clock.now(), caller.request_id)
