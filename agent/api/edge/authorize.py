"""Whether a call is allowed (SPEC R3): owners may do everything in their account, others what their policies say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from agent.api.edge.call import Authorizer, Call
from agent.core.clock import iso_seconds
from agent.core.errors import Forbidden
from agent.core.identity import Identity
from agent.policy import conditions
from agent.policy.evaluate import Decision, Verdict
from agent.policy.model import Request

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["Authorizer", "ByPolicies"]

# Everybody may know who he is.
OPEN = frozenset({"sts:GetCallerIdentity"})

# Beyond all accounts: of these actions the owner of the host decides, whose account is the default one.
OF_HOST = "host:"

OwnsHost = Callable[["Session", str], bool]
Decide = Callable[["Session", Identity, Request], Decision]


def no_policies(session: Session, identity: Identity, request: Request) -> Decision:
    """For a place without policies: only owners and administrators may do anything."""
    return Decision(Verdict.NOT_ALLOWED)


def nobody(session: Session, account_id: str) -> bool:
    """For a place without a host."""
    return False


class ByPolicies:
    """Besides owners and administrators, those whose policies allow it. `decide` knows their policies, `owns_host`
    whether an account is the one of the host's owner."""

    def __init__(self, decide: Decide = no_policies, owns_host: OwnsHost = nobody) -> None:
        self._decide, self._owns_host = decide, owns_host

    def check(self, call: Call, ram_action: str, resources: Sequence[str]) -> None:
        identity = call.identity
        if ram_action.startswith(OF_HOST) and not self._owns_host(call.session, identity.account_id):
            raise Forbidden(
                f"User not authorized to operate on the specified resource: {ram_action} is for the default account, "
                f"whose owner the host belongs to; this is the account {identity.account_id}."
            )
        if identity.principal_type == "account" or identity.administrator or ram_action in OPEN:
            return
        context = context_of(call)
        for resource in resources or ["*"]:
            decision = self._decide(call.session, identity, Request(ram_action, resource, context))
            if not decision.allowed:
                raise Forbidden(
                    f"User not authorized to operate on the specified resource: {identity.arn} may not {ram_action} "
                    f"on {resource}: {decision.reason}."
                )


def context_of(call: Call) -> dict[str, str]:
    """The keys of conditions. The address is that of the connection: what a proxy says of others is not believed."""
    identity = call.identity
    context = {
        conditions.CURRENT_TIME: iso_seconds(call.clock.now()),
        conditions.SECURE_TRANSPORT: "true" if identity.secure_transport else "false",
    }
    if identity.source_ip:
        context[conditions.SOURCE_IP] = identity.source_ip
    return context
