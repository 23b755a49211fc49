"""What the metadata service hands out that is secret: credentials of the role, and tokens (SPEC I11, I12)."""

from __future__ import annotations

import datetime as dt
import threading

from sqlalchemy.orm import Session as Database

from agent.core.clock import Clock
from agent.core.identity import Session
from agent.policy import trust
from agent.services import role as roles
from agent.services import sts
from agent.services.sts import Temporary
from agent.store.schema import Instance, Role
from agent.store.secrets import Sealer
from agent.store.store import Store

LIFE = dt.timedelta(hours=6)
RENEW_BEFORE = dt.timedelta(minutes=30)  # programs ask again when theirs are about to expire
MAX_TOKEN_SECONDS = 21600

_TOKEN = "metadata"


def role_of(database: Database, instance: Instance) -> Role | None:
    """The instance's role, if it has one that still trusts ECS."""
    if not instance.ram_role_name:
        return None
    role = roles.by_name(database, instance.account_id, instance.ram_role_name)
    return role if role is not None and roles.admits(role, trust.ECS_SERVICE) else None


class RoleCredentials:
    """Credentials by instance, the same ones until it is time for new ones. Thread-safe."""

    def __init__(self, store: Store, sealer: Sealer, clock: Clock) -> None:
        self._store, self._sealer, self._clock = store, sealer, clock
        self._lock = threading.Lock()
        self._given: dict[tuple[str, str], tuple[Temporary, dt.datetime]] = {}  # by instance and role, and when

    def of(self, instance_id: str) -> tuple[Temporary, dt.datetime] | None:
        """The credentials of the instance's role and when they were made; None without a role."""
        with self._store.read() as session:
            instance = session.get(Instance, instance_id)
            role = role_of(session, instance) if instance else None
        if role is None:
            return None
        now = self._clock.now()
        with self._lock:
            self._given = {key: kept for key, kept in self._given.items() if kept[0].expires_at > now}
            kept = self._given.get((instance_id, role.id))
            if kept is None or kept[0].expires_at - now < RENEW_BEFORE:
                made = sts.issue(self._sealer, role, Session(role.id, instance_id), now + LIFE)
                kept = self._given[(instance_id, role.id)] = (made, now)
        return kept


class Tokens:
    """Tokens of the metadata service. Nothing of them is stored; each is good for one instance and its time."""

    def __init__(self, sealer: Sealer, clock: Clock) -> None:
        self._sealer, self._clock = sealer, clock

    def issue(self, instance_id: str, seconds: int) -> str:
        expires = self._clock.now() + dt.timedelta(seconds=seconds)
        return self._sealer.seal_claims(_TOKEN, {"instance": instance_id, "expires": expires.timestamp()})

    def good(self, instance_id: str, token: str) -> bool:
        claims = self._sealer.open_claims(_TOKEN, token)
        if claims is None or claims["instance"] != instance_id:
            return False
        return bool(self._clock.now().timestamp() < claims["expires"])
