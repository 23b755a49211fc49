"""Two regions on one machine: agents of their own, the way between them in the hands of the test."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.agent import HOST, RAM, AgentProcess
from tests.support.ports import free_port
from tests.support.waiting import wait_for

THERE = "there"
MIB = 1 << 20


class Line:
    """Forwards connections to a port of loopback. `sent`: bytes that went there; `cut_at`: breaks the line when so many
    have gone, once; `down`: refuses new connections."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.sent, self.cut_at, self.down = 0, 0, False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError):
            if self.down:
                return
            with socket.create_connection(("127.0.0.1", self._target)) as far:
                back = threading.Thread(target=self._back, args=(far, near), daemon=True)
                back.start()
                while piece := near.recv(64 * 1024):
                    far.sendall(piece)
                    self.sent += len(piece)
                    if self.cut_at and self.sent >= self.cut_at:
                        self.cut_at = 0
                        return
                far.shutdown(socket.SHUT_WR)
                back.join()

    def _back(self, far: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := far.recv(64 * 1024):
                near.sendall(piece)
            near.shutdown(socket.SHUT_WR)


@dataclass
class Regions:
    here: AgentProcess
    there: AgentProcess
    line: Line

    def add_image(self, name: str, *mib: int) -> str:
        """An image here with a disk for each number, of so many MiB of noise and nothing behind it."""
        files = []
        for number, size in enumerate(mib):
            path = self.here.root / "imports" / f"{name}-{number}.raw"
            path.write_bytes(os.urandom(size * MIB) + bytes(MIB))
            files.append(str(path))
        made = self.here.call("AdoptGuest", HOST, File=files, ImageName=name)["ImageId"]
        self.here.wait_jobs()
        assert shown(self.here, made)["Status"] == "Available", self.here.output()[-2000:]
        return str(made)

    def copy(self, image_id: str, **more: Any) -> str:
        answer = self.here.call("CopyImage", ImageId=image_id, DestinationRegionId=THERE, **more)
        return str(answer["ImageId"])

    def job(self, image_id: str) -> dict[str, Any]:
        """The newest copy of an image, as the sending side has it."""
        found: dict[str, Any] = self.here.call("DescribeJobs", HOST, ResourceId=[image_id])["Jobs"]["Job"][0]
        return found

    def wait_usable(self, copy_id: str, seconds: float = 120) -> None:
        wait_for("the copy", lambda: (shown(self.there, copy_id) or {}).get("Status") == "Available", seconds)
        for agent in (self.here, self.there):
            agent.wait_jobs()

    def leftovers(self) -> list[str]:
        """Files of copies on both sides that are neither an image's nor anything that was there before."""
        return [str(path) for agent in (self.here, self.there) for path in _temporary(agent)]


def shown(agent: AgentProcess, image_id: str) -> dict[str, Any]:
    """As DescribeImages has it; empty when it is not there."""
    every = "Creating,Waiting,Available,UnAvailable,CreateFailed"
    found = agent.call("DescribeImages", ImageId=image_id, Status=every)["Images"]["Image"]
    return found[0] if found else {}


def contents(agent: AgentProcess, image_id: str) -> list[str]:
    """Hashes of what guests would see of each disk that has a file, by device."""
    found = []
    for path in sorted((agent.root / "data/images").glob(f"{image_id}-*.qcow2")):
        raw = agent.root / "flat"
        subprocess.run(["qemu-img", "convert", "-O", "raw", path, raw], check=True)
        found.append(hashlib.sha256(raw.read_bytes()).hexdigest())
        raw.unlink()
    return sorted(found)


def _temporary(agent: AgentProcess) -> Iterator[Path]:
    for name in ("staging", "uploads", "buckets"):
        yield from (path for path in (agent.root / "data" / name).rglob("*") if path.is_file())


@contextlib.contextmanager
def two_regions(libvirt_uri: str, environment: dict[str, str] | None = None) -> Iterator[Regions]:
    """`there` listens with TLS, and `here` has its CA and an access key of it."""
    with contextlib.ExitStack() as stack:
        port = free_port()
        there = AgentProcess(libvirt_uri, region_id=THERE, https=f"127.0.0.1:{port}")
        stack.callback(there.close)
        there.start()
        key = there.call("CreateAccessKey", RAM)["AccessKey"]
        line = Line(port)
        stack.callback(line.close)
        here = AgentProcess(libvirt_uri)
        stack.callback(here.close)
        secret = here.root / "secret"
        secret.touch(mode=0o600)
        secret.write_text(key["AccessKeySecret"])
        (here.root / "imports").mkdir()
        here.settings["import_dirs"] = [str(here.root / "imports")]
        here.settings["regions"] = {
            THERE: {
                "endpoint": f"https://127.0.0.1:{line.port}",
                "access_key_id": key["AccessKeyId"],
                "secret_file": str(secret),
                "ca_file": str(there.root / "data/tls/ca.pem"),
            }
        }
        here.environment |= environment or {}
        here.start()
        yield Regions(here, there, line)
