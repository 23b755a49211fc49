"""Cloning a security group to another region (SPEC F8). The resource is the group here.

`data`: region, group (the parameters of ReceiveSecurityGroup there). The other side makes the group with all its rules
in one transaction and knows it by its id, so that it may be told twice.
"""

from __future__ import annotations

from agent.core.errors import DriverError
from agent.drivers.region.peer import ECS, PeerRefused
from agent.jobs import regions
from agent.jobs.model import Context, Kind, Step, register

CLONE = "security-group.clone"
GIVE_UP_SECONDS = 3600.0  # of taking back what a region that is away may have made


def _send(context: Context) -> None:
    peer = regions.peer_of(context.config, context.data["region"])
    peer.call("ReceiveSecurityGroup", **context.data["group"])


def _take_back(context: Context) -> None:
    """The answer may have been lost on its way: what was made there goes, unless somebody uses it by now."""
    try:
        peer = regions.peer_of(context.config, context.data["region"])
        peer.call("DeleteSecurityGroup", ECS, SecurityGroupId=context.data["group"]["SecurityGroupId"])
    except PeerRefused as error:
        if error.transient and context.waited() < GIVE_UP_SECONDS:
            raise
    except DriverError:
        if context.waited() < GIVE_UP_SECONDS:
            raise


register(Kind(CLONE, (Step("send", _send, _take_back),)))
