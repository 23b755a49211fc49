"""What every service works with: who asks, in which transaction, and the agent's shared parts."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.orm import Session

from agent.config import Config
from agent.core.clock import Clock
from agent.core.identity import Identity
from agent.core.image_protocols import Builder
from agent.core.instance_types import InstanceType
from agent.core.protocols import Hypervisor, Network, Objects, Storage
from agent.jobs.open_files import OpenFiles
from agent.services.identity import IdentityKey
from agent.store.secrets import Sealer
from agent.store.store import Store

if TYPE_CHECKING:
    from agent.services.serial import SerialConsoles
    from agent.services.upload import Uploads


class Runner(Protocol):
    """The job runner, as far as services may know it. `open_files`: what callers handed over for jobs."""

    @property
    def open_files(self) -> OpenFiles: ...

    def wake(self) -> None:
        """Look for new jobs. Call after the commit."""

    def wait(self, job_id: str, timeout: float) -> bool:
        """Wait until the job has ended (well or badly); False on time-out."""


class Tunnels(Protocol):
    def issue(self, dial: Callable[[], socket.socket], label: str, farewell: Callable[[], str] | None = None) -> str:
        """A token for one stream over a websocket to what `dial` connects to; good for a few seconds.

        `farewell` tells why the far end ended the stream; without it the stream ends as TCP streams do."""


class Pages(Protocol):
    def url(self, page: str, instance_id: str, identity: Identity, host: str) -> str:
        """A URL that opens `page` of the agent once, for `identity`, who reached the agent as `host`; raises Conflict
        when no browser can."""


@dataclass(frozen=True)
class Services:
    """The shared parts, wired in agent/app.py. Services read from drivers, they never change through them; but objects,
    of which nothing stands in the store."""

    version: str
    config: Config
    clock: Clock
    store: Store
    sealer: Sealer
    identity: IdentityKey
    runner: Runner
    hypervisor: Hypervisor
    storage: Storage
    network: Network
    builder: Builder
    objects: Objects
    uploads: Uploads
    instance_types: dict[str, InstanceType]
    tunnels: Tunnels
    consoles: SerialConsoles
    pages: Pages
    problems: Callable[[], list[str]]  # what is not right on this host, one line each
    stalled: Callable[[str], str]  # why the guest of an instance waits, though it runs; empty: it does not
    hash_password: Callable[[str], str]  # to a SHA-512 crypt hash, the only form in which passwords are kept


@dataclass(frozen=True)
class Caller:
    """On whose behalf a service acts, and where: one transaction of one request."""

    session: Session
    account_id: str
    request_id: str
    services: Services
