"""From the edge's Call to the services' Caller."""

from __future__ import annotations

from agent.api.edge.call import Call
from agent.services.context import Caller


def caller(call: Call) -> Caller:
    """The caller of this request, in this request's transaction."""
    return Caller(session=call.session, account_id=call.account_id, request_id=call.request_id, services=call.services)
