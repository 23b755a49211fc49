"""RAM policies (SPEC R3): an account's own and the system's, and to whom they are attached."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from agent.core.errors import EntityConflict, InvalidParameter, NotFound, QuotaExceeded
from agent.core.identity import Identity
from agent.policy import parse, system
from agent.policy.evaluate import Decision, Verdict, decide_within
from agent.policy.model import Policy as Parsed
from agent.policy.model import PolicyError, Request
from agent.services.context import Caller
from agent.store.schema import Policy, PolicyAttachment

SYSTEM, CUSTOM = "System", "Custom"
VERSION = "v1"
MAX_ATTACHED = 20  # to one principal: every call of it is checked against all of them
SYSTEM_SINCE = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)

_NAME = re.compile(r"[A-Za-z0-9-]{1,128}\Z")


@dataclass(frozen=True)
class Described:
    """A policy of either type."""

    name: str
    type: str
    description: str
    document: str
    created_at: dt.datetime
    updated_at: dt.datetime


def create(caller: Caller, *, name: str, document: str, description: str = "") -> Described:
    """A policy of the account's own."""
    if not _NAME.match(name):
        why = "1-128 letters, digits and hyphens."
        raise InvalidParameter("PolicyName", name, why, code="InvalidParameter.PolicyName.InvalidChars")
    check_description(description)
    check_document("PolicyDocument", document)
    taken = caller.session.get(Policy, (caller.account_id, name.lower())) is not None
    if taken or name.lower() in {known.lower() for known in system.POLICIES}:
        raise EntityConflict(f'The policy "{name}" already exists.', code="EntityAlreadyExists.Policy")
    now = caller.services.clock.now()
    policy = Policy(
        account_id=caller.account_id,
        folded=name.lower(),
        name=name,
        description=description,
        document=document,
        created_at=now,
        updated_at=now,
    )
    caller.session.add(policy)
    caller.session.flush()
    return _custom(policy)


def get(caller: Caller, type_: str, name: str) -> Described:
    """Raises NotFound; names are as they were given, case included."""
    if type_ == SYSTEM and name in system.POLICIES:
        return _system(system.POLICIES[name])
    return _custom(_own(caller, name) if type_ == CUSTOM else _missing(name))


def find(caller: Caller, type_: str = "") -> list[Described]:
    """All policies, or those of one type: the system's first, then by name."""
    found = [] if type_ == CUSTOM else [_system(one) for one in system.POLICIES.values()]
    if type_ != SYSTEM:
        own = select(Policy).where(Policy.account_id == caller.account_id).order_by(Policy.folded)
        found += [_custom(one) for one in caller.session.scalars(own)]
    return found


def delete(caller: Caller, name: str) -> None:
    """Raises EntityConflict while it is attached to anyone."""
    policy = _own(caller, name)
    used = attachments(caller, CUSTOM, name)
    if used:
        raise EntityConflict(
            f'The policy "{name}" is attached to {used} principals; detach it first.', code="DeleteConflict.Policy.Role"
        )
    caller.session.delete(policy)


def attachments(caller: Caller, type_: str, name: str) -> int:
    """To how many principals of the account the policy is attached."""
    attached = (
        select(func.count())
        .select_from(PolicyAttachment)
        .where(
            PolicyAttachment.account_id == caller.account_id,
            PolicyAttachment.policy_type == type_,
            PolicyAttachment.policy_folded == name.lower(),
        )
    )
    return caller.session.scalar(attached) or 0


def attach(caller: Caller, principal_type: str, principal_id: str, type_: str, name: str) -> None:
    """Raises EntityConflict when it is attached already."""
    policy = get(caller, type_, name)
    held = caller.session.scalars(_attached(caller.account_id, principal_type, principal_id)).all()
    if any((one.policy_type, one.policy_folded) == (policy.type, policy.name.lower()) for one in held):
        code = f"EntityAlreadyExists.{principal_type.capitalize()}.Policy"
        raise EntityConflict(f'The policy "{name}" is attached already.', code=code)
    if len(held) >= MAX_ATTACHED:
        code = f"LimitExceeded.{principal_type.capitalize()}.Policy"
        raise QuotaExceeded(f"At most {MAX_ATTACHED} policies can be attached to one {principal_type}.", code=code)
    caller.session.add(
        PolicyAttachment(
            account_id=caller.account_id,
            principal_type=principal_type,
            principal_id=principal_id,
            policy_type=policy.type,
            policy_folded=policy.name.lower(),
            attached_at=caller.services.clock.now(),
        )
    )
    caller.session.flush()


