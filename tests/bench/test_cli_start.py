"""How fast ecsctl starts and asks an agent with ten instances, beside the bare interpreter in the same run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.measure import in_ms, seconds_of
from tests.support.agent import REPOSITORY, AgentProcess

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

ROUNDS = 21
COMMANDS = {
    "python -c pass": (["-c", "pass"], "to compare with"),
    "ecsctl --help": (["-m", "ecsctl", "--help"], "wanted: under 150 ms"),
    "ecsctl instance ls": (["-m", "ecsctl", "instance", "ls"], "wanted: under 300 ms"),
}


def test_start_of_the_cli(
    fresh_agent: AgentProcess, ten_stored: list[str], tmp_path: Path, report: Callable[[str], None]
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ECSCTL_", "ALIBABA_CLOUD_"))}
    environ = kept | {
        "ECSCTL_HOME": str(tmp_path),
        "ECSCTL_ENDPOINT": f"unix://{fresh_agent.socket}",
        "PYTHONPATH": str(REPOSITORY),
    }

    def run(arguments: list[str]) -> str:
        return subprocess.check_output([sys.executable, *arguments], env=environ, text=True)

    listed = json.loads(run(["-m", "ecsctl", "instance", "ls", "-o", "json"]))
    assert set(ten_stored) <= {instance["InstanceId"] for instance in listed}
    for shown, (arguments, wanted) in COMMANDS.items():
        times = [seconds_of(lambda: run(arguments)) for _ in range(ROUNDS)]  # noqa: B023  (called at once)
        report(f"{shown:20} {in_ms(times)}  ({wanted})")
