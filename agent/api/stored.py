"""What the edge needs of the store: access keys, and the answers kept for ClientTokens."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.core.identity import Credential, Identity
from agent.services import account
from agent.store.schema import Account, ClientToken
from agent.store.secrets import Sealer
from agent.store.store import Store


class StoredCredentials:
    """Access keys of the store; the local administrators act as the default account's owner."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._store, self._sealer = store, sealer

    def find(self, access_key_id: str, security_token: str) -> Credential | None:
        """No key here is temporary, so a request with a security token matches none."""
        if security_token:
            return None
        with self._store.read() as session:
            return account.find_credential(session, self._sealer, access_key_id)

    def local_owner(self) -> Identity:
        with self._store.read() as session:
            owner = session.scalars(select(Account).where(Account.is_default)).one()
            return Identity(account_id=owner.id, principal_name=owner.name, administrator=True)


class StoredTokens:
    """ClientToken answers, in the transaction of the call they belong to (SPEC G5)."""

    def find(self, session: Session, account_id: str, action: str, token: str) -> tuple[str, dict[str, Any]] | None:
        found = session.get(ClientToken, (account_id, action, token))
        return (found.parameters_digest, found.response) if found else None

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
