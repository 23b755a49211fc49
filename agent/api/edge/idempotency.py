"""ClientToken (SPEC G5): the same token with the same parameters gets the same answer and no second resource."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from agent.api.edge.masking import is_secret
from agent.core.errors import IdempotentParameterMismatch, InvalidParameter

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

LONGEST_TOKEN = 64
# What differs between a request and its repetition, or says nothing about what is wanted.
NOT_COMPARED = frozenset(
    {
        "accesskeyid",
        "action",
        "clienttoken",
        "dryrun",
        "format",
        "securitytoken",
        "signature",
        "signaturemethod",
        "signaturenonce",
        "signaturetype",
        "signatureversion",
        "timestamp",
        "version",
    }
)


class TokenStore(Protocol):
    """The digest and response of earlier calls, by account, action and token, kept for at least a day."""

    def find(self, session: Session, account_id: str, action: str, token: str) -> tuple[str, dict[str, Any]] | None: ...

    def save(
        self,
        session: Session,
        account_id: str,
        action: str,
        token: str,
        digest: str,
        response: dict[str, Any],
        now: dt.datetime,
    ) -> None: ...


def checked(token: str) -> str:
    """`token`; raises InvalidParameter unless it is 1-64 printable ASCII characters."""
    if not (0 < len(token) <= LONGEST_TOKEN and token.isascii() and token.isprintable()):
        raise InvalidParameter("ClientToken", token, f"it must be 1-{LONGEST_TOKEN} ASCII characters.")
    return token


def digest(params: Mapping[str, str], salt: str) -> str:
    """A digest of what the request asks for. Secrets enter slowly hashed, so that they cannot be guessed from it."""
    compared = {
        name.lower(): _slow(value, salt) if is_secret(name) else value
        for name, value in params.items()
        if name.lower() not in NOT_COMPARED
    }
    text = json.dumps(sorted(compared.items()), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check_same(stored_digest: str, wanted_digest: str, token: str) -> None:
    """Raises IdempotentParameterMismatch when the parameters of the two calls differ."""
    if stored_digest != wanted_digest:
        raise IdempotentParameterMismatch(
            f'The specified parameters are not those of the earlier request with ClientToken "{token}". '
            "Repeat that request unchanged or use a new token."
        )


def _slow(value: str, salt: str) -> str:
    # About 10 ms; the same value is sent twice rarely enough.
    return hashlib.scrypt(value.encode(), salt=salt.encode(), n=4096, r=8, p=1, dklen=32).hex()
