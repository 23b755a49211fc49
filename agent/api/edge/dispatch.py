"""From an authenticated request to its answer: parameters, permission, one transaction, hooks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.api.edge import idempotency, params
from agent.api.edge.authorize import Authorizer, ByPolicies
from agent.api.edge.call import Call, UnitOfWork
from agent.api.edge.errors import UnsupportedParameter
from agent.api.edge.idempotency import TokenStore
from agent.api.edge.params import Params, RegionParams
from agent.api.edge.registry import Action, Registry
from agent.core.clock import Clock, SystemClock
from agent.core.errors import DryRunOperation, InvalidParameter, NotFound
from agent.core.identity import Identity

logger = logging.getLogger(__name__)

# Sent by clients with every request; no action reads them as its own.
_COMMON = idempotency.NOT_COMPARED | {
    "ownerid",
    "owneraccount",
    "regionid",
    "resourceownerid",
    "resourceowneraccount",
}


@dataclass
class Dispatcher:
    """Runs actions of `registry`. Thread-safe: handlers run in whatever thread calls `dispatch`."""

    registry: Registry
    unit_of_work: UnitOfWork
    services: Any
    tokens: TokenStore
    authorizer: Authorizer = field(default_factory=ByPolicies)
    region_id: str = "local"
    clock: Clock = field(default_factory=SystemClock)

    def dispatch(
        self,
        action: Action,
        wire_params: Mapping[str, str],
        identity: Identity,
        request_id: str,
        touched: list[str] | None = None,
        host: str = "",
    ) -> dict[str, Any]:
        """The answer, without RequestId; raises ApiError. What a failed call changed is rolled back.

        The resources that permission was asked for are appended to `touched`, for the audit log.
        """
        parsed = params.parse(action.params, wire_params)
        self._check_region(parsed)
        _note_unknown(action, wire_params, request_id)
        dry_run = _flag(wire_params, "DryRun")
        if dry_run and not action.dry_run and action.access == "write":
            raise UnsupportedParameter(f"{action.name} does not support the parameter DryRun; nothing was done.")
        call = self._call(action, identity, request_id, host)
        with call.transaction():
            resources = action.resources(call, parsed)
            if touched is not None:
                touched += resources
            self.authorizer.check(call, action.ram, resources)
            if dry_run and action.dry_run:
                action.handler(call, parsed)
                raise DryRunOperation
            token = _named(wire_params, "ClientToken") if action.idempotent else None
            if not token:
                return action.handler(call, parsed)
            return self._once(call, action, parsed, wire_params, idempotency.checked(token))

    def permit(self, action: Action, wire_params: Mapping[str, str], identity: Identity, request_id: str) -> None:
        """Raises what `dispatch` would raise if `identity` may not do `action` (any more); nothing is done."""
        parsed = params.parse(action.params, wire_params)
        call = self._call(action, identity, request_id)
        with call.transaction():
            self.authorizer.check(call, action.ram, action.resources(call, parsed))

    def _call(self, action: Action, identity: Identity, request_id: str, host: str = "") -> Call:
        return Call(
            request_id=request_id,
            action=action.name,
            version=action.version,
            identity=identity,
            services=self.services,
            unit_of_work=self.unit_of_work,
            authorizer=self.authorizer,
            region_id=self.region_id,
            host=host,
            product=action.product,
            access=action.access,
            clock=self.clock,
        )

    def _once(
        self, call: Call, action: Action, parsed: Params, wire_params: Mapping[str, str], token: str
    ) -> dict[str, Any]:
        # The transaction holds the write lock from here on, so two requests with one token cannot both find nothing.
        session = call.session
        wanted = idempotency.digest(wire_params, salt=f"{call.account_id}/{token}")
        stored = self.tokens.find(session, call.account_id, action.name, token)
        if stored is not None:
            idempotency.check_same(stored[0], wanted, token)
            return stored[1]
        response = action.handler(call, parsed)
        self.tokens.save(session, call.account_id, action.name, token, wanted, response, self.clock.now())
        return response

    def _check_region(self, parsed: Params) -> None:
        if isinstance(parsed, RegionParams) and parsed.region_id and parsed.region_id != self.region_id:
            raise NotFound("InvalidRegionId.NotFound", "RegionId", parsed.region_id)


def _named(wire_params: Mapping[str, str], name: str) -> str | None:
    wanted = name.lower()
    return next((value for key, value in wire_params.items() if key.lower() == wanted), None)


def _flag(wire_params: Mapping[str, str], name: str) -> bool:
    value = (_named(wire_params, name) or "false").lower()
    if value not in ("true", "false"):
        raise InvalidParameter(name, value, "it must be true or false.")
    return value == "true"


def _note_unknown(action: Action, wire_params: Mapping[str, str], request_id: str) -> None:
    # Public clients send much that means nothing here; a typing mistake should still be findable.
    known = params.known_names(action.params) | action.ignored | _COMMON
    unknown = sorted(name for name in wire_params if name.split(".")[0].lower() not in known)
    if unknown:
        logger.info("%s: %s ignores unknown parameters %s", request_id, action.name, ", ".join(unknown)[:500])
