"""What several nouns' actions share: tags on the wire, actions of two versions, changes that wait to be effective."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from agent.api.edge.call import Call
from agent.api.edge.errors import UnsupportedParameter
from agent.api.edge.params import Tag
from agent.api.edge.registry import ECS, VPC, Handler, action
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


def refuse(action_name: str, **given: object) -> None:
    """Raise UnsupportedParameter for the first of the parameters (by public name) that was given."""
    for name, value in given.items():
        if value:
            raise UnsupportedParameter(f'The parameter {name} "{value}" of {action_name} is not supported here.')
