"""Servers for the tests of the edge."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.api import certificate
from agent.api.edge.audit import AuditLog
from agent.api.edge.authenticate import Authenticator
from agent.api.edge.authorize import ByPolicies
from agent.api.edge.dispatch import Dispatcher
from agent.api.edge.endpoint import Endpoint
from agent.api.edge.registry import RAM, REGISTRY
from agent.api.edge.server import Doors, Server
from agent.api.edge.transfers import Transfers
from agent.api.stored import StoredTokens
from agent.services import account, policy
from agent.services.account import AccessKeys
from tests.api.live import Edge, build
from tests.support.cloud import Cloud

if TYPE_CHECKING:
    from alibabacloud_ecs20140526.client import Client


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


@pytest.fixture
def make_edge(loop: asyncio.AbstractEventLoop) -> Iterator[Callable[..., Edge]]:
    """`make_edge(https="127.0.0.1:0", socket_group="…")`; every user may reach the directories, not the files."""
    made: list[Edge] = []
    with tempfile.TemporaryDirectory(prefix="edge-") as directory:
        Path(directory).chmod(0o711)

        def make(**options: str) -> Edge:
            made.append(build(Path(directory) / str(len(made)), loop, **options))
            return made[-1]

        yield make
        for edge in made:
            edge.close()


@pytest.fixture
def edge(make_edge: Callable[..., Edge]) -> Edge:
    return make_edge()


@pytest.fixture
def address(cloud: Cloud, loop: asyncio.AbstractEventLoop, tmp_path: Path) -> Iterator[str]:
    """Where the cloud's actions are served over http."""
    authorizer = ByPolicies(policy.decide, account.owns_host)
    dispatcher = Dispatcher(REGISTRY, cloud.store, cloud.services, StoredTokens(), authorizer)
    # The cloud's clock decides what is expired, the system's whether a request is of now.
    authenticator = Authenticator(AccessKeys(cloud.store, cloud.services.sealer, cloud.clock), "")
    endpoint = Endpoint(dispatcher, authenticator, AuditLog(tmp_path / "log"))
    doors = Doors(socket=tmp_path / "agent.sock", socket_group="", http="127.0.0.1:0", https="", tls_dir=tmp_path)
    transfers = Transfers(cloud.uploads, cloud.objects)
    routes = [certificate.route(cloud.services.identity), *transfers.routes]
    server = Server(endpoint, doors, routes, [transfers.close])
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
    yield f"127.0.0.1:{server.http_port}"
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)


@pytest.fixture
def key(cloud: Cloud) -> tuple[str, str]:
    made = cloud.call("CreateAccessKey", version=RAM)["AccessKey"]
    return made["AccessKeyId"], made["AccessKeySecret"]


@pytest.fixture
def tea(address: str, key: tuple[str, str]) -> Client:
    """The current SDK, which takes a while to import."""
    from alibabacloud_ecs20140526.client import Client
    from alibabacloud_tea_openapi.models import Config

    config = Config(access_key_id=key[0], access_key_secret=key[1], endpoint=address, protocol="http")
    return Client(config)


@pytest.fixture
def core(address: str, key: tuple[str, str]) -> Any:
    """A function that sends a request of the first SDK."""
    from aliyunsdkcore.client import AcsClient

    client = AcsClient(*key, "local", timeout=20, auto_retry=False)

    def send(request: Any) -> bytes:
        request.set_endpoint(address)
        answer: bytes = client.do_action_with_exception(request)
        return answer

    return send
