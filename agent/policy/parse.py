"""From the text of a policy document to a Policy; whatever is not understood is refused, with its place."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, NoReturn

from agent.policy import conditions
from agent.policy.match import ARN_PARTS
from agent.policy.model import Condition, Policy, PolicyError, Statement

MAX_CHARACTERS = 6144
MAX_STATEMENTS = 100

_ACTION = re.compile(r"[A-Za-z0-9*?-]{1,32}:[A-Za-z0-9*?]{1,128}\Z")
_STATEMENT_KEYS = {"Effect", "Action", "NotAction", "Resource", "NotResource", "Condition", "Sid"}


@lru_cache(maxsize=1024)
def policy(text: str, name: str = "") -> Policy:
    """A policy of permissions. Raises PolicyError."""
    return Policy(tuple(_permission(where, item) for where, item in statements(text)), name)


def statements(text: str, longest: int = MAX_CHARACTERS) -> list[tuple[str, dict[str, Any]]]:
    """The statements of any kind of document, each with its place. Raises PolicyError."""
    if len(text) > longest:
        raise PolicyError("", f"the document has {len(text)} characters; {longest} are allowed")
    document = _json(text)
    if not isinstance(document, dict):
        raise PolicyError("", "the document must be a JSON object")
    only_keys("", document, {"Version", "Statement"})
    if document.get("Version") != "1":
        raise PolicyError("Version", 'it must be "1"')
    found = document.get("Statement")
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_STATEMENTS:
        raise PolicyError("Statement", f"a list of 1 to {MAX_STATEMENTS} statements is expected")
    for number, item in enumerate(found):
        if not isinstance(item, dict):
            raise PolicyError(f"Statement[{number}]", "an object is expected")
    return [(f"Statement[{number}]", item) for number, item in enumerate(found)]


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise PolicyError("", f"not JSON: line {error.lineno} column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise PolicyError("", "not a policy: nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two members of one name only one would count, and not the one that a reader may think of."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise PolicyError("", f"the member {key!r} stands twice in one object")
        made[key] = value
    return made


def _refuse_constant(text: str) -> NoReturn:
    raise PolicyError("", f"{text} is not JSON")


def _permission(where: str, item: dict[str, Any]) -> Statement:
    only_keys(where, item, _STATEMENT_KEYS)
    actions, not_actions = _one_of(where, item, "Action", "NotAction")
    resources, not_resources = _one_of(where, item, "Resource", "NotResource")
    for action in actions:
        check_action(where, action)
    for resource in resources:
        _check_resource(where, resource)
    return Statement(
        allow=effect(where, item),
        actions=actions,
        not_actions=not_actions,
        resources=resources,
        not_resources=not_resources,
        conditions=parse_conditions(where, item),
    )


# ------------------------------------------------------------------------------ parts, also of trust policies


def only_keys(where: str, item: dict[str, Any], known: set[str]) -> None:
    for key in item:
        if key not in known:
            raise PolicyError(where, f"the member {key!r} is not known; known are {', '.join(sorted(known))}")


def effect(where: str, item: dict[str, Any]) -> bool:
    """True: Allow."""
    found = item.get("Effect")
    if found not in ("Allow", "Deny"):
        raise PolicyError(f"{where}.Effect", "it must be Allow or Deny")
    return bool(found == "Allow")


def texts(where: str, value: Any) -> tuple[str, ...]:
    """A string, or a list of at least one."""
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(one, str) and one for one in items):
        raise PolicyError(where, "a string or a list of strings is expected, none of them empty")
    return tuple(items)


def check_action(where: str, action: str) -> None:
    if action != "*" and not _ACTION.match(action):
        raise PolicyError(f"{where}.Action", f"{action!r} is no action, such as ecs:DescribeInstances or ecs:*")


def parse_conditions(where: str, item: dict[str, Any]) -> tuple[Condition, ...]:
    """All of them must hold."""
    where = f"{where}.Condition"
    block = item.get("Condition", {})
    if not isinstance(block, dict):
        raise PolicyError(where, "an object of operators is expected")
    made = []
    for operator, keys in block.items():
        if not isinstance(keys, dict) or not keys:
            raise PolicyError(f"{where}.{operator}", "an object of keys is expected")
        for key, value in keys.items():
            made.append(conditions.condition(where, operator, key, _values(f"{where}.{operator}.{key}", value)))
    return tuple(made)


def _values(where: str, value: Any) -> list[str]:
    """Strings; numbers and booleans may be written as such."""
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(one, str | int | float) for one in items):
        raise PolicyError(where, "a value or a list of values is expected")
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in items]


def _one_of(where: str, item: dict[str, Any], name: str, negation: str) -> tuple[tuple[str, ...], bool]:
    given = [key for key in (name, negation) if key in item]
    if len(given) != 1:
        raise PolicyError(where, f"give either {name} or {negation}")
    return texts(f"{where}.{given[0]}", item[given[0]]), given[0] == negation


def _check_resource(where: str, resource: str) -> None:
    parts = resource.split(":", ARN_PARTS - 1)
    if resource != "*" and (len(parts) != ARN_PARTS or parts[0] != "acs" or not parts[1] or not parts[4]):
        example = "acs:ecs:*:*:instance/*"
        raise PolicyError(f"{where}.Resource", f"{resource!r} is neither * nor an ARN, such as {example}")
