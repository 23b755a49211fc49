"""Pages and the files they load: strict headers, nothing outside their directories, packages that are missing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import test_utils, web
from yarl import URL

from agent.api.edge.listen import local_host
from agent.api.web.access import PageAccess
from agent.api.web.pages import STATIC, Asset, Page, Pages
from agent.core.clock import SystemClock
from agent.core.identity import Identity
from agent.store.secrets import Sealer

OWNER = Identity(account_id="1234567890123456", principal_name="owner")
Ask = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def access(tmp_path: Path) -> PageAccess:
    return PageAccess(Sealer(tmp_path / "key"), SystemClock(), 120, "", lambda: "http://127.0.0.1")


@pytest.fixture
def ask(tmp_path: Path, access: PageAccess) -> Ask:
    """One request: (status, headers, text). The package `there` is installed, `gone` is not."""
    there = tmp_path / "there"
    (there / "lib").mkdir(parents=True)
    (there / "lib/a.js").write_text("export const a = 1;")
    (there / "page.html").write_text("<html>")
    (there / ".hidden.js").write_text("hidden")
    (tmp_path / "secret.js").write_text("secret")
    (there / "lib/link.js").symlink_to(tmp_path / "secret.js")
    assets = {"there": Asset(there, "the-package"), "gone": Asset(tmp_path / "gone", "libjs-gone")}
    pages = Pages(access, [Page("vnc", ("there",)), Page("serial", ("gone",))], assets)

    async def run(method: str, path: str, options: dict[str, Any]) -> tuple[int, Any, str]:
        app = web.Application()
        app.add_routes(pages.routes)
        async with test_utils.TestServer(app) as server, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{server.port}{path}"
            target = URL(url, encoded=True)  # as it is, dots and all
            async with session.request(method, target, **options) as response:
                return response.status, response.headers, await response.text()

    return lambda path, method="GET", **options: asyncio.run(run(method, path, options))


def test_a_page_and_its_headers(ask: Ask) -> None:
    status, headers, text = ask("/console/vnc")
    assert (status, text) == (200, (STATIC / "vnc.html").read_text())
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_pages_have_no_inline_script_or_style() -> None:
    for path in STATIC.glob("*.html"):
        text = path.read_text()
        assert "style=" not in text
        assert not re.search(r"\son[a-z]+=", text), path
        assert "<script>" not in text
        assert "http:" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https:" not in text


@pytest.mark.parametrize("path", ["/console/static/session.js", "/console/assets/there/lib/a.js"])
def test_scripts(ask: Ask, path: str) -> None:
    status, headers, text = ask(path)
    assert status == 200
    assert "export" in text
    assert headers["Content-Type"].startswith("text/javascript")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_links_of_packages_are_followed(ask: Ask) -> None:
    assert ask("/console/assets/there/lib/link.js")[::2] == (200, "secret")


@pytest.mark.parametrize(
    "path",
    [
        "/console/static/../pages.py",
        "/console/static/%2e%2e%2fpages.py",
        "/console/static/vnc.html",
        "/console/static/nothing.js",
        "/console/assets/there/../secret.js",
        "/console/assets/there/%2e%2e/secret.js",
        "/console/assets/there/lib/..%2f..%2f..%2fsecret.js",
        "/console/assets/there//etc/passwd",
        "/console/assets/there/%2fetc/passwd",
        "/console/assets/there/.hidden.js",
        "/console/assets/there/page.html",
        "/console/assets/there/lib",
        "/console/assets/there/lib/a.js%00.png",
        "/console/assets/nobody/lib/a.js",
    ],
)
def test_nothing_else_is_served(ask: Ask, path: str) -> None:
    status, _, text = ask(path)
    assert status == 404
    assert "secret" not in text


def test_a_missing_package_is_named(ask: Ask) -> None:
    for path in ("/console/serial", "/console/assets/gone/x.js"):
        status, headers, text = ask(path)
        assert status == 503
        assert "libjs-gone" in text
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_a_token_is_exchanged_once(ask: Ask, access: PageAccess) -> None:
    token = access.url("vnc", "i-1", OWNER, "").partition("#")[2]
    status, headers, text = ask("/console/vnc/open", "POST", json={"Token": token})
    assert status == 200
    assert '"InstanceId": "i-1"' in text
    assert headers["Cache-Control"] == "no-store"
    status, _, text = ask("/console/vnc/open", "POST", json={"Token": token})
    assert status == 403
    assert "used already" in text


def test_another_site_uses_up_no_token(ask: Ask, access: PageAccess) -> None:
    token = access.url("vnc", "i-1", OWNER, "").partition("#")[2]
    origin = {"Origin": "https://evil.example"}
    assert ask("/console/vnc/open", "POST", json={"Token": token}, headers=origin)[0] == 403
    assert ask("/console/vnc/open", "POST", json={"Token": token})[0] == 200


@pytest.mark.parametrize(
    ("listening", "host"),
    [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "[::1]"), ("192.0.2.7", "192.0.2.7"), ("box", "box")],
)
def test_a_browser_on_the_host_finds_the_agent(listening: str, host: str) -> None:
    assert local_host(listening) == host


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"Token": "' + b"x" * (64 << 10) + b'"}'])
def test_malformed_bodies_are_refused(ask: Ask, body: bytes) -> None:
    status, _, text = ask("/console/vnc/open", "POST", data=body)
    assert status == 400
    assert "MalformedRequest" in text
