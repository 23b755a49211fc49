"""Whether policies allow a request: an explicit Deny beats every Allow, and what nothing allows is denied."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from agent.policy.match import action_matches, resource_matches
from agent.policy.model import Policy, Request, Statement


class Verdict(enum.Enum):
    ALLOWED = "allowed"
    DENIED = "explicitly denied"
    NOT_ALLOWED = "not allowed"


@dataclass(frozen=True)
class Decision:
    """`policy` and `statement` (its number, from 0): what decided; empty and -1 where nothing did."""

    verdict: Verdict
    policy: str = ""
    statement: int = -1

    @property
    def allowed(self) -> bool:
        return self.verdict is Verdict.ALLOWED

    @property
    def reason(self) -> str:
        """Why, for the one who asked."""
        if self.verdict is Verdict.NOT_ALLOWED:
            return "no policy allows it"
        return f"statement {self.statement + 1} of the policy {self.policy} {self._does} it"

    @property
    def _does(self) -> str:
        return "allows" if self.allowed else "denies"


def applies(statement: Statement, request: Request) -> bool:
    """Whether the statement is about the request at all."""
    action = any(action_matches(pattern, request.action) for pattern in statement.actions)
    resource = any(resource_matches(pattern, request.resource) for pattern in statement.resources)
    return (
        action != statement.not_actions
        and resource != statement.not_resources
        and all(condition.holds(request.context) for condition in statement.conditions)
    )


def decide(policies: Iterable[Policy], request: Request) -> Decision:
    """What all policies of one principal together say."""
    decision = Decision(Verdict.NOT_ALLOWED)
    for policy in policies:
        for number, statement in enumerate(policy.statements):
            if not applies(statement, request):
                continue
            if not statement.allow:
                return Decision(Verdict.DENIED, policy.name, number)
            if not decision.allowed:
                decision = Decision(Verdict.ALLOWED, policy.name, number)
    return decision


def decide_within(policies: Iterable[Policy], limit: Policy | None, request: Request) -> Decision:
    """The same, narrowed: what `limit` (the policy of a session) does not allow is not allowed."""
    decision = decide(policies, request)
    if limit is None or not decision.allowed:
        return decision
    narrowed = decide([limit], request)
    return decision if narrowed.allowed else narrowed
