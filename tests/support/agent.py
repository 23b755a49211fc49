"""A real agent process in a directory of its own, beside the host's: own prefix, socket, libvirtd and network.

Its catalogue serves the tiny image from the tests' cache (built by the real recipe when it is missing there).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.claims import claim
from tests.support.public_addresses import own_pool
from tests.support.waiting import wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
ECS, VPC, RAM, STS, HOST = "2014-05-26", "2016-04-28", "2015-05-01", "2015-04-01", "2026-11-01"


class CallFailed(Exception):
    """An error answer."""

    def __init__(self, status: int, answer: dict[str, Any]) -> None:
        super().__init__(f"{status} {answer.get('Code')}: {answer.get('Message')}")
        self.status, self.code, self.answer = status, answer.get("Code", ""), answer


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class AgentProcess:
    """`start()`, `call(...)`, `kill()`, `start()` again ... `close()` removes everything it made."""

    def __init__(self, libvirt_uri: str, **settings: Any) -> None:
        self._claimed = contextlib.ExitStack()
        claimed = self._claimed.enter_context(claim())
        claimed.uses_libvirt(libvirt_uri)
        self.prefix, self.root = claimed.prefix, claimed.directory
        # Several agents run at once, and the host can lead an address to one of them only.
        pool = self._claimed.enter_context(own_pool())
        self.config = self.root / "agent.toml"
        self.settings: dict[str, Any] = {
            "data_dir": str(self.root / "data"),
            "run_dir": str(self.root / "run"),
            "log_dir": str(self.root / "log"),
            "catalogue_dir": str(REPOSITORY / "tests/support/catalogue"),
            "prefix": self.prefix,
            "libvirt_uri": libvirt_uri,
            "uplink": "none",
            "http": "",
            "minimum_disk_gib": {"system": 1},
            "public_addresses": [pool],
            "disk_reserve_gib": 0.25,  # a nearly full disk of the tests' host is not what they are about
            **settings,
        }
        self.environment: dict[str, str] = {}
        self.module = "agent.main"  # what is run
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.root / "run/agent.sock"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._write_config()
        with (self.root / "agent.out").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, "run", "--config", str(self.config)],
                cwd=REPOSITORY,
                env=os.environ | self.environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        wait_for("the agent's answer", self._answers, 60, every=0.02)

    def _write_config(self) -> None:
        lines = [f"{k} = {json.dumps(v)}" for k, v in self.settings.items() if not isinstance(v, dict)]
        for name, table in self.settings.items():
            lines += _table(name, table) if isinstance(table, dict) else []
        self.config.write_text("\n".join(lines) + "\n")

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, f"the agent ended: {self.output()[-3000:]}"
        try:
            self.call("DescribeRegions")
        except OSError:
            return False
        return True

    def output(self) -> str:
        return (self.root / "agent.out").read_text(errors="replace")

    def call(self, action: str, version: str = ECS, **params: Any) -> dict[str, Any]:
        """One unsigned call over the unix socket; lists become `Name.1`, … Raises CallFailed."""
        from urllib.parse import urlencode

        connection = self.connect()
        try:
            headers = {
                "x-acs-action": action,
                "x-acs-version": version,
                "Content-Type": "application/x-www-form-urlencoded",
            }
            connection.request("POST", "/", urlencode(flat(params)), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise CallFailed(response.status, answer)
        return answer

    def connect(self) -> http.client.HTTPConnection:
        """A connection to its socket, for requests that `call` would not make."""
        return _UnixConnection(self.socket)

    def kill(self) -> None:
        """SIGKILL: as a crash."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def died(self, seconds: float = 120) -> None:
        """Wait until the agent has ended by itself (a fault was injected)."""
        assert self.process
        self.process.wait(seconds)
        self.process = None

    def close(self) -> None:
        self.stop()
        subprocess.run(
            [sys.executable, "-m", "agent.main", "remove", "--config", str(self.config)], cwd=REPOSITORY, check=True
        )
        self._claimed.close()

    # ------------------------------------------------------------------------ what tests do often

    def instance(self, instance_id: str) -> dict[str, Any] | None:
        found = self.call("DescribeInstances", InstanceIds=json.dumps([instance_id]))["Instances"]["Instance"]
        return found[0] if found else None

    def status(self, instance_id: str) -> str | None:
        found = self.instance(instance_id)
        return found["Status"] if found else None

    def wait_status(self, instance_id: str, status: str | None, seconds: float = 120) -> None:
        """Wait until the instance is `status`; None: until it is gone."""
        wait_for(f"{instance_id} {status}", lambda: self.status(instance_id) == status, seconds)

    def wait_jobs(self, seconds: float = 120) -> None:
        """Wait until no job is unfinished."""

        def idle() -> bool:
            jobs = self.call("DescribeJobs", HOST, PageSize=100)["Jobs"]["Job"]
            return all(job["Status"] in ("Succeeded", "Failed", "Cancelled") for job in jobs)

        wait_for("all jobs' end", idle, seconds)

    def wait_collected(self) -> None:
        """Wait until the jobs that are nobody's have ended, too: the collection of layers."""

        def idle() -> bool:
            with contextlib.closing(sqlite3.connect(f"file:{self.root}/data/ecs.db?mode=ro", uri=True)) as database:
                query = "SELECT count(*) FROM jobs WHERE state NOT IN ('succeeded', 'failed', 'cancelled')"
                return bool(database.execute(query).fetchone()[0] == 0)

        wait_for("the end of collections", idle, every=0.02)

    def ensure_tiny_image(self) -> None:
        self.ensure_image("tiny_x64")

    def ensure_image(self, image_id: str) -> None:
        """Built by its recipe, or taken from the cache of the tests."""
        if self.call("BuildImage", HOST, ImageId=image_id)["JobId"]:
            self.wait_jobs(900)
        image = self.call("DescribeImages", ImageId=image_id)["Images"]["Image"]
        assert image, self.output()[-3000:]
        assert image[0]["Status"] == "Available", self.output()[-3000:]

    def run_instance(self, **params: Any) -> str:
        """RunInstances of the smallest guest; its id."""
        defaults = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small", "Amount": 1}
        return self.call("RunInstances", **(defaults | params))["InstanceIdSets"]["InstanceIdSet"][0]


def _table(name: str, table: dict[str, Any]) -> list[str]:
    """A table of TOML, with the tables in it behind it."""
    lines = [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items() if not isinstance(v, dict))]
    for key, inner in table.items():
        lines += _table(f"{name}.{key}", inner) if isinstance(inner, dict) else []
    return lines


def flat(params: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Parameters as they go over the wire: lists as `Name.1`, structures as `Name.Field`."""
    wire: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, dict):
            wire |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            wire |= flat({str(n): item for n, item in enumerate(value, 1)}, f"{prefix}{name}.")
        else:
            wire[prefix + name] = str(value)
    return wire


@contextlib.contextmanager
def running_agent(
    libvirt_uri: str, *, prepare: Callable[[Path], None] = lambda data: None, **settings: Any
) -> Iterator[AgentProcess]:
    """`prepare` is given the directory of its data before it starts."""
    agent = AgentProcess(libvirt_uri, **settings)
    try:
        prepare(agent.root / "data")
        agent.start()
        yield agent
    finally:
        agent.close()
