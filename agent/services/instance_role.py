"""The RAM role of an instance (SPEC I12): programs in the guest act as it, by the metadata service's credentials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Select, select

from agent.core.errors import ApiError, Conflict
from agent.services import instance as instances
from agent.services import role as roles
from agent.services.context import Caller
from agent.store.schema import Instance


@dataclass(frozen=True)
class Outcome:
    """What became of one instance. `role_name`: the one it had."""

    instance_id: str
    role_name: str = ""
    code: str = "200"
    message: str = "success"

    @property
    def success(self) -> bool:
        return self.code == "200"


def attach(caller: Caller, instance_ids: list[str], role_name: str) -> list[Outcome]:
    """Give each instance the role; one that has another keeps it, and its outcome says so.

    Raises what roles.usable_by_ecs does.
    """
    role = roles.usable_by_ecs(caller, role_name)

    def give(instance: Instance) -> Outcome:
        if instance.ram_role_name not in (None, role.name):
            raise Conflict(
                f'The instance "{instance.id}" has the role "{instance.ram_role_name}"; detach it first.',
                code="InvalidOperation.RamRoleAttached",
            )
        instance.ram_role_name = role.name
        return Outcome(instance.id)

    return _each(caller, instance_ids, give)


def detach(caller: Caller, instance_ids: list[str], role_name: str = "") -> list[Outcome]:
    """Take its role, or `role_name`, from each instance. Credentials already given are good until they expire."""

    def take(instance: Instance) -> Outcome:
        had = instance.ram_role_name or ""
        if not had or role_name not in ("", had):
            named = f'the role "{role_name}"' if role_name else "a role"
            raise Conflict(f'The instance "{instance.id}" does not have {named}.', code="InvalidRamRole.NotAttached")
        instance.ram_role_name = None
        return Outcome(instance.id, had)

    return _each(caller, instance_ids, take)


def find(caller: Caller, instance_ids: list[str] | None, role_name: str = "") -> Select[Instance]:
    """The instances named, and those with the role."""
    found = select(Instance).where(Instance.account_id == caller.account_id, Instance.releasing.is_(False))
    if instance_ids is not None:
        found = found.where(Instance.id.in_(instance_ids))
    if role_name:
        found = found.where(Instance.ram_role_name == role_name)
    return found.order_by(Instance.created_at.desc(), Instance.id)


def _each(caller: Caller, instance_ids: list[str], operation: Callable[[Instance], Outcome]) -> list[Outcome]:
    outcomes = []
    for instance_id in dict.fromkeys(instance_ids):
        try:
            outcomes.append(operation(instances.get(caller, instance_id)))
        except ApiError as error:
            outcomes.append(Outcome(instance_id, code=error.code, message=error.message))
    return outcomes
