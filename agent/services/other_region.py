"""Other regions, as callers name them: theirs are reached with an access key of the host's owner."""

from __future__ import annotations

from agent.core.errors import Forbidden, InvalidParameter, NotFound
from agent.jobs import regions
from agent.services import account
from agent.services.context import Caller


def check(caller: Caller, name: str, what: str, verb: str) -> None:
    """Whether the caller may `verb` a `what` to the region `name`; raises InvalidParameter, NotFound, Forbidden."""
    config = caller.services.config
    if name == config.region_id:
        why = f"the {what} is in that region: choose another one."
        raise InvalidParameter("DestinationRegionId", name, why, code="InvalidDestinationRegionId.NotSupported")
    if name not in regions.regions_of(config):
        raise NotFound("InvalidRegionId.NotFound", "DestinationRegionId", name)
    if not account.owns_host(caller.session, caller.account_id):
        raise Forbidden(
            f"The access key for the region {name} is that of the host's owner, who alone may {verb} there."
        )
