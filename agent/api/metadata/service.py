"""The HTTP service of every VPC at 100.100.100.200. VPC and source address, which guests cannot forge, say who asks."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from aiohttp import http_exceptions, web

from agent.api.metadata.answer import Answer, Answers, Question, refusal
from agent.api.metadata.limits import Guard, Limits, Sources
from agent.core.addresses import METADATA_ADDRESS
from agent.core.protocols import Network

log = logging.getLogger(__name__)
http_log = logging.getLogger(__name__ + ".http")

PORT = 80
WORKERS = 4
CLOSE_SECONDS = 2.0  # for answers that are under way
MAX_LINE = 4 << 10  # bytes of the request's first line, and of each header
MAX_NOTED = 100  # characters of a path


def _about_our_code(record: logging.LogRecord) -> bool:
    """What is no HTTP is a guest's business: it has its answer, and shall not fill the host's log."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, http_exceptions.HttpProcessingError)


@dataclass
class _Site:
    """One VPC's listener and what came in by it."""

    listener: asyncio.Server
    server: web.Server
    guards: set[Guard] = field(default_factory=set)

    def abort(self) -> None:
        """Close everything at once."""
        self.listener.close()
        for guard in list(self.guards):
            guard.abort()

    async def close(self) -> None:
        """Answer what was asked, for a short while, then close everything."""
        self.listener.close()
        self.server.pre_shutdown()
        await self.server.shutdown(CLOSE_SECONDS)
        self.abort()


class MetadataService:
    """A RouterService. `answers` may block."""

    name = "metadata"

    def __init__(self, network: Network, answers: Answers, limits: Limits | None = None) -> None:
        self._network, self._answers = network, answers
        self._sources = Sources(limits or Limits())
        self._workers: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        if not http_log.filters:
            http_log.addFilter(_about_our_code)
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="metadata")

    async def stop(self) -> None:
        if self._workers is not None:
            await asyncio.to_thread(self._workers.shutdown)
            self._workers = None

    async def open(self, vpc_id: str) -> _Site:
        """Listen in the VPC."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await self._answer(vpc_id, request)

        server = web.Server(
            handle,
            access_log=None,
            logger=http_log,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            lingering_time=1,
            auto_decompress=False,
        )
        guards: set[Guard] = set()
        loop = asyncio.get_running_loop()
        sock = await loop.run_in_executor(self._workers, self._network.listen, vpc_id, METADATA_ADDRESS, PORT)
        try:
            listener = await loop.create_server(
                lambda: Guard(server(), vpc_id, self._sources, guards), sock=sock, backlog=32
            )
        except BaseException:
            sock.close()
            raise
        return _Site(listener, server, guards)

    # ------------------------------------------------------------------------ answering

    async def _answer(self, vpc_id: str, request: web.BaseRequest) -> web.Response:
        question = Question(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
        )
        try:
            answer = await asyncio.get_running_loop().run_in_executor(
                self._workers, self._respond, vpc_id, request.remote or "", question
            )
        except Exception:
            log.exception("cannot answer %s in %s", request.remote, vpc_id)
            answer = refusal(500)
        return _response(answer)

    def _respond(self, vpc_id: str, source: str, question: Question) -> Answer:
        answer = self._answers.to(vpc_id, source, question)
        # Whatever the guest sent, it becomes one short line.
        what = f"{ascii(question.method)[1:-1][:10]} {ascii(question.path)[1:-1][:MAX_NOTED]}"
        self._network.note(source, what if answer.status == 200 else f"{what} {answer.status}", vpc_id)
        return answer


def _response(answer: Answer) -> web.Response:
    if isinstance(answer.body, bytes):
        response = web.Response(body=answer.body, content_type="application/octet-stream")
    else:
        response = web.Response(text=answer.body, content_type="text/plain", charset="utf-8")
    response.set_status(answer.status)
    response.headers.update(answer.headers)
    response.headers["Server"] = "ecs"
    response.force_close()
    return response
