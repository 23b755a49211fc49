"""What a killed test run leaves is found and taken away; what a living one or anybody else has is not touched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.claims import claim

pytestmark = pytest.mark.net

ROOT = Path(__file__).parents[2]

# Claims, makes one of each kind of thing, says so, and stays until it is killed.
RUN = """
import signal, subprocess, sys
from pathlib import Path
from tests.support.claims import claim

def ip(*words):
    subprocess.run(["ip", *words], check=True)

with claim(Path(sys.argv[1])) as mine:
    ip("netns", "add", f"{mine.prefix}-vpc-x")
    ip("tuntap", "add", "dev", f"{mine.prefix}tap", "mode", "tap")
    ip("link", "add", f"{mine.prefix}a", "type", "veth", "peer", "name", f"{mine.prefix}b")
    (mine.directory / "disk").write_text("data")
    sleeper = subprocess.Popen(["tail", "-f", f"{mine.directory}/disk"], stdout=subprocess.DEVNULL)
    print(mine.prefix, sleeper.pid, flush=True)
    signal.pause()
"""


def sweep(claims: Path) -> subprocess.CompletedProcess[str]:
    code = f"""
        set -euo pipefail
        . {ROOT}/scripts/lib/common.sh
        . {ROOT}/scripts/lib/sweep.sh
        domains_of() {{ :; }} # this host may have no libvirtd; tests/vm has the sweep of domains
        sweep_claims {claims}
    """
    return subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=60, check=True)


class Run:
    def __init__(self, claims: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(claims)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.prefix, pid = self.process.stdout.readline().split()
        self.sleeper = Path("/proc") / pid
        self.claim = claims / self.prefix

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def things(self) -> list[bool]:
        links = Path("/sys/class/net")
        paths = [Path(f"/run/netns/{self.prefix}-vpc-x"), links / f"{self.prefix}tap", links / f"{self.prefix}a"]
        return [path.exists() for path in (*paths, self.claim)] + [self._sleeps()]

    def _sleeps(self) -> bool:
        try:
            return (self.sleeper / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    path = tmp_path / "claims"
    path.mkdir()
    return path


@pytest.fixture
def foreign_link() -> Iterator[Path]:
    """Somebody's tap, with the usual name, which also begins with a `t`."""
    name = f"tap{os.getpid()}"
    subprocess.run(["ip", "tuntap", "add", "dev", name, "mode", "tap"], check=True)
    yield Path("/sys/class/net") / name
    subprocess.run(["ip", "link", "delete", name], check=True)


def test_a_dead_run_is_swept_and_a_living_one_is_not(claims: Path, foreign_link: Path) -> None:
    dead, living = Run(claims), Run(claims)
    try:
        assert all(dead.things())
        dead.kill()
        assert sweep(claims).stdout == ""
        assert not any(dead.things())
        assert all(living.things())
        assert foreign_link.exists()
    finally:
        dead.kill()
        living.kill()
        sweep(claims)
    assert not any(living.things())


def test_a_claim_that_ends_well_leaves_nothing(claims: Path) -> None:
    with claim(claims) as mine:
        assert mine.directory.stat().st_mode & 0o005 == 0o005, "QEMU's user reads there"
        sweep(claims)
        assert mine.directory.is_dir()
    assert list(claims.iterdir()) == []


def test_a_claim_that_ends_badly_is_left_for_the_sweep(claims: Path) -> None:
    with pytest.raises(RuntimeError), claim(claims) as mine:
        raise RuntimeError
    assert mine.directory.is_dir()
    sweep(claims)
    assert list(claims.iterdir()) == []


def test_prefixes_are_valid_and_different(claims: Path) -> None:
    with claim(claims) as one, claim(claims) as other:
        assert one.prefix != other.prefix
        for each in (one, other):
            assert each.prefix[0] == "t"
            assert each.prefix[1].isdigit()
            assert len(each.prefix) == 4
