"""What every service works with: who asks, in which transaction, and the agent's shared parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.orm import Session

from agent.config import Config
from agent.core.clock import Clock
from agent.core.instance_types import InstanceType
from agent.core.protocols import Builder, Hypervisor, Network
from agent.store.secrets import Sealer
from agent.store.store import Store


class Runner(Protocol):
    """The job runner, as far as services may know it."""

    def wake(self) -> None:
        """Look for new jobs. Call after the commit."""

    def wait(self, job_id: str, timeout: float) -> bool:
        """Wait until the job has ended (well or badly); False on time-out."""


@dataclass(frozen=True)
class Services:
    """The agent's shared parts, wired in agent/app.py. Services read from the drivers, they never change through them."""

    config: Config
    clock: Clock
    store: Store
    sealer: Sealer
    runner: Runner
    hypervisor: Hypervisor
    network: Network
    builder: Builder
    instance_types: dict[str, InstanceType]


@dataclass(frozen=True)
class Caller:
    """On whose behalf a service acts, and where: one transaction of one request."""

    session: Session
    account_id: str
    request_id: str
    services: Services
