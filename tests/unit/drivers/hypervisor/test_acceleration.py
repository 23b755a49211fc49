"""The verdicts of the acceleration probe, its cache, and that the ROM is what its source says."""

import json
import subprocess
from pathlib import Path

import pytest

from agent.core.errors import DriverError
from agent.core.specs import Acceleration
from agent.drivers.hypervisor import acceleration, probe_rom
from agent.drivers.hypervisor.acceleration import AccelerationProbe, Outcome, judge_kernel, judge_rom


def test_the_rom_is_its_source(tmp_path: Path) -> None:
    source = Path(probe_rom.__file__).with_name("probe_guest.S")
    subprocess.run(["as", "--64", "-o", tmp_path / "probe.o", source], check=True)
    link = ["ld", "-m", "elf_x86_64", "-Ttext=0xff000", "--oformat=binary", "-e", "_start"]
    subprocess.run([*link, "-o", tmp_path / "probe.bin", tmp_path / "probe.o"], check=True)
    assert probe_rom.page() == (tmp_path / "probe.bin").read_bytes()
    assert len(probe_rom.rom()) == probe_rom.ROM_SIZE


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Outcome(1, b"PLHMUST.", ""), None),
        (Outcome(3, b"PLHM!", ""), "a guest kernel failed (stage 4 of 8, QEMU's status 3)"),
        (Outcome(None, b"PL", ""), "a guest kernel did not run within 3 s (it reached stage 2 of 8)"),
        (Outcome(None, b"PLHMUST.", ""), "a guest kernel did not run within 3 s (it reached stage 8 of 8)"),
        (Outcome(-6, b"", "failed to set MSR 0x1"), "QEMU ends with it: failed to set MSR 0x1"),
    ],
)
def test_verdict_on_the_rom(outcome: Outcome, verdict: str | None) -> None:
    assert judge_rom(outcome) == verdict


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Outcome(None, b"[0.0] Linux version 6.1", "warning"), None),
        (Outcome(None, b"Probing EDD", ""), "a guest kernel did not run within 8 s"),
        (Outcome(1, b"", "no KVM"), "QEMU ends with it: no KVM"),
    ],
)
def test_verdict_on_a_kernel(outcome: Outcome, verdict: str | None) -> None:
    assert judge_kernel(outcome) == verdict


def test_set_in_the_configuration(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    device.touch()
    for kind in ("kvm", "tcg"):
        found = AccelerationProbe(kind, tmp_path, device=device).result()
        assert found == Acceleration(kind, "set in the configuration")
    device.unlink()
    found = AccelerationProbe("kvm", tmp_path, device=device).result()
    assert found == Acceleration("kvm", f"set in the configuration, but this host has no {device}")
    with pytest.raises(DriverError, match="'fast' must be auto, kvm or tcg"):
        AccelerationProbe("fast", tmp_path)


def test_without_the_device(tmp_path: Path) -> None:
    found = AccelerationProbe("auto", tmp_path, device=tmp_path / "kvm").result()
    assert found == Acceleration("tcg", f"this host has no {tmp_path}/kvm")


def test_cached_until_the_device_changes(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    device.touch()
    probe = AccelerationProbe("auto", tmp_path, device=device)
    first = probe.result()
    cache = tmp_path / acceleration.CACHE_FILE
    kept = json.loads(cache.read_text())
    assert kept["kind"] == first.kind
    cache.write_text(json.dumps({**kept, "reason": "as kept"}))
    assert AccelerationProbe("auto", tmp_path, device=device).result().reason == "as kept"
    device.chmod(0o600 if device.stat().st_mode & 0o077 else 0o666)
    assert AccelerationProbe("auto", tmp_path, device=device).result().reason == first.reason


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": {}}', '{"kind": 1}'])
def test_a_broken_cache_is_none(tmp_path: Path, content: str) -> None:
    device = tmp_path / "kvm"
    device.touch()
    expected = AccelerationProbe("auto", tmp_path / "other", device=device).result()
    (tmp_path / acceleration.CACHE_FILE).write_text(content)
    assert AccelerationProbe("auto", tmp_path, device=device).result() == expected


def test_the_first_complaint_is_the_cause() -> None:
    text = (
        "qemu-system-x86_64: warning: host doesn't support it\n"
        "qemu-system-x86_64: error: failed to set MSR 0x10a\nqemu-system-x86_64: assertion\n"
    )
    assert acceleration._first_complaint(text) == "failed to set MSR 0x10a"
