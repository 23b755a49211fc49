"""Who may use a page: a one-time token opens it, then a session belongs to that page, instance and principal.

The token is the fragment of the page's URL, which a browser sends to nobody; the page exchanges it for a session,
once. A session is a sealed text that the page holds in its memory: the agent keeps none, so pages outlive its
restart. It is good for IDLE_SECONDS; each request of the page that asks for it gets a fresh one, until
LONGEST_SECONDS after the page was opened.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web
from pydantic import TypeAdapter

from agent.api.edge.one_time import OneTimeTokens
from agent.core.clock import Clock
from agent.core.errors import Conflict
from agent.core.identity import Identity

IDLE_SECONDS = 30 * 60
LONGEST_SECONDS = 8 * 3600
# A websocket of a browser carries no header of ours but the subprotocol.
SESSION_PROTOCOL = "ecs.session."
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?\Z")


class Seal(Protocol):
    """agent.store.secrets.Sealer is one."""

    def seal(self, secret: str) -> bytes: ...

    def open(self, sealed: bytes) -> str: ...


class Refused(Exception):
    """What the page shall tell its user, with an HTTP status and a code that the page knows."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class PageSession:
    """One opened page. `opened`: seconds since the epoch; `id` tells it from every other."""

    page: str
    instance_id: str
    identity: Identity
    opened: float
    id: str


@dataclass(frozen=True)
class _Sealed:
    """What the page holds. `seen`: when it was sealed, as `opened`."""

    session: PageSession
    seen: float


_SEALED = TypeAdapter(_Sealed)


class PageAccess:
    """Issues tokens and sessions. `base_url`: how browsers reach the agent, empty: as the caller did;
    `local_url`: the agent's own door for browsers on this host, or an empty text."""

    def __init__(
        self, sealer: Seal, clock: Clock, token_seconds: float, base_url: str, local_url: Callable[[], str]
    ) -> None:
        self._sealer, self._clock = sealer, clock
        self._base_url, self._local_url = base_url, local_url
        self._tokens: OneTimeTokens[tuple[str, str, Identity]] = OneTimeTokens(token_seconds)

    def url(self, page: str, instance_id: str, identity: Identity, host: str) -> str:
        """A URL that opens `page` for `instance_id` once. `host`: the caller's Host header. Raises Conflict when
        no browser could reach the agent."""
        base = self._base_url.rstrip("/") or self._caller_url(identity, host)
        return f"{base}/console/{page}#{self._tokens.issue((page, instance_id, identity))}"

    def open(self, page: str, token: str) -> PageSession:
        """The session that `token` is good for; raises Refused."""
        found = self._tokens.take(token)
        if found is None or found[0] != page:
            raise Refused(
                403, "TokenUsed", "This address was used already, or is too old. Ask for a new one: each opens once."
            )
        return PageSession(*found, opened=self._now(), id=secrets.token_hex(8))

    def seal(self, session: PageSession) -> str:
        """The text with which the page names its session, good for IDLE_SECONDS from now."""
        content = _SEALED.dump_json(_Sealed(session, self._now())).decode()
        return self._sealer.seal(content).decode().rstrip("=")

    def session(self, page: str, text: str) -> PageSession:
        """The session that `text` names; raises Refused."""
        ended = Refused(401, "SessionEnded", "This page's session has ended. Ask for a new address of the page.")
        try:
            sealed = _SEALED.validate_json(self._sealer.open((text + "=" * (-len(text) % 4)).encode()))
        except Exception:  # cryptography's own, for whatever is not ours: forged, cut, of another host
            raise ended from None
        session = sealed.session
        if session.page != page or self._now() > min(sealed.seen + IDLE_SECONDS, session.opened + LONGEST_SECONDS):
            raise ended
        return session

    def session_of(self, page: str, request: web.Request) -> PageSession:
        """The session that a page's request carries; raises Refused."""
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        return self.session(page, text if scheme == "Bearer" else _of_websocket(request))

    def seconds_left(self, session: PageSession) -> float:
        """Until the session ends for good."""
        return max(0.0, session.opened + LONGEST_SECONDS - self._now())

    def _caller_url(self, identity: Identity, host: str) -> str:
        if identity.source_ip and _HOST.match(host):
            return f"{'https' if identity.secure_transport else 'http'}://{host}"
        local = self._local_url()
        if not local:
            raise Conflict(
                "Browsers cannot reach this agent: set `http` or `https` in its configuration, and restart it.",
                code="InvalidOperation.NoWebAddress",
            )
        return local

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _of_websocket(request: web.Request) -> str:
    offered = request.headers.get("Sec-WebSocket-Protocol", "").replace(" ", "").split(",")
    return next((p.removeprefix(SESSION_PROTOCOL) for p in offered if p.startswith(SESSION_PROTOCOL)), "")
