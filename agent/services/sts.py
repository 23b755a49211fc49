"""Temporary credentials (STS). Nothing of them is stored: the security token itself, sealed with the host's key, holds
the secret, whose it is and until when. It is worth something only beside its own access key, and only as long as
its role is there."""

from __future__ import annotations

import datetime as dt
import re
import secrets
import string
from dataclasses import dataclass, field

from sqlalchemy.orm import Session as Database

from agent.core.clock import iso_seconds
from agent.core.errors import InvalidParameter, InvalidSecurityToken, MissingSecurityToken, NoPermission, NotFound
from agent.core.identity import Credential, Identity, Session
from agent.services import policy as policies
from agent.services import role as roles
from agent.services.context import Caller
from agent.store.schema import Role
from agent.store.secrets import Sealer

PREFIX = "STS."
MIN_SECONDS, DEFAULT_SECONDS = 900, 3600
MAX_POLICY = 2048  # characters of a session's policy

_KIND = "sts"
_ALPHABET = string.ascii_letters + string.digits
_SESSION_NAME = re.compile(r"[A-Za-z0-9.@_-]{2,64}\Z")
_ROLE_ARN = re.compile(r"acs:ram::(?P<account>[0-9]{1,20}):role/(?P<name>[A-Za-z0-9._-]{1,64})\Z")


@dataclass(frozen=True)
class Temporary:
    """An access key, its secret and the security token that goes with them."""

    access_key_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    expires_at: dt.datetime


@dataclass(frozen=True)
class Assumption:
    """What AssumeRole asks for. `policy` may only narrow what the role allows."""

    role_arn: str
    session_name: str
    seconds: int = DEFAULT_SECONDS
    policy: str = ""
    external_id: str = ""


def assume(caller: Caller, identity: Identity, wanted: Assumption) -> tuple[Role, Temporary]:
    """Credentials of the role, if it trusts the caller. Raises NoPermission when it does not."""
    _check_texts(wanted)
    role = _trusting(caller.session, identity, wanted)
    if not MIN_SECONDS <= wanted.seconds <= role.max_session_seconds:
        why = f"{MIN_SECONDS}-{role.max_session_seconds} seconds are possible with the role {role.name}."
        raise InvalidParameter("DurationSeconds", wanted.seconds, why, code="InvalidParameter.DurationSeconds")
    expires = caller.services.clock.now() + dt.timedelta(seconds=wanted.seconds)
    session = Session(role.id, wanted.session_name, wanted.policy)
    return role, issue(caller.services.sealer, role, session, expires)


def issue(sealer: Sealer, role: Role, session: Session, expires_at: dt.datetime) -> Temporary:
    """Credentials of a role, whoever asked for them."""
    key_id, secret = PREFIX + _word(24), _word(40)
    claims = {
        "key": key_id,
        "secret": secret,
        "role": role.id,
        "session": session.name,
        "policy": session.policy,
        "expires": int(expires_at.timestamp()),
    }
    # The token counts whole seconds; what is told shall be the same.
    return Temporary(key_id, secret, sealer.seal_claims(_KIND, claims), expires_at.replace(microsecond=0))


def credential(database: Database, sealer: Sealer, now: dt.datetime, key_id: str, token: str) -> Credential:
    """The credential that `token` makes of `key_id`; raises MissingSecurityToken or InvalidSecurityToken."""
    if not token:
        raise MissingSecurityToken
    claims = sealer.open_claims(_KIND, token)
    if claims is None:
        raise InvalidSecurityToken("Specified SecurityToken is malformed.")
    if claims["key"] != key_id:
        raise InvalidSecurityToken(
            "Specified SecurityToken mismatch with the AccessKey.", code="InvalidSecurityToken.MismatchWithAccessKey"
        )
    expires = dt.datetime.fromtimestamp(claims["expires"], dt.UTC)
    if now >= expires:
        raise _expired(f"since {iso_seconds(expires)}")
    role = database.get(Role, claims["role"])
    if role is None:
        raise _expired("because its role was deleted")
    return Credential(
        access_key_id=key_id,
        secret=claims["secret"],
        account_id=role.account_id,
        principal_type=roles.PRINCIPAL,
        principal_name=role.name,
        session=Session(role.id, claims["session"], claims["policy"]),
    )


def _trusting(database: Database, identity: Identity, wanted: Assumption) -> Role:
    match = _ROLE_ARN.match(wanted.role_arn)
    if match is None:
        why = "acs:ram::<account id>:role/<name> is expected."
        raise InvalidParameter("RoleArn", wanted.role_arn, why, code="InvalidParameter.RoleArn")
    role = roles.by_name(database, match["account"], match["name"])
    if role is None and match["account"] == identity.account_id:
        raise NotFound("EntityNotExist.Role", "RoleArn", wanted.role_arn)
    context = {"sts:externalid": wanted.external_id} if wanted.external_id else {}
    # Whether another account has such a role is not for everybody to know.
    if role is None or not roles.admits(role, *_principals(identity), context=context):
        raise NoPermission(f"You are not authorized to assume {wanted.role_arn}: its trust policy does not name you.")
    return role


def _principals(identity: Identity) -> list[str]:
    """As whom a trust policy may name the caller: trust in the account is trust in all of it."""
    root = f"RAM:acs:ram::{identity.account_id}:root"
    own = f"RAM:acs:ram::{identity.account_id}:{identity.principal_type}/{identity.principal_name}"
    return [root] if identity.principal_type == "account" else [root, own]


def _check_texts(wanted: Assumption) -> None:
    if not _SESSION_NAME.match(wanted.session_name):
        why = "2-64 letters, digits, '.', '@', '_' and '-'."
        code = "InvalidParameter.RoleSessionName"
        raise InvalidParameter("RoleSessionName", wanted.session_name, why, code=code)
    if wanted.policy:
        if len(wanted.policy) > MAX_POLICY:
            why = f"at most {MAX_POLICY} characters."
            raise InvalidParameter("Policy", "…", why, code="InvalidParameter.PolicySize")
        policies.check_document("Policy", wanted.policy, code="InvalidParameter.PolicyGrammar")


def _expired(why: str) -> InvalidSecurityToken:
    return InvalidSecurityToken(f"Specified SecurityToken is expired, {why}.", code="InvalidSecurityToken.Expired")


def _word(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
