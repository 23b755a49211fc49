"""What the API edge asks of the store: access keys, the local owner, answers by ClientToken."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from agent.core.errors import ServiceUnavailable
from agent.core.identity import Credential, Identity
from agent.store.schema import AccessKey, Account, ClientToken
from agent.store.secrets import Sealer
from agent.store.store import Store

TOKEN_LIFE = dt.timedelta(days=1)


class StoredCredentials:
    """Access keys of the store; each account's keys administer it (users with policies come with RAM, SPEC R2)."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer

    def find(self, access_key_id: str, security_token: str) -> Credential | None:
        """None for an unknown key, and for a lasting key that comes with a security token."""
        if security_token:
            return None
        with self._store.read() as session:
            row = session.get(AccessKey, access_key_id)
            if row is None:
                return None
            return Credential(
                access_key_id=row.id,
                secret=self._sealer.open(row.secret),
                account_id=row.account_id,
                principal_type="account" if row.user_name is None else "user",
                principal_name=row.user_name or "",
                active=row.active,
                administrator=True,
            )

    def local_owner(self) -> Identity:
        """The owner of the default account; raises ServiceUnavailable before there is one."""
        with self._store.read() as session:
            account = session.scalar(select(Account).where(Account.is_default))
        if account is None:
            raise ServiceUnavailable("This agent has no account yet: it was not set up.")
        return Identity(account_id=account.id, principal_name=account.name, administrator=True)


class StoredTokens:
    """Answers to creating calls, kept for a day (SPEC G5)."""

    def find(self, session: Session, account_id: str, action: str, token: str) -> tuple[str, dict[str, Any]] | None:
        row = session.get(ClientToken, (account_id, action, token))
        return None if row is None else (row.parameters_digest, row.response)

    def save(
        self,
        session: Session,
        account_id: str,
        action: str,
        token: str,
        digest: str,
        response: dict[str, Any],
        now: dt.datetime,
    ) -> None:
        session.execute(delete(ClientToken).where(ClientToken.created_at < now - TOKEN_LIFE))
        session.add(
            ClientToken(
                account_id=account_id,
                action=action,
                token=token,
                parameters_digest=digest,
                response=response,
                created_at=now,
            )
        )
