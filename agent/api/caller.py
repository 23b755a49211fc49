"""From the edge's Call to the services' Caller."""

from __future__ import annotations

import pwd

from agent.api.edge.call import Call
from agent.core.identity import Identity
from agent.services.context import Caller


def caller(call: Call) -> Caller:
    """The caller of this request, in this request's transaction."""
    return Caller(session=call.session, account_id=call.account_id, request_id=call.request_id, services=call.services)


def name_of(who: Identity) -> str:
    """How other users are told who this is: `root on this host`, `user lena from 10.0.0.7`."""
    if who.unix_uid is not None:
        try:
            name = pwd.getpwuid(who.unix_uid).pw_name
        except KeyError:
            name = f"uid {who.unix_uid}"
        return f"{name} on this host"
    name = f"{who.principal_type} {who.principal_name}" if who.principal_name else f"the account {who.account_id}"
    return f"{name} from {who.source_ip}" if who.source_ip else name
