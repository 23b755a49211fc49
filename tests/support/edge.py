"""Calling an action in the test's own process: parameters, permission, transaction and answer as over the wire.

answer = call_action(REGISTRY, services, "RunInstances", {"ImageId": "tiny_x64", "Tag.1.Key": "a"}, store=store)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.api.edge.authorize import Authorizer, ByPolicies
from agent.api.edge.call import UnitOfWork, new_request_id
from agent.api.edge.dispatch import Dispatcher
from agent.api.edge.registry import ECS, Registry
from agent.api.stored import StoredTokens
from agent.core.clock import Clock, SystemClock
from agent.core.identity import Identity

OWNER = Identity(account_id="1234567890123456", principal_name="owner", administrator=True)


def call_action(
    registry: Registry,
    services: Any,
    action: str,
    params: Mapping[str, object] | None = None,
    *,
    store: UnitOfWork,
    version: str = ECS,
    identity: Identity = OWNER,
    region_id: str = "local",
    clock: Clock | None = None,
    authorizer: Authorizer | None = None,
) -> dict[str, Any]:
    """The answer of `action`, without RequestId; raises the ApiError a client would see.

    Values of `params` are written as clients do: True as `true`, numbers in decimals.
    """
    dispatcher = Dispatcher(
        registry=registry,
        unit_of_work=store,
        services=services,
        tokens=StoredTokens(),
        authorizer=authorizer or ByPolicies(),
        region_id=region_id,
        clock=clock or SystemClock(),
    )
    wire = {name: _written(value) for name, value in (params or {}).items()}
    return dispatcher.dispatch(registry.find(action, version), wire, identity, new_request_id())


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
