"""Serving pages, our own scripts and styles, and the files of browser programs that Debian packages install.

`GET /console/<page>`, `GET /console/static/<file>`, `GET /console/assets/<name>/<path>` and, to exchange the one-time
token of a page's URL for a session, `POST /console/<page>/open`.
"""

from __future__ import annotations

import functools
import html
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from agent.api.edge.errors import as_api_error
from agent.api.web.access import PageAccess, Refused

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
MAX_BODY = 64 << 10  # bytes of a page's request
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_STATIC_NAME = re.compile(r"[a-z0-9-]+\.(js|css|svg)\Z")
_ASSET_PART = re.compile(r"[A-Za-z0-9_@+-][A-Za-z0-9_.@+-]*\Z")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src {styles}; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
Respond = Callable[..., Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Asset:
    """A directory that a Debian package installs."""

    directory: Path
    package: str


@dataclass(frozen=True)
class Page:
    """`<name>.html` of our own files; `assets`: what it cannot do without; `styles`: the policy's `style-src`."""

    name: str
    assets: tuple[str, ...] = ()
    styles: str = "'self'"


def secured(response: web.Response | web.FileResponse, styles: str = "'self'") -> web.Response | web.FileResponse:
    """The response with the headers that everything for browsers has."""
    response.headers["Content-Security-Policy"] = _POLICY.format(styles=styles)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Server"] = "ecs"
    return response


def answer(content: Mapping[str, Any], status: int = 200) -> web.StreamResponse:
    """JSON for a page's script."""
    return secured(web.json_response(dict(content), status=status))


def refusal(error: Refused) -> web.StreamResponse:
    return answer({"Code": error.code, "Message": error.message}, error.status)


def guarded(respond: Respond) -> Respond:
    """For requests of a page's script: of our own origin only, and every failure is readable. The request is the
    last positional argument."""

    @functools.wraps(respond)
    async def run(*arguments: Any, **named: Any) -> web.StreamResponse:
        try:
            check_origin(arguments[-1])
            return await respond(*arguments, **named)
        except Refused as error:
            return refusal(error)
        except Exception as error:
            known = as_api_error(error, "console")
            return refusal(Refused(known.status, known.code, known.message))

    return run


def check_origin(request: web.Request) -> None:
    """A page of another origin has no business here; raises Refused. Programs that are no browsers send none."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("Host", ""):
        raise Refused(403, "ForeignOrigin", "This was asked by a page of another site.")


async def body_of(request: web.Request) -> dict[str, Any]:
    """The JSON object that a page's script sent; raises Refused."""
    malformed = Refused(400, "MalformedRequest", "The request is not a small JSON object.")
    if (request.content_length or 0) > MAX_BODY:
        raise malformed
    try:
        content = json.loads(await request.read())
    except ValueError:
        raise malformed from None
    if not isinstance(content, dict):
        raise malformed
    return content


class Pages:
    """The routes of all pages. `assets`: directories by the name they are served under."""

    def __init__(self, access: PageAccess, pages: Sequence[Page], assets: Mapping[str, Asset]) -> None:
        self._access = access
        self._pages = {page.name: page for page in pages}
        self._assets = dict(assets)

    @property
    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/console/static/{file}", self._static),
            web.get("/console/assets/{name}/{path:.+}", self._asset),
            *(web.get(f"/console/{name}", functools.partial(self._page, page)) for name, page in self._pages.items()),
            *(web.post(f"/console/{name}/open", functools.partial(self._open, page=name)) for name in self._pages),
        ]

    async def _page(self, page: Page, request: web.Request) -> web.StreamResponse:
        for name in page.assets:
            if not self._assets[name].directory.is_dir():
                return _sorry(503, self._missing(name))
        return _file(STATIC / f"{page.name}.html", page.styles)

    async def _static(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["file"]
        path = STATIC / name
        if not _STATIC_NAME.match(name) or not path.is_file():
            return _sorry(404, "There is no such file.")
        return _file(path)

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            return _sorry(404, "There is no such file.")
        if not asset.directory.is_dir():
            return _sorry(503, self._missing(request.match_info["name"]))
        parts = request.match_info["path"].split("/")
        # Judged by its text alone: packages link to files of other packages, so what a name resolves to says nothing.
        path = asset.directory.joinpath(*parts) if all(map(_ASSET_PART.match, parts)) else None
        if path is None or path.suffix not in TYPES or path.suffix == ".html" or not path.is_file():
            return _sorry(404, "There is no such file.")
        return _file(path)

    def _missing(self, name: str) -> str:
        asset = self._assets[name]
        return (
            f"This page needs the package {asset.package} on the host: sudo apt-get install --no-install-recommends "
            f"{asset.package} (there is no directory {asset.directory})."
        )

    @guarded
    async def _open(self, request: web.Request, page: str) -> web.StreamResponse:
        session = self._access.open(page, str((await body_of(request)).get("Token", "")))
        logger.info("page %s for %s opened from %s", page, session.instance_id, request.remote or "unix")
        return answer({"Session": self._access.seal(session), "InstanceId": session.instance_id})


def _file(path: Path, styles: str = "'self'") -> web.StreamResponse:
    return secured(web.FileResponse(path, headers={"Content-Type": TYPES[path.suffix]}), styles)


def _sorry(status: int, text: str) -> web.StreamResponse:
    content = f"<!doctype html><html lang=en><title>ECS console</title><p>{html.escape(text)}</p></html>\n"
    return secured(web.Response(status=status, text=content, content_type="text/html"))
