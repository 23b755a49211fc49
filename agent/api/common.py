"""What several nouns' actions share: tags on the wire, actions of two versions, changes that wait to be effective."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from agent.api.edge.call import Call
from agent.api.edge.errors import UnsupportedParameter
from agent.api.edge.params import Filter, Tag, parse_wire_time
from agent.api.edge.registry import ECS, VPC, Handler, action
from agent.core.errors import InvalidParameter
from agent.store.schema import Job

EFFECTIVE_SECONDS = 5.0  # how long a change of rules waits to be in force before it is answered

H = TypeVar("H", bound=Handler)


def in_both_versions(name: str, **declared: Any) -> Callable[[H], H]:
    """Declare an action of the ECS and of the VPC version with one handler."""

    def declare(handler: H) -> H:
        for version in (ECS, VPC):
            action(name, version=version, **declared)(handler)
        return handler

    return declare


def given_tags(tags: Iterable[Tag]) -> list[tuple[str, str]]:
    """Tags to be set: one without a value has the empty one."""
    return [(tag.key, tag.value or "") for tag in tags]


def tag_filters(tags: Iterable[Tag]) -> list[tuple[str, str | None]]:
    """Tags to filter by: without a value the key alone counts."""
    return [(tag.key, tag.value) for tag in tags]


def ecs_tags(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Tags in an answer of the ECS version."""
    return {"Tag": [{"TagKey": key, "TagValue": value} for key, value in pairs]}


def vpc_tags(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Tags in an answer of the VPC version, which names them differently."""
    return {"Tag": [{"Key": key, "Value": value} for key, value in pairs]}


def effective_when_answered(call: Call, job: Job) -> None:
    """Answer only when `job` is done, or after 5 s: the caller shall find the new rules in force."""
    runner, job_id = call.services.runner, job.id

    def wait() -> None:
        runner.wake()
        runner.wait(job_id, EFFECTIVE_SECONDS)

    call.after_commit(wait)


def creation_times(filters: Sequence[Filter]) -> dict[str, dt.datetime]:
    """Of a list whose Filter.N.Key are CreationStartTime and CreationEndTime, by key. Raises InvalidParameter."""
    found: dict[str, dt.datetime] = {}
    for number, one in enumerate(filters, 1):
        if one.key not in ("CreationStartTime", "CreationEndTime"):
            why = "it must be CreationStartTime or CreationEndTime."
            raise InvalidParameter(f"Filter.{number}.Key", one.key, why, code="InvalidFilterKey.NotSupported")
        try:
            found[one.key] = parse_wire_time(one.value)
        except ValueError as error:
            code = "InvalidFilterValue.NotSupported"
            raise InvalidParameter(f"Filter.{number}.Value", one.value, str(error), code=code) from None
    return found


def refuse(action_name: str, **given: object) -> None:
    """Raise UnsupportedParameter for the first of the parameters (by public name) that was given."""
    for name, value in given.items():
        if value:
            raise UnsupportedParameter(f'The parameter {name} "{value}" of {action_name} is not supported here.')
