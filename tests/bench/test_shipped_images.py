"""The images that are built here, against each other: RunInstances to the SSH banner, the same image in plain QEMU, and
how large their files are. How large the distributions' own are is not known here: nothing is downloaded.

`BENCH_ROUNDS` changes the number of rounds.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.machines import instance_of, machine_of
from tests.bench.measure import median
from tests.bench.plain import PlainQemu
from tests.bench.reach import wait_banner
from tests.support.agent import AgentProcess

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
IMAGES = ("debian_12_x64", "debian_12_x64_minimal", "tiny_x64")

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900 + 600 * ROUNDS)]


@pytest.mark.parametrize("image_id", IMAGES)
def test_boot_to_ssh(fresh_agent: AgentProcess, report: Callable[[str], None], image_id: str) -> None:
    product, plain = [], []
    with tempfile.TemporaryDirectory(prefix="ecs-bench-") as made:
        machine = machine_of(fresh_agent, image_id, Path(made))
        for _ in range(ROUNDS):
            with instance_of(fresh_agent, image_id) as (instance_id, began):
                wait_banner(fresh_agent, instance_id)
                product.append(time.perf_counter() - began)
            with PlainQemu(machine, Path(made)) as guest:
                began = time.perf_counter()
                guest.start()
                guest.wait_banner()
                plain.append(time.perf_counter() - began)
        size = machine.image.stat().st_blocks * 512 / 2**20
    report(
        f"{image_id}, median of {ROUNDS}: product {median(product):.1f} s, plain QEMU {median(plain):.1f} s, "
        f"file {size:.0f} MiB"
    )
