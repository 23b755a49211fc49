"""The interactive serial console of an instance (SPEC L7): one user at a time, told who and since when."""

from __future__ import annotations

import datetime as dt
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.config import Config
from agent.core import states
from agent.core.clock import Clock, iso_seconds
from agent.core.errors import Conflict, IncorrectInstanceStatus
from agent.core.protocols import Console, Hypervisor
from agent.jobs.translate import domain_name
from agent.services import instance as instances
from agent.services.console import without_symbols
from agent.services.context import Caller

EARLIER_BYTES = 4096  # shown to who attaches


@dataclass
class Session:
    """One user's hold of one console. `reason`: why it ended, empty when the user left."""

    user: str
    since: dt.datetime
    reason: str = ""
    taken_over: bool = False
    console: Console | None = None
    over: threading.Event = field(default_factory=threading.Event)


class SerialConsoles:
    """Who uses which console of this agent. Thread-safe."""

    def __init__(self, hypervisor: Hypervisor, clock: Clock) -> None:
        self._hypervisor, self._clock = hypervisor, clock
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}  # by domain name
        self._opening: dict[str, threading.Lock] = {}

    def holder(self, domain: str) -> Session | None:
        """Who uses the console, if anybody does."""
        with self._lock:
            return self._sessions.get(domain)

    def check_free(self, instance_id: str, domain: str) -> None:
        """Raises Conflict, saying by whom and since when, if somebody uses the console."""
        found = self.holder(domain)
        if found is not None:
            raise Conflict(
                f'The serial console of the instance "{instance_id}" is in use by {found.user} since '
                f"{iso_seconds(found.since)}. Force takes it over.",
                code="InvalidOperation.ConsoleInUse",
            )

    def open(self, instance_id: str, domain: str, user: str, force: bool) -> Session:
        """Hold the console. Raises Conflict unless `force`, DriverError when there is none to be had."""
        with self._lock:
            opening = self._opening.setdefault(domain, threading.Lock())
        with opening:
            if force:
                self._take_away(domain, user)
            self.check_free(instance_id, domain)
            session = Session(user, self._clock.now())
            session.console = self._hypervisor.open_console(
                domain, force=force, ended=lambda reason: self._ended(domain, session, reason)
            )
            with self._lock:
                if not session.over.is_set():
                    self._sessions[domain] = session
            return session

    def _take_away(self, domain: str, user: str) -> None:
        found = self.holder(domain)
        if found is not None and found.console is not None:
            found.reason, found.taken_over = f"{user} took the console over", True
            found.console.close()

    def _ended(self, domain: str, session: Session, reason: str) -> None:
        session.reason = session.reason or reason
        with self._lock:
            session.over.set()
            if self._sessions.get(domain) is session:
                del self._sessions[domain]


class SerialLines:
    """The consoles by instance, for pages whose opener was let in before."""

    def __init__(self, config: Config, hypervisor: Hypervisor, consoles: SerialConsoles) -> None:
        self._config, self._hypervisor, self._consoles = config, hypervisor, consoles

    def holder(self, instance_id: str) -> Session | None:
        """Who uses the console, if anybody does."""
        return self._consoles.holder(domain_name(self._config, instance_id))

    def take(self, instance_id: str, user: str, force: bool) -> Session:
        """As SerialConsoles.open."""
        return self._consoles.open(instance_id, domain_name(self._config, instance_id), user, force)

    def earlier(self, instance_id: str) -> bytes:
        """The last output, as harmless text for a terminal: its answers to old questions would be typed now."""
        tail = self._hypervisor.console_tail(self._config.console_log(instance_id), EARLIER_BYTES)
        return without_symbols(tail).replace(b"\n", b"\r\n")


def open_console(caller: Caller, instance_id: str, user: str, *, force: bool) -> str:
    """A token for the bytes of the serial line. `user`: how the holder is called to others.

    Raises IncorrectInstanceStatus, or Conflict when somebody uses it already.
    """
    instance = instances.get(caller, instance_id)
    if instance.status not in states.ALLOWED["watch"]:
        raise IncorrectInstanceStatus(instance_id, instance.status, states.ALLOWED["watch"])
    services = caller.services
    domain = domain_name(services.config, instance_id)
    if not force:
        services.consoles.check_free(instance_id, domain)
    return services.tunnels.issue(*_stream(services.consoles, instance_id, domain, user, force))


def _stream(
    consoles: SerialConsoles, instance_id: str, domain: str, user: str, force: bool
) -> tuple[Callable[[], socket.socket], str, Callable[[], str]]:
    """What a tunnel needs: how to connect, what it is, and why it ended."""
    held: list[Session] = []

    def dial() -> socket.socket:
        held.append(consoles.open(instance_id, domain, user, force))
        console = held[0].console
        assert console is not None
        return console.stream

    return dial, f"the serial console of {instance_id}", lambda: held[0].reason
