"""What a policy document says, checked and ready to be evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


class PolicyError(ValueError):
    """A document that cannot be a policy; one line that names the place, such as `Statement[0].Action`."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}" if where else why)


@dataclass(frozen=True)
class Condition:
    """One operator on one key. `test` says of the request's value whether it is one of those wanted."""

    operator: str
    key: str  # in lower case
    negated: bool
    test: Callable[[str], bool] = field(repr=False, compare=False)
    values: tuple[str, ...] = ()  # as written, to be told

    def holds(self, context: Mapping[str, str]) -> bool:
        """A key that the request does not have equals nothing: a positive condition fails, its negation holds."""
        value = context.get(self.key)
        return (value is not None and self.test(value)) != self.negated


@dataclass(frozen=True)
class Statement:
    """`not_actions`, `not_resources`: all but those named."""

    allow: bool
    actions: tuple[str, ...]
    not_actions: bool = False
    resources: tuple[str, ...] = ("*",)
    not_resources: bool = False
    conditions: tuple[Condition, ...] = ()
    principals: frozenset[str] = frozenset()  # of trust policies: `Service:ecs.aliyuncs.com`, `RAM:acs:ram::1:root`


@dataclass(frozen=True)
class Policy:
    """A parsed document; `name` is how it is told of in decisions."""

    statements: tuple[Statement, ...]
    name: str = ""


@dataclass(frozen=True)
class Request:
    """What somebody wants to do. `context`: condition keys in lower case, `acs:sourceip` and so on."""

    action: str  # ecs:StartInstance
    resource: str  # acs:ecs:local:1000000000000001:instance/i-…
    context: Mapping[str, str] = field(default_factory=dict)
