"""Keeps the agent running on a host without systemd: what `Restart=always` does elsewhere.

One supervisor per run directory holds a lock on `supervisor.pid`. It restarts the agent whenever it ends, waiting
longer each time it fails at once; SIGTERM and SIGINT stop the agent (guests run on); SIGPWR says that the host goes
down: the guests are shut down in order first. What the agent prints goes to `supervisor.log` in the log directory.
"""

from __future__ import annotations

import asyncio
import ctypes
import enum
import fcntl
import logging
import logging.handlers
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from agent import config as configuration

log = logging.getLogger("ecs.supervise")

PID_FILE = "supervisor.pid"
LOG_FILE = "supervisor.log"
LOG_BYTES = 10 * 1024 * 1024
LOG_FILES = 5
LIBC = ctypes.CDLL(None)  # loaded before any fork: a child must not wait for the loader's lock
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Timing:
    """Seconds. A child that ran for `healthy` is restarted after `first`; else the pause doubles up to `longest`."""

    first: float = 0.5
    longest: float = 30.0
    healthy: float = 10.0
    stop: float = 30.0  # how long the agent may take to end before it is killed


class Ending(enum.Enum):
    STOP = "stop"
    HOST_DOWN = "host down"


def supervise(config_path: Path) -> int:
    """Run the agent with the configuration at `config_path` until a signal ends it. Returns the exit status.

    Raises agent.config.ConfigError for a configuration the agent could not use either.
    """
    config = configuration.load(config_path)
    config.log_dir.mkdir(parents=True, exist_ok=True)
    _log_to(config.log_dir / LOG_FILE)
    # -P: the current directory is no place to import code from.
    program = [sys.executable, "-P", "-m", "agent.main"]
    arguments = ["--config", str(config_path.absolute())]
    return keep_running(
        [*program, "run", *arguments], config.run_dir, before_host_down=[*program, "stop-guests", *arguments]
    )


def keep_running(
    command: Sequence[str], run_dir: Path, *, before_host_down: Sequence[str], timing: Timing | None = None
) -> int:
    """Keep `command` running until SIGTERM, SIGINT or SIGPWR. Returns 0, or 1 if another supervisor holds `run_dir`."""
    run_dir.mkdir(parents=True, exist_ok=True)
    pid_file = _lock(run_dir / PID_FILE)
    if pid_file is None:
        log.error("another supervisor holds %s; stop it first", run_dir / PID_FILE)
        return 1
    with pid_file:
        asyncio.run(_Supervisor(command, before_host_down, timing or Timing()).run())
        pid_file.truncate(0)
    return 0


def _lock(path: Path) -> IO[str] | None:
    """The pid file, locked and written; None if a living process has it. Never unlinked: a lock on a name that can be
    replaced excludes nobody."""
    stream = path.open("a+")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        return None
    stream.truncate(0)
    stream.write(f"{os.getpid()}\n")
    stream.flush()
    return stream


class _Supervisor:
    def __init__(self, command: Sequence[str], before_host_down: Sequence[str], timing: Timing) -> None:
        self._command = command
        self._before_host_down = before_host_down
        self._timing = timing
        self._ending: asyncio.Future[Ending]

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self._ending = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, Ending.STOP)
        loop.add_signal_handler(signal.SIGPWR, self._end, Ending.HOST_DOWN)
        log.info("supervising %s", " ".join(self._command))
        pause = self._timing.first
        while True:
            lasted = await self._one_life()
            if self._ending.done():
                break
            pause = self._timing.first if lasted >= self._timing.healthy else pause
            log.warning("restarting in %.1f s", pause)
            await asyncio.wait({self._ending}, timeout=pause)
            if self._ending.done() and self._ending.result() is Ending.STOP:
                break  # but a host that goes down needs the agent once more: it stops the guests
            pause = min(pause * 2, self._timing.longest)
        log.info("ended: %s", self._ending.result().value)

    def _end(self, how: Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(how)

    async def _one_life(self) -> float:
        """Start the child and wait until it ends, by itself or because we are asked to. Returns its age in seconds."""
        started = time.monotonic()
        child, output = await _spawn(self._command)
        log.info("started, pid %d", child.pid)
        exited = asyncio.create_task(child.wait())
        either: set[asyncio.Future[Any]] = {exited, self._ending}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not exited.done():
            await self._stop(child, exited)
        status = await exited
        await _drain(output)
        log.info("pid %d ended after %.1f s, status %d", child.pid, time.monotonic() - started, status)
        return time.monotonic() - started

    async def _stop(self, child: asyncio.subprocess.Process, exited: asyncio.Task[int]) -> None:
        if self._ending.result() is Ending.HOST_DOWN:
            log.info("host goes down: stopping the guests")
            stopping, output = await _spawn(self._before_host_down)
            log.info("guests stopped, status %d", await stopping.wait())
            await _drain(output)
        if not exited.done():
            child.terminate()
        await asyncio.wait({exited}, timeout=self._timing.stop)
        if not exited.done():
            log.warning("pid %d does not end within %.0f s: killing it", child.pid, self._timing.stop)
            child.kill()


async def _spawn(command: Sequence[str]) -> tuple[asyncio.subprocess.Process, asyncio.Task[None]]:
    """Start `command`; the task copies what it prints to the log until it has closed its output."""
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd="/",
        preexec_fn=_end_with_parent,
    )
    assert child.stdout is not None
    return child, asyncio.create_task(_copy(child.stdout))


def _end_with_parent() -> None:
    """In the child: an agent whose supervisor was killed ends too, so that the next supervisor can start its own."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


async def _drain(output: asyncio.Task[None]) -> None:
    """Let the last lines arrive, but do not wait for a grandchild that keeps the pipe open."""
    await asyncio.wait({output}, timeout=1)
    output.cancel()


async def _copy(stream: asyncio.StreamReader) -> None:
    while True:
        try:
            line = await stream.readuntil()
        except asyncio.IncompleteReadError as end:
            line = end.partial
        except asyncio.LimitOverrunError as overlong:
            line = await stream.readexactly(overlong.consumed)
        if not line:
            return
        log.info("%s", line.decode(errors="replace").rstrip("\n"), extra={"of_child": True})


class _Lines(logging.Formatter):
    """The child's lines as they are: they have their own times."""

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage() if hasattr(record, "of_child") else super().format(record)


def _log_to(path: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES)
    handler.setFormatter(_Lines("%(asctime)s SUPERVISOR %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
