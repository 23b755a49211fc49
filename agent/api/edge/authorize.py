"""Whether a call is allowed. Policies (SPEC section 9) plug in here as another Authorizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agent.api.edge.call import Call
from agent.core.errors import Forbidden


class Authorizer(Protocol):
    def check(self, call: Call, ram_action: str, resources: Sequence[str]) -> None:
        """Return if `call.identity` may do `ram_action` to every one of `resources` (ARNs); else raise Forbidden."""
        ...


class AdministratorsOnly:
    """Owners and administrators of an account may do everything in it, everyone else nothing."""

    def check(self, call: Call, ram_action: str, resources: Sequence[str]) -> None:
        identity = call.identity
        if identity.principal_type == "account" or identity.administrator:
            return
        raise Forbidden(
            f"User not authorized to operate on the specified resource: {identity.principal_type} "
            f'"{identity.principal_name}" may not {ram_action} on {", ".join(resources) or "*"}.'
        )
