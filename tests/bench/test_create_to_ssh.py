"""RunInstances to the SSH banner, beside plain QEMU booting the same image, seed and devices, in the same run.

`BENCH_IMAGE=debian_12_x64` takes another image than the tiny one, `BENCH_ROUNDS` another number of rounds.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench.machines import instance_of, machine_of
from tests.bench.measure import median
from tests.bench.plain import Machine, PlainQemu, command
from tests.bench.reach import wait_banner
from tests.support.agent import AgentProcess
from tests.support.libvirtd import PrivateLibvirt

IMAGE = os.environ.get("BENCH_IMAGE", "tiny_x64")
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300 + 400 * ROUNDS)]


@pytest.fixture
def directory() -> Iterator[Path]:
    """For plain QEMU. Short of name, as it holds sockets."""
    with tempfile.TemporaryDirectory(prefix="ecs-bench-") as made:
        yield Path(made)


@pytest.fixture
def machine(fresh_agent: AgentProcess, directory: Path) -> Machine:
    return machine_of(fresh_agent, IMAGE, directory)


def test_create_to_ssh(
    fresh_agent: AgentProcess,
    libvirtd: PrivateLibvirt,
    machine: Machine,
    directory: Path,
    report: Callable[[str], None],
) -> None:
    product, plain = [], []
    for number in range(1, ROUNDS + 1):
        with instance_of(fresh_agent, IMAGE) as (instance_id, began):
            fresh_agent.wait_status(instance_id, "Running")
            running = time.perf_counter() - began
            wait_banner(fresh_agent, instance_id)
            product.append(time.perf_counter() - began)
            _same_machine(libvirtd.qemu_pid(f"{fresh_agent.prefix}-{instance_id}"), machine, directory)
        with PlainQemu(machine, directory) as guest:
            began = time.perf_counter()
            guest.start()
            guest.wait_banner()
            plain.append(time.perf_counter() - began)
        report(f"round {number}: product {product[-1]:.2f} s (Running {running:.2f} s), plain QEMU {plain[-1]:.2f} s")
    ours, theirs = median(product), median(plain)
    report(
        f"{IMAGE} to SSH, median of {ROUNDS}: product {ours:.2f} s, plain QEMU {theirs:.2f} s: "
        f"{ours / theirs:.2f} x, {ours - theirs:+.2f} s (wanted: at most 1.1 x + 2 s, {1.1 * theirs + 2:.2f} s)"
    )


def _same_machine(pid: int, machine: Machine, directory: Path) -> None:
    """The comparison is one only as long as both sides run the same machine."""
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    assert _hardware(arguments) == _hardware(command(machine, Path("disk"), directory, 0))


def _hardware(arguments: list[str]) -> list[str]:
    """What matters of QEMU's arguments: machine, processor, memory, and the models of all devices."""
    pairs = list(itertools.pairwise(arguments))
    chosen = [f"{option} {value}" for option, value in pairs if option in ("-machine", "-accel", "-cpu", "-m", "-smp")]
    devices = [value for option, value in pairs if option == "-device"]
    return sorted(chosen + [json.loads(d)["driver"] if d[0] == "{" else d.split(",")[0] for d in devices])
