"""A live edge with sample actions, a store of its own, and clients' credentials."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.api.edge.audit import AuditLog
from agent.api.edge.authenticate import Authenticator
from agent.api.edge.dispatch import Dispatcher
from agent.api.edge.endpoint import Endpoint
from agent.api.edge.server import Doors, Server
from agent.api.edge.tunnel import Tunnels, TunnelTable
from agent.api.stored import StoredTokens
from agent.core.clock import SystemClock
from agent.services.account import AccessKeys
from agent.store.schema import AccessKey, Account
from agent.store.secrets import Sealer
from agent.store.store import Store
from tests.api.sample import Sample, sample_registry
from tests.support.fresh_store import fresh_store

ACCOUNT = "1234567890123456"
KEY, SECRET = "LTAItestkey00001", "secret/of+the=test"
OLD_KEY = "LTAItestkey00002"


class ShiftedClock:
    """The system's time and an offset, in seconds."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> dt.datetime:
        return SystemClock().now() + dt.timedelta(seconds=self.offset)


@dataclass
class Edge:
    """A running server and what it was made of."""

    server: Server
    store: Store
    sample: Sample
    clock: ShiftedClock
    tunnels: TunnelTable
    audit_path: Path
    socket: Path
    loop: asyncio.AbstractEventLoop = field(repr=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.http_port}"

    def run(self, coroutine: Any) -> Any:
        """Run in the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def close(self) -> None:
        self.run(self.server.stop())
        self.store.close()


def build(directory: Path, loop: asyncio.AbstractEventLoop, https: str = "", socket_group: str = "") -> Edge:
    """A started server with everything it keeps in `directory`."""
    store = fresh_store(directory / "ecs.db")
    sealer = Sealer(directory / "key")
    clock = ShiftedClock()
    with store.write() as session:
        session.add(Account(id=ACCOUNT, name="owner", is_default=True, created_at=clock.now()))
        session.flush()
        for key, active in ((KEY, True), (OLD_KEY, False)):
            sealed = sealer.seal(SECRET)
            session.add(
                AccessKey(
                    id=key, account_id=ACCOUNT, user_name=None, secret=sealed, active=active, created_at=clock.now()
                )
            )
    sample = Sample()
    dispatcher = Dispatcher(sample_registry(), store, sample, StoredTokens(), clock=clock)
    authenticator = Authenticator(AccessKeys(store, sealer), socket_group, clock)
    audit = AuditLog(directory / "log")
    tunnels = Tunnels(TunnelTable())
    doors = Doors(
        socket=directory / "agent.sock",
        socket_group=socket_group,
        http="127.0.0.1:0",
        https=https,
        tls_dir=directory / "tls",
    )
    endpoint = Endpoint(dispatcher, authenticator, audit)
    server = Server(endpoint, doors, [tunnels.route], [tunnels.close])
    edge = Edge(server, store, sample, clock, tunnels.table, audit.path, directory / "agent.sock", loop)
    edge.run(server.start())
    return edge
