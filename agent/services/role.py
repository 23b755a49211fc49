"""RAM roles (SPEC I12): who may assume them, for how long, and the instances that have one."""

from __future__ import annotations

import re
import secrets

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from agent.core.errors import Conflict, EntityConflict, InvalidParameter, NotFound
from agent.policy import trust
from agent.policy.model import PolicyError
from agent.services import policy as policies
from agent.services.context import Caller
from agent.store.schema import Instance, Role

PRINCIPAL = "role"
MIN_SESSION, MAX_SESSION = 3600, 43200  # seconds, of a role's longest session

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


def create(
    caller: Caller, *, name: str, trust_policy: str, description: str = "", max_session_seconds: int = MIN_SESSION
) -> Role:
    if not _NAME.match(name):
        raise InvalidParameter(
            "RoleName",
            name,
            "1-64 letters, digits, '.', '_' and '-', first a letter or digit.",
            code="InvalidParameter.RoleName.InvalidChars",
        )
    taken = select(Role.id).where(Role.account_id == caller.account_id, Role.folded == name.lower())
    if caller.session.scalar(taken) is not None:
        raise EntityConflict(f'The role "{name}" already exists.', code="EntityAlreadyExists.Role")
    now = caller.services.clock.now()
    role = Role(
        id=_new_id(),
        account_id=caller.account_id,
        name=name,
        folded=name.lower(),
        description=policies.check_description(description),
        trust_policy=_checked_trust("AssumeRolePolicyDocument", trust_policy),
        max_session_seconds=_checked_duration("MaxSessionDuration", max_session_seconds),
        created_at=now,
        updated_at=now,
    )
    caller.session.add(role)
    caller.session.flush()
    return role


def get(caller: Caller, name: str, *, code: str = "EntityNotExist.Role") -> Role:
    """Raises NotFound; names are as they were given, case included."""
    found = by_name(caller.session, caller.account_id, name)
    if found is None:
        raise NotFound(code, "RoleName", name)
    return found


def by_name(session: Session, account_id: str, name: str) -> Role | None:
    return session.scalar(select(Role).where(Role.account_id == account_id, Role.name == name))


def find(caller: Caller) -> Select[Role]:
    """The account's roles by name."""
    return select(Role).where(Role.account_id == caller.account_id).order_by(Role.folded)


def update(
    caller: Caller,
    name: str,
    *,
    trust_policy: str | None = None,
    description: str | None = None,
    max_session_seconds: int | None = None,
) -> Role:
    """Change what is given; sessions that were begun go on to their end."""
    role = get(caller, name)
    if trust_policy is not None:
        role.trust_policy = _checked_trust("NewAssumeRolePolicyDocument", trust_policy)
    if description is not None:
        role.description = policies.check_description(description)
    if max_session_seconds is not None:
        role.max_session_seconds = _checked_duration("NewMaxSessionDuration", max_session_seconds)
    role.updated_at = caller.services.clock.now()
    return role


def delete(caller: Caller, name: str) -> None:
    """Its sessions end at once. Raises EntityConflict while it has policies or an instance has it."""
    role = get(caller, name)
    if policies.attached(caller, PRINCIPAL, role.id):
        raise EntityConflict(
            f'The role "{name}" still has policies; detach them first.', code="DeleteConflict.Role.Policy"
        )
    users = select(Instance.id).where(
        Instance.account_id == caller.account_id, Instance.ram_role_name == role.name, ~Instance.releasing
    )
    found = list(caller.session.scalars(users.order_by(Instance.id)))
    if found:
        shown = ", ".join(found[:5]) + (" …" if len(found) > 5 else "")
        raise EntityConflict(
            f'The role "{name}" is attached to the instances {shown}; detach it first.',
            code="DeleteConflict.Role.Instance",
        )
    caller.session.delete(role)


def arn(role: Role) -> str:
    return f"acs:ram::{role.account_id}:role/{role.name}"


def admits(role: Role, *principals: str, context: dict[str, str] | None = None) -> bool:
    """Whether its trust policy lets one who is all of `principals` assume it."""
    return trust.admits(trust.parse(role.trust_policy), principals, context)


def usable_by_ecs(caller: Caller, role_name: str) -> Role:
    """The role, to be an instance's; raises NotFound, or Conflict when it does not trust ECS."""
    role = get(caller, role_name, code="InvalidRamRole.NotFound")
    if not admits(role, trust.ECS_SERVICE):
        raise Conflict(
            f'The role "{role_name}" does not trust ecs.aliyuncs.com: its trust policy must name that service.',
            code="InvalidRamRole.NotEcsRole",
        )
    return role


def _checked_trust(parameter: str, text: str) -> str:
    try:
        trust.parse(text)
    except PolicyError as error:
        raise InvalidParameter(parameter, "…", f"{error}.", code="MalformedPolicyDocument") from None
    return text


def _checked_duration(parameter: str, seconds: int) -> int:
    if not MIN_SESSION <= seconds <= MAX_SESSION:
        why = f"{MIN_SESSION}-{MAX_SESSION} seconds are possible."
        raise InvalidParameter(parameter, seconds, why, code=f"InvalidParameter.{parameter}")
    return seconds


def _new_id() -> str:
    return "3" + "".join(secrets.choice("0123456789") for _ in range(17))
