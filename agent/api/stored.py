"""The answers kept for ClientTokens."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from agent.store.schema import ClientToken

KEPT = dt.timedelta(days=1)  # clients repeat a call within minutes


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
        session.execute(delete(ClientToken).where(ClientToken.created_at < now - KEPT))
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