def detach(caller: Caller, principal_type: str, principal_id: str, type_: str, name: str) -> None:
    """Raises NotFound when it is not attached."""
    policy = get(caller, type_, name)
    key = (caller.account_id, principal_type, principal_id, policy.type, policy.name.lower())
    found = caller.session.get(PolicyAttachment, key)
    if found is None:
        raise NotFound(f"EntityNotExist.{principal_type.capitalize()}.Policy", "PolicyName", name)
    caller.session.delete(found)


def attached(caller: Caller, principal_type: str, principal_id: str) -> list[tuple[Described, dt.datetime]]:
    """The policies of a principal and since when, oldest first."""
    rows = caller.session.scalars(_attached(caller.account_id, principal_type, principal_id))
    return [(_of(caller.session, row), row.attached_at) for row in rows]


# ------------------------------------------------------------------------------ deciding


def decide(session: Session, identity: Identity, request: Request) -> Decision:
    """What the policies of who calls say; those of a role within the policy of its session."""
    limit = None
    if identity.session is None:
        return Decision(Verdict.NOT_ALLOWED)
    if identity.session.policy:
        limit = parse.policy(identity.session.policy, "of the session")
    held = _parsed(session, identity.account_id, "role", identity.session.role_id)
    return decide_within(held, limit, request)


def _parsed(session: Session, account_id: str, principal_type: str, principal_id: str) -> list[Parsed]:
    rows = session.scalars(_attached(account_id, principal_type, principal_id))
    described = [_of(session, row) for row in rows]
    return [parse.policy(one.document, one.name) for one in described]


def check_document(parameter: str, text: str, *, code: str = "MalformedPolicyDocument") -> Parsed:
    """The parsed document; raises InvalidParameter that says where it is wrong."""
    try:
        return parse.policy(text)
    except PolicyError as error:
        raise InvalidParameter(parameter, "…", f"{error}.", code=code) from None


def check_description(text: str) -> str:
    """Up to 1024 characters, as everywhere in RAM."""
    if len(text) > 1024:
        raise InvalidParameter(
            "Description", f"{text[:20]}…", "at most 1024 characters.", code="InvalidParameter.Description.Length"
        )
    return text


def _attached(account_id: str, principal_type: str, principal_id: str) -> Select[PolicyAttachment]:
    return (
        select(PolicyAttachment)
        .where(
            PolicyAttachment.account_id == account_id,
            PolicyAttachment.principal_type == principal_type,
            PolicyAttachment.principal_id == principal_id,
        )
        .order_by(PolicyAttachment.attached_at, PolicyAttachment.policy_type, PolicyAttachment.policy_folded)
    )


def _of(session: Session, row: PolicyAttachment) -> Described:
    if row.policy_type == CUSTOM:
        return _custom(session.get_one(Policy, (row.account_id, row.policy_folded)))
    return _system(_SYSTEM_FOLDED[row.policy_folded])


def _own(caller: Caller, name: str) -> Policy:
    found = caller.session.get(Policy, (caller.account_id, name.lower()))
    return found if found is not None and found.name == name else _missing(name)


def _missing(name: str) -> Policy:
    raise NotFound("EntityNotExist.Policy", "PolicyName", name)


def _custom(row: Policy) -> Described:
    return Described(row.name, CUSTOM, row.description, row.document, row.created_at, row.updated_at)


_SYSTEM_FOLDED = {name.lower(): policy for name, policy in system.POLICIES.items()}


def _system(policy: system.SystemPolicy) -> Described:
    return Described(policy.name, SYSTEM, policy.description, policy.document, SYSTEM_SINCE, SYSTEM_SINCE)
