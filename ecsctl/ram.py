"""Lists of RAM, which come in pages by marker, and the names in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ecsctl.completion import Completer, from_agent

if TYPE_CHECKING:
    from ecsctl.client import Client, Json

_PAGE = 100


def listed(client: Client, action: str, wrapper: str, **parameters: object) -> Iterator[Json]:
    """All items of a list; `wrapper` is the path to it, e.g. `Roles.Role`."""
    from ecsctl.client import RAM, unwrap

    marker: object = None
    while True:
        answer = client.call(action, RAM, MaxItems=_PAGE, Marker=marker, **parameters)
        yield from unwrap(answer, wrapper)
        marker = answer.get("Marker")
        if not answer.get("IsTruncated") or not marker:
            return


def role_names() -> Completer:
    def names(client: Client) -> list[str]:
        return [str(one["RoleName"]) for one in listed(client, "ListRoles", "Roles.Role")]

    return from_agent("role", names)


def policy_names(policy_type: str | None = None) -> Completer:
    def names(client: Client) -> list[str]:
        found = listed(client, "ListPolicies", "Policies.Policy", PolicyType=policy_type)
        return [str(one["PolicyName"]) for one in found]

    return from_agent(f"policy {policy_type or ''}", names)
