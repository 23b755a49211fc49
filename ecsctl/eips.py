"""Elastic addresses by name, id or the address itself, and waiting until one is bound or free."""

from __future__ import annotations

import re

from ecsctl.client import VPC, Client, Json, unwrap
from ecsctl.errors import CliError, NotFound
from ecsctl.progress import Progress
from ecsctl.resolve import EIP, describe, find_id
from ecsctl.waiting import AGENT_AWAY_SECONDS, interruptible, pauses

_UNDER_WAY = ("Associating", "Unassociating")


def find_eip(client: Client, text: str) -> str:
    """The id of an address; raises as find_id."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+){3}", text):
        return find_id(client, EIP, text)
    found = describe(client, EIP, EipAddress=text)
    if not found:
        raise NotFound(f"there is no EIP {text}")
    return str(found[0]["AllocationId"])


def describe_eip(client: Client, allocation_id: str) -> Json | None:
    answer = client.regional("DescribeEipAddresses", VPC, AllocationId=allocation_id)
    return next(iter(unwrap(answer, "EipAddresses.EipAddress")), None)


def wait_eip(client: Client, allocation_id: str, doing: str, wanted: str, timeout: float) -> Json:
    """Wait until what was asked for is done; the address then, which must be in the state `wanted`."""
    goes_on = f"{doing} of {allocation_id} goes on"
    with Progress() as progress, interruptible(goes_on), client.patient(AGENT_AWAY_SECONDS):
        for _ in pauses(timeout, f"not done within {timeout:g} s: {goes_on}", progress):
            found = describe_eip(client, allocation_id)
            status = found["Status"] if found else "gone"
            if found and status == wanted:
                return found
            if status not in _UNDER_WAY:
                raise CliError(f"{doing} of {allocation_id} failed: it is {status}; `ecsctl job ls` may say why")
            progress.update(f"{doing} {allocation_id}: {status}")
    raise AssertionError("pauses() ends by raising")
