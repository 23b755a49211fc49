"""A peer on a unix socket, and ecsctl run against it with a home of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.cli_peer import Peer
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
REGIONS = {"Regions": {"Region": [{"RegionId": "local", "LocalName": "Local", "RegionEndpoint": "127.0.0.1:8800"}]}}

Ecsctl = Callable[..., subprocess.CompletedProcess[str]]


@dataclass
class Setting:
    """Where a test's ecsctl lives."""

    directory: Path
    socket: Path
    environ: dict[str, str]

    @property
    def home(self) -> Path:
        return self.directory / "home"


@pytest.fixture
def setting() -> Iterator[Setting]:
    directory = Path(tempfile.mkdtemp(prefix="ecsctl-"))  # short: a unix socket's path has 107 bytes at most
    (directory / "home").mkdir()
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ECSCTL_", "ALIBABA_CLOUD_", "_ECSCTL")) and name not in ("NO_COLOR", "HOME")
    }
    environ |= {
        "HOME": str(directory / "home"),
        "PYTHONPATH": str(ROOT),
        "ECSCTL_ENDPOINT": f"unix://{directory}/agent.sock",
        "COLUMNS": "100",
    }
    yield Setting(directory, directory / "agent.sock", environ)
    shutil.rmtree(directory)


@pytest.fixture
def peer(setting: Setting) -> Iterator[Peer]:
    served = Peer({"DescribeRegions": REGIONS}).start(setting.socket)
    yield served
    served.stop()
    assert served.problems == []


@pytest.fixture
def ecsctl(setting: Setting) -> Ecsctl:
    """Run ecsctl as a process of its own. `status`: the exit status it must have; `env`: more environment."""

    def run(
        *arguments: str, status: int = 0, env: dict[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "ecsctl", *arguments],
            env=setting.environ | (env or {}),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
        return done

    return run


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare with tests/golden/cli/NAME.txt; UPDATE_GOLDEN=1 writes it, to be read before it is committed."""

    def compare(name: str, text: str) -> None:
        path = ROOT / "tests" / "golden" / "cli" / f"{name}.txt"
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text)
        assert text == path.read_text()

    return compare


@pytest.fixture
def sshd(setting) -> Iterator[int]:
    """A real sshd on a loopback port, with keys of its own; its port. `ecsctl` is on the PATH of its sessions."""
    directory, home = setting.directory, setting.home
    (home / ".ssh").mkdir(mode=0o700)
    for path in (directory / "host_key", home / ".ssh" / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    (directory / "authorized").write_text((home / ".ssh" / "id_ed25519.pub").read_text())
    programs = directory / "bin"
    programs.mkdir()
    program = programs / "ecsctl"
    program.write_text(
        f"#!/bin/sh\nexport HOME={home} PYTHONPATH={setting.environ['PYTHONPATH']} "
        f'ECSCTL_ENDPOINT=unix://{setting.socket}\nexec {sys.executable} -m ecsctl "$@"\n'
    )
    program.chmod(0o755)
    port = free_port()
    config = directory / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {directory}/host_key\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {directory}/authorized\nStrictModes no\nPasswordAuthentication no\n"
        "Subsystem sftp internal-sftp\n"
        f"SetEnv PATH={programs}:/usr/bin:/bin\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", config], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    while "listening" not in (line := server.stderr.readline()):
        assert line, f"sshd ended with {server.wait()}"
    yield port
    server.terminate()
    server.wait(10)
    server.stderr.close()
