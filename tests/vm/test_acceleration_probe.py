"""The probe's guests really run where an accelerator really works: TCG is one on every host."""

import pytest

from agent.drivers.hypervisor import acceleration
from agent.drivers.hypervisor.acceleration import judge_rom, run_rom

pytestmark = pytest.mark.vm

BASE = (
    *(acceleration.QEMU, "-no-user-config", "-nodefaults", "-display", "none", "-sandbox", "on", "-no-reboot"),
    *("-machine", "pc", "-accel", "tcg"),
)


@pytest.mark.parametrize("model", ["max", "qemu64", "EPYC-v1", "Haswell"])
def test_the_built_in_guest_runs_to_its_end(model: str) -> None:
    outcome = run_rom((*BASE, "-cpu", model))
    assert judge_rom(outcome) is None, outcome


def test_a_processor_that_cannot_run_kernels_is_found_out() -> None:
    outcome = run_rom((*BASE, "-cpu", "qemu64,syscall=off"))
    assert (judge_rom(outcome) or "").startswith("a guest kernel failed (stage ")


def test_a_qemu_that_cannot_start_says_why() -> None:
    outcome = run_rom((*BASE, "-cpu", "no-such-model"))
    assert (judge_rom(outcome) or "").startswith("QEMU ends with it: ")
