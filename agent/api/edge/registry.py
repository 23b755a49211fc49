"""The table of actions: each is declared once, beside its handler.

    @action(
        "StartInstance", version=ECS, params=StartInstanceParams,
        resource="instance/{instance_id}", access="write", dry_run=True,
    )
    def start_instance(call: Call, p: StartInstanceParams) -> dict[str, Any]:
        call.services.instances.start(call.session, call.account_id, p.instance_id)
        call.after_commit(call.services.runner.wake)
        return {}

    @action("DescribeVpcs", version=ECS, params=DescribeVpcsParams, resource="vpc/*", access="read")
    @action("DescribeVpcs", version=VPC, params=DescribeVpcsParams, resource="vpc/*", access="read")
    def describe_vpcs(call: Call, p: DescribeVpcsParams) -> dict[str, Any]:
        page = paging.page(call.session, select(Vpc).order_by(Vpc.id), p)
        return {"Vpcs": {"Vpc": [describe(v) for v in page.items]}, **page.fields()}

A handler returns the public answer without RequestId: wrapper objects around lists, None for what is left out.
It raises errors of agent.core.errors. It runs in a thread, and for `access="write"` in one write transaction
that is rolled back whenever it raises.

- `ram`: the RAM action; `<product>:<action>` unless given.
- `resource`: what RAM policies name. A template relative to `acs:<product>:<region>:<account>:` with parameters
  in braces (a list gives one resource each, nothing given gives `*`), a tuple of templates, or a function
  `(call, params) -> list of resources`, which may use `call.session`.
- `idempotent`: honours ClientToken. Never for an answer that carries a secret: the answer is stored.
- `dry_run`: honours DryRun; the handler must change nothing but the database.
- `ignored`: public parameters that mean nothing here; other unknown names are noted in the log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from agent.api.edge.call import Call
from agent.api.edge.params import Params
from agent.core.errors import InvalidAction, InvalidVersion

ECS = "2014-05-26"
VPC = "2016-04-28"
RAM = "2015-05-01"
STS = "2015-04-01"
HOST = "2026-11-01"  # our own additions: what the public API lacks
PRODUCTS = {ECS: "ecs", VPC: "vpc", RAM: "ram", STS: "sts", HOST: "ecs"}

Access = Literal["read", "write"]
ResourceFunction = Callable[[Call, Any], list[str]]
Resource = str | tuple[str, ...] | ResourceFunction
Handler = Callable[[Call, Any], dict[str, Any]]
H = TypeVar("H", bound=Handler)

_BRACES = re.compile(r"\{([a-z0-9_]+)\}")


@dataclass(frozen=True)
class Action:
    """One action of one API version, as declared."""

    name: str
    version: str
    params: type[Params]
    handler: Handler
    ram: str
    resource: Resource
    access: Access
    idempotent: bool = False
    dry_run: bool = False
    ignored: frozenset[str] = frozenset()

    @property
    def product(self) -> str:
        return PRODUCTS[self.version]

    def resources(self, call: Call, params: Params) -> list[str]:
        """The full ARNs that this call touches."""
        if callable(self.resource):
            named = self.resource(call, params)
        else:
            templates = (self.resource,) if isinstance(self.resource, str) else self.resource
            named = [name for template in templates for name in _fill(template, params)]
        return [call.arn(name) for name in named]


class Registry:
    """Actions by version and name. The application has one, REGISTRY; tests make their own."""

    def __init__(self) -> None:
        self._actions: dict[tuple[str, str], Action] = {}
        self._names: dict[str, set[str]] = {}

    def action(
        self,
        name: str,
        *,
        version: str,
        params: type[Params],
        resource: Resource,
        access: Access,
        ram: str = "",
        idempotent: bool = False,
        dry_run: bool = False,
        ignored: tuple[str, ...] = (),
    ) -> Callable[[H], H]:
        """Declare the decorated function as the handler; raises ValueError for a second one of that name."""

        def declare(handler: H) -> H:
            full = Action(
                name=name,
                version=version,
                params=params,
                handler=handler,
                ram=ram or f"{PRODUCTS[version]}:{name}",
                resource=resource,
                access=access,
                idempotent=idempotent,
                dry_run=dry_run,
                ignored=frozenset(item.lower() for item in ignored),
            )
            self._add(full)
            return handler

        return declare

    def find(self, name: str, version: str) -> Action:
        """Raises InvalidVersion or InvalidAction (as the provider: an unknown pair is an unknown action)."""
        found = self._actions.get((version, name))
        if found is not None:
            return found
        if version not in PRODUCTS:
            raise InvalidVersion(f'Specified parameter Version "{version}" is not valid.')
        elsewhere = sorted(self._names.get(name, ()))
        hint = f" It exists in version {', '.join(elsewhere)}." if elsewhere else ""
        raise InvalidAction(
            f'Specified api is not found, please check your url and method: Action "{name}", Version "{version}".{hint}'
        )

    def __iter__(self) -> Iterator[Action]:
        return iter(self._actions.values())

    def _add(self, action: Action) -> None:
        key = (action.version, action.name)
        if key in self._actions:
            raise ValueError(f"action {action.name} of version {action.version} is declared twice")
        unknown = [n for n in _placeholders(action.resource) if n not in action.params.model_fields]
        if unknown:
            raise ValueError(f"action {action.name}: its resource names no parameter of it: {', '.join(unknown)}")
        self._actions[key] = action
        self._names.setdefault(action.name, set()).add(action.version)


REGISTRY = Registry()
action = REGISTRY.action


def _placeholders(resource: Resource) -> list[str]:
    if callable(resource):
        return []
    templates = (resource,) if isinstance(resource, str) else resource
    return [name for template in templates for name in _BRACES.findall(template)]


def _fill(template: str, params: Params) -> list[str]:
    names = _BRACES.findall(template)
    filled = [template]
    for name in names:
        value = getattr(params, name)
        options = [str(v) for v in value] if isinstance(value, list | tuple) else [str(value)] if value else []
        filled = [text.replace("{" + name + "}", option) for text in filled for option in options or ["*"]]
    return filled
