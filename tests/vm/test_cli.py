"""ecsctl against a real agent and a real guest: created, waited for, logged in to by every way, released (SPEC L1)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.agent import REPOSITORY, AgentProcess

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

NAME = "cli-guest"
Ecsctl = Callable[..., str]


@pytest.fixture(scope="module")
def environ(agent: AgentProcess, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ECSCTL_", "ALIBABA_CLOUD_"))}
    home = tmp_path_factory.mktemp("home")
    return kept | {
        "ECSCTL_HOME": str(home),
        "ECSCTL_ENDPOINT": f"unix://{agent.socket}",
        "PYTHONPATH": str(REPOSITORY),
    }


@pytest.fixture(scope="module")
def ecsctl(environ: dict[str, str]) -> Ecsctl:
    def run(*arguments: str, status: int = 0, stdin: bytes = b"") -> str:
        command = [sys.executable, "-m", "ecsctl", *arguments]
        done = subprocess.run(command, env=environ, input=stdin, capture_output=True, timeout=300, check=False)
        assert done.returncode == status, f"{done.returncode}: {done.stdout!r} {done.stderr!r}"
        return done.stdout.decode()

    return run


@pytest.fixture(scope="module")
def guest(ecsctl: Ecsctl) -> Iterator[str]:
    """Its id; it runs and answers SSH."""
    ecsctl("key-pair", "create", NAME)
    created = ecsctl(
        *("instance", "create", NAME, "--image", "tiny_x64", "--key-pair", NAME, "--system-disk-size", "1"),
        *("--type", "ecs.t1.small"),
    )
    ecsctl("instance", "wait", NAME, "--for", "ssh", "--timeout", "240")
    yield created.strip()
    ecsctl("instance", "release", "--force", "--yes", NAME)
    ecsctl("key-pair", "delete", NAME)
    assert NAME not in ecsctl("instance", "ls", "-o", "name").split()


def test_a_command_runs_and_its_status_comes_back(ecsctl: Ecsctl, guest: str) -> None:
    assert ecsctl("instance", "ssh", NAME, "--", "echo $((6*7)); exit 7", status=7) == "42\n"


def test_megabytes_go_through_the_tunnel(ecsctl: Ecsctl, guest: str) -> None:
    assert ecsctl("instance", "ssh", NAME, "wc -c", stdin=os.urandom(3_000_000)).strip() == "3000000"


def test_plain_ssh_reaches_it_by_name(environ: dict[str, str], ecsctl: Ecsctl, guest: str, tmp_path: Path) -> None:
    env = environ | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "ecsctl", "config", "ssh"], env=env, check=True, capture_output=True)
    entry = Path(environ["ECSCTL_HOME"]) / "ssh_config"
    command = ["ssh", "-F", str(entry), "-o", "BatchMode=yes", f"{NAME}.ecs", "echo $((6*7))"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr


def test_the_rules_that_its_router_has_are_explained(ecsctl: Ecsctl, guest: str) -> None:
    shown = ecsctl("security-group", "explain", "--from", "203.0.113.9", "--to", NAME, "--port", "ssh", "--trail")
    assert "tcp 22: Accept" in shown
    assert 'rule of "default" at priority 110: Accept TCP 22/22 from 0.0.0.0/0' in shown
    assert "oifname vmap @ingress" in shown
    from_anywhere = (
        "security-group",
        "explain",
        "--to",
        NAME,
        "--port",
        "23",
        "--query",
        "Explanations.Explanation[].Verdict",
    )
    assert ecsctl(*from_anywhere) == "Drop\n"


def test_snapshots_and_policies(ecsctl: Ecsctl, guest: str) -> None:
    taken = ecsctl("snapshot", "create", "cli-before", "--instance", NAME).strip()
    assert ecsctl("snapshot", "show", taken, "--query", "Status") == "accomplished\n"
    ecsctl("disk", "create", "cli-copy", "--snapshot", "cli-before", "--size", "20")
    ecsctl("snapshot", "delete", "--yes", "cli-before", status=1)
    ecsctl("snapshot-policy", "create", "cli-nightly", "--hours", "3", "--weekdays", "daily", "--disk", "cli-copy")
    assert "cli-copy, nothing so far" in ecsctl("snapshot-policy", "show", "cli-nightly")
    ecsctl("snapshot-policy", "delete", "--yes", "cli-nightly")
    ecsctl("disk", "delete", "--yes", "cli-copy")
    ecsctl("snapshot", "delete", "--yes", "cli-before")
    assert taken not in ecsctl("snapshot", "ls", "-o", "wide")


def test_stop_and_start_are_waited_for(ecsctl: Ecsctl, guest: str) -> None:
    ecsctl("instance", "stop", NAME, "--force")
    assert ecsctl("instance", "show", NAME, "--query", "Status") == "Stopped\n"
    ecsctl("instance", "start", NAME)
    assert ecsctl("instance", "show", NAME, "--query", "Status") == "Running\n"
    ecsctl("instance", "wait", NAME, "--for", "ssh", "--timeout", "240")


def test_a_disk_comes_to_the_guest_and_goes_again(ecsctl: Ecsctl, guest: str) -> None:
    disk_id = ecsctl("disk", "create", "cli-data", "--size", "20").strip()
    serial = disk_id.removeprefix("d-")
    assert ecsctl("disk", "attach", "cli-data", NAME).strip() == f"/dev/disk/by-id/virtio-{serial}"
    found = f"until grep -l {serial} /sys/block/*/serial; do usleep 100000; done"
    assert ecsctl("instance", "ssh", NAME, "--", found).startswith("/sys/block/vd")
    ecsctl("disk", "grow", "cli-data", "21")
    assert ecsctl("disk", "show", "cli-data", "--query", "Size") == "21\n"
    ecsctl("disk", "delete", "--yes", "cli-data", status=1)
    ecsctl("disk", "detach", "cli-data")
    ecsctl("disk", "delete", "--yes", "cli-data")
    assert "cli-data" not in ecsctl("disk", "ls", "-o", "name").split()
