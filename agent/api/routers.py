"""What the agent serves inside VPCs, on addresses of their routers: wherever there is one, as long as it is there."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from agent.core.errors import DriverError
from agent.core.protocols import Network

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0


class Site(Protocol):
    """One service in one VPC."""

    def abort(self) -> None:
        """Close everything at once."""

    async def close(self) -> None:
        """Answer what was asked, for a short while, then close everything."""


class RouterService(Protocol):
    """`name`: what guests lack without it, for the log."""

    name: str

    async def start(self) -> None: ...

    async def open(self, vpc_id: str) -> Site:
        """Serve in the VPC; DriverError or OSError if that cannot be now."""

    async def stop(self) -> None:
        """All sites are closed. Repeatable."""


class RouterServices:
    """Keeps a site of each service in each VPC that has a router: the network driver tells which."""

    def __init__(self, network: Network, services: Sequence[RouterService]) -> None:
        self._network, self._services = network, services
        self._lock = threading.Lock()
        self._routers: set[str] = set()  # VPCs whose router is there
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._sites: dict[tuple[str, str], Site] = {}  # by service and VPC
        self._failures: dict[tuple[str, str], str] = {}  # why there is no site
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve in every VPC that has a router now or later."""
        for service in self._services:
            await service.start()
        self._loop = asyncio.get_running_loop()
        self._network.on_router(self._router)
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Stop listening and close all connections. Repeatable."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        await asyncio.gather(*(site.close() for site in self._sites.values()))
        self._sites.clear()
        for service in self._services:
            await service.stop()

    def _router(self, vpc_id: str, present: bool) -> None:
        """From any thread: the VPC's router is there, or about to go."""
        assert self._loop is not None
        with self._lock:
            (self._routers.add if present else self._routers.discard)(vpc_id)
        self._loop.call_soon_threadsafe(self._changed.set)

    async def _keep(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self._follow()
            except Exception:
                log.exception("cannot serve in all VPCs")
            try:
                async with asyncio.timeout(RETRY_SECONDS if self._failures else None):
                    await self._changed.wait()
            except TimeoutError:
                log.debug("trying again to serve %s", ", ".join(map(" in ".join, self._failures)))

    async def _follow(self) -> None:
        services = {service.name: service for service in self._services}
        with self._lock:
            wanted = {(name, vpc_id) for vpc_id in self._routers for name in services}
        for key in self._sites.keys() - wanted:
            self._sites.pop(key).abort()  # it had no guests any more
        self._failures = {key: why for key, why in self._failures.items() if key in wanted}
        for key in sorted(wanted - self._sites.keys()):
            name, vpc_id = key
            try:
                self._sites[key] = await services[name].open(vpc_id)
                self._failures.pop(key, None)
            except (DriverError, OSError) as error:
                if self._failures.get(key) != str(error):
                    log.warning("no %s in %s: %s; it will be tried again", name, vpc_id, error)
                self._failures[key] = str(error)
