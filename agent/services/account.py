"""Accounts own resources (SPEC R1); access keys sign their calls."""

from __future__ import annotations

import secrets
import string

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.core.clock import Clock, SystemClock
from agent.core.errors import InvalidParameter, NotFound
from agent.core.identity import Credential, Identity
from agent.services import sts
from agent.services.context import Caller
from agent.store.schema import AccessKey, Account
from agent.store.secrets import Sealer
from agent.store.store import Store

_ALPHABET = string.ascii_letters + string.digits
STATUSES = ("Active", "Inactive")


def ensure_default_account(session: Session, clock: Clock) -> Account:
    """The account of a host that never made another; created at the first start."""
    found = session.scalar(select(Account).where(Account.is_default))
    if found is not None:
        return found
    account = Account(id=new_number(), name="default", is_default=True, created_at=clock.now())
    session.add(account)
    session.flush()
    return account


def new_number() -> str:
    """Of an account: 16 digits, the first not 0, for clients read it as a number, too."""
    return str(secrets.randbelow(9 * 10**15) + 10**15)


def owns_host(session: Session, account_id: str) -> bool:
    """Whether it is the default account, whose owner the host belongs to."""
    found = session.get(Account, account_id)
    return found is not None and found.is_default


def create_access_key(caller: Caller, *, user_name: str | None = None) -> tuple[AccessKey, str]:
    """A new key of the caller's account (or of a user of it) and its secret, which is shown only now."""
    _check_user(user_name)
    secret = _word(30)
    key = AccessKey(
        id="LTAI" + _word(20),
        account_id=caller.account_id,
        user_name=user_name or None,
        secret=caller.services.sealer.seal(secret),
        active=True,
        created_at=caller.services.clock.now(),
    )
    caller.session.add(key)
    caller.session.flush()
    return key, secret


def list_access_keys(caller: Caller, *, user_name: str | None = None) -> list[AccessKey]:
    """The keys of the owner, or of one user, oldest first."""
    _check_user(user_name)
    mine = select(AccessKey).where(
        AccessKey.account_id == caller.account_id, AccessKey.user_name == (user_name or None)
    )
    return list(caller.session.scalars(mine.order_by(AccessKey.created_at, AccessKey.id)))


def update_access_key(caller: Caller, access_key_id: str, *, status: str, user_name: str | None = None) -> None:
    """Switch a key on or off."""
    if status not in STATUSES:
        raise InvalidParameter(
            "Status", status, "it must be Active or Inactive.", code="InvalidParameter.Status.Malformed"
        )
    _get(caller, access_key_id, user_name).active = status == "Active"


def delete_access_key(caller: Caller, access_key_id: str, *, user_name: str | None = None) -> None:
    caller.session.delete(_get(caller, access_key_id, user_name))


class AccessKeys:
    """What the edge checks signatures against, and whose the unix socket is."""

    def __init__(self, store: Store, sealer: Sealer, clock: Clock | None = None) -> None:
        self._store, self._sealer, self._clock = store, sealer, clock or SystemClock()

    def find(self, access_key_id: str, security_token: str) -> Credential | None:
        """The key, also when it is switched off; None for an unknown one. A temporary key comes with its token;
        raises InvalidSecurityToken, or MissingSecurityToken."""
        with self._store.read() as session:
            if security_token or access_key_id.startswith(sts.PREFIX):
                return sts.credential(session, self._sealer, self._clock.now(), access_key_id, security_token)
            key = session.get(AccessKey, access_key_id)
        if key is None:
            return None
        return Credential(
            access_key_id=key.id,
            secret=self._sealer.open(key.secret),
            account_id=key.account_id,
            principal_type="user" if key.user_name else "account",
            principal_name=key.user_name or "",
            active=key.active,
            administrator=key.user_name is None,
        )

    def local_owner(self) -> Identity:
        """The default account's owner; ensure_default_account has made the account."""
        with self._store.read() as session:
            account_id = session.scalars(select(Account.id).where(Account.is_default)).one()
        return Identity(account_id=account_id, administrator=True)


def _get(caller: Caller, access_key_id: str, user_name: str | None) -> AccessKey:
    _check_user(user_name)
    key = caller.session.get(AccessKey, access_key_id)
    if key is None or key.account_id != caller.account_id or key.user_name != (user_name or None):
        raise NotFound("EntityNotExist.User.AccessKey", "UserAccessKeyId", access_key_id)
    return key


def _check_user(user_name: str | None) -> None:
    # Accounts have no users yet: every name is unknown.
    if user_name:
        raise NotFound("EntityNotExist.User", "UserName", user_name)


def _word(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
