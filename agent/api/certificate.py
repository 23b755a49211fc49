"""The certificate of identity documents at a plain path: a verifier needs no access key of this cloud."""

from __future__ import annotations

import asyncio

from aiohttp import web

from agent.services.identity import IdentityKey

PATH = "/instance-identity/certificate.pem"


def route(identity: IdentityKey) -> web.RouteDef:
    async def answer(request: web.Request) -> web.Response:
        pem = await asyncio.to_thread(identity.certificate)
        return web.Response(text=pem, content_type="application/x-pem-file", headers={"Server": "ecs"})

    return web.get(PATH, answer)
