"""Trust policies: who may assume a role. Their only action is sts:AssumeRole, and they name principals.

A principal is written `Service:ecs.aliyuncs.com` or `RAM:acs:ram::<account>:root|user/<name>|role/<name>`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from agent.policy import parse as parsing
from agent.policy.model import Policy, PolicyError, Statement

MAX_CHARACTERS = 4096
ECS_SERVICE = "Service:ecs.aliyuncs.com"
ASSUME_ROLE = "sts:AssumeRole"

_SERVICE = re.compile(r"[a-z0-9][a-z0-9.-]{0,127}\Z")
_RAM = re.compile(r"acs:ram::[0-9]{1,20}:(root|user/[A-Za-z0-9._@-]{1,64}|role/[A-Za-z0-9._-]{1,64})\Z")
_KEYS = {"Effect", "Action", "Principal", "Condition", "Sid"}


@lru_cache(maxsize=1024)
def parse(text: str) -> Policy:
    """Raises PolicyError."""
    return Policy(tuple(_statement(where, item) for where, item in parsing.statements(text, MAX_CHARACTERS)))


def document(principals: Iterable[str]) -> str:
    """The text of a trust policy that admits `principals`."""
    by_kind: dict[str, list[str]] = {}
    for principal in principals:
        kind, _, name = principal.partition(":")
        by_kind.setdefault(kind, []).append(name)
    statement = {"Action": ASSUME_ROLE, "Effect": "Allow", "Principal": by_kind}
    return json.dumps({"Statement": [statement], "Version": "1"})


def admits(policy: Policy, principals: Iterable[str], context: Mapping[str, str] | None = None) -> bool:
    """Whether one who is all of `principals` (a user is also its account's root, to a trust policy) may assume."""
    who, given = frozenset(principals), context or {}
    about = [s for s in policy.statements if s.principals & who and all(c.holds(given) for c in s.conditions)]
    return bool(about) and all(statement.allow for statement in about)


def _statement(where: str, item: dict[str, Any]) -> Statement:
    parsing.only_keys(where, item, _KEYS)
    actions = parsing.texts(f"{where}.Action", item.get("Action"))
    if any(action.lower() != ASSUME_ROLE.lower() for action in actions):
        raise PolicyError(f"{where}.Action", f"a trust policy is about {ASSUME_ROLE} only")
    return Statement(
        allow=parsing.effect(where, item),
        actions=actions,
        conditions=parsing.parse_conditions(where, item),
        principals=_principals(f"{where}.Principal", item.get("Principal")),
    )


def _principals(where: str, value: Any) -> frozenset[str]:
    if not isinstance(value, dict) or not value:
        raise PolicyError(where, 'who is trusted? Such as {"Service": ["ecs.aliyuncs.com"]}')
    parsing.only_keys(where, value, {"Service", "RAM"})
    found = set()
    for kind, shape in (("Service", _SERVICE), ("RAM", _RAM)):
        for name in parsing.texts(f"{where}.{kind}", value[kind]) if kind in value else ():
            if not shape.match(name):
                raise PolicyError(f"{where}.{kind}", f"{name!r} names nobody that can be trusted")
            found.add(f"{kind}:{name}")
    return frozenset(found)
