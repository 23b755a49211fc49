"""Which acceleration guests get: KVM only if a guest really runs kernel code with it.

A /dev/kvm that opens proves nothing: a hypervisor around this host may let it open and then interpret every
instruction, or fail at the first one it cannot. The probe runs a small guest (probe_guest.S) with the processor
model that domains get; it walks through what a kernel does and ends within a tenth of a second where KVM works.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from agent.core.errors import DriverError
from agent.core.specs import Acceleration
from agent.drivers import durable, qemu_user
from agent.drivers.hypervisor import host, probe_rom

QEMU = "qemu-system-x86_64"
ROM_SECONDS = 3.0
KERNEL_SECONDS = 8.0
KERNEL_SPEAKS = b"Linux version"
CACHE_FILE = "acceleration.json"

_BASE = (
    *(QEMU, "-no-user-config", "-nodefaults", "-display", "none", "-sandbox", "on", "-no-reboot"),
    *("-machine", "pc", "-accel", "kvm", "-cpu", "host"),
)


@dataclass(frozen=True)
class Outcome:
    """What one QEMU of the probe did: its exit status (None: ended by us), what the guest and QEMU said."""

    status: int | None
    guest: bytes
    complaint: str


class AccelerationProbe:
    """`wanted`: auto, kvm or tcg. The outcome is kept in `state_dir` until kernel, boot, QEMU or device change."""

    def __init__(
        self,
        wanted: str,
        state_dir: Path,
        kernel: Path | None = None,
        qemu_user_name: str = qemu_user.DEFAULT,
        device: Path = host.KVM_DEVICE,
    ) -> None:
        if wanted not in ("auto", "kvm", "tcg"):
            raise DriverError(f"acceleration {wanted!r} must be auto, kvm or tcg")
        self._wanted = wanted
        self._state_dir = state_dir
        self._kernel = kernel
        self._qemu_user = qemu_user_name
        self._device = device
        self._lock = threading.Lock()
        self._known: Acceleration | None = None

    def result(self) -> Acceleration:
        """The acceleration in use and why; takes a few seconds the first time after a boot."""
        with self._lock:
            if self._known is None:
                self._known = self._find_out()
            return self._known

    def _find_out(self) -> Acceleration:
        if self._wanted != "auto":
            but = (
                f", but this host has no {self._device}" if self._wanted == "kvm" and not self._device.exists() else ""
            )
            return Acceleration(self._wanted, f"set in the configuration{but}")
        if not self._device.exists():
            return Acceleration("tcg", f"this host has no {self._device}")
        key = self._key()
        kept = self._read(key)
        if kept is None:
            kept = self._probe()
            self._write(key, kept)
        return kept

    def _probe(self) -> Acceleration:
        try:
            with self._device.open("r+b", buffering=0):
                pass
        except OSError as error:
            return Acceleration("tcg", f"{self._device} does not open: {error.strerror}")
        trouble = judge_rom(run_rom()) or (judge_kernel(run_kernel(self._kernel)) if self._kernel else None)
        if trouble:
            return Acceleration("tcg", f"{self._device} opens, but {trouble}")
        if not host.may_open(self._device, self._qemu_user):
            return Acceleration("tcg", f"KVM works, but {host.kvm_permission_problem(self._device, self._qemu_user)}")
        return Acceleration("kvm", "a guest kernel ran" if self._kernel else "a probe guest ran kernel code")

    # ------------------------------------------------------------------------------ what is known

    def _key(self) -> dict[str, str]:
        status = self._device.stat()
        return {
            "kernel": platform.release(),
            "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            "qemu": qemu_version(),
            "device": f"{status.st_uid}:{status.st_gid}:{status.st_mode:o}",
            "probe": hashlib.sha256(probe_rom.rom()).hexdigest()[:16] + (f" {self._kernel}" if self._kernel else ""),
        }

    def _read(self, key: dict[str, str]) -> Acceleration | None:
        """A file that cannot be understood counts as none: the probe is repeated."""
        try:
            kept = json.loads((self._state_dir / CACHE_FILE).read_text())
            return Acceleration(str(kept["kind"]), str(kept["reason"])) if kept["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, key: dict[str, str], found: Acceleration) -> None:
        text = json.dumps({"key": key, "kind": found.kind, "reason": found.reason}, indent=1)
        durable.write(self._state_dir / CACHE_FILE, text.encode(), mode=0o644)


def qemu_version() -> str:
    """The first line of `qemu-system-x86_64 --version`."""
    try:
        answer = subprocess.run([QEMU, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise DriverError(f"cannot run {QEMU}: {error}; install qemu-system-x86") from None
    return answer.stdout.splitlines()[0]


# ---------------------------------------------------------------------------------- the two guests


def run_rom(base: tuple[str, ...] = _BASE) -> Outcome:
    """The built-in guest; it ends by itself. `base` is the QEMU command without it."""
    with tempfile.NamedTemporaryFile(prefix="ecs-probe-", suffix=".rom") as file:
        file.write(probe_rom.rom())
        file.flush()
        command = (
            *(*base, "-m", "16", "-bios", file.name),
            *("-chardev", "stdio,id=console,signal=off"),
            *("-device", f"isa-debugcon,iobase={probe_rom.CONSOLE_PORT:#x},chardev=console"),
            *("-device", f"isa-debug-exit,iobase={probe_rom.EXIT_PORT:#x},iosize=1"),
        )
        return _watch(command, ROM_SECONDS, None)


def run_kernel(kernel: Path, base: tuple[str, ...] = _BASE) -> Outcome:
    """A real kernel, ended as soon as it says its version."""
    words = "console=ttyS0 earlyprintk=ttyS0 panic=-1"
    command = (*base, "-m", "256", "-serial", "stdio", "-kernel", str(kernel), "-append", words)
    return _watch(command, KERNEL_SECONDS, KERNEL_SPEAKS)


def _watch(command: tuple[str, ...], seconds: float, until: bytes | None) -> Outcome:
    """Run QEMU until it ends, the guest says `until`, or `seconds` are over."""
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints)
        except OSError as error:
            raise DriverError(f"cannot run {command[0]}: {error.strerror}; install qemu-system-x86") from None
        said = _listen(process, seconds, until)
        ended = process.poll()
        if ended is None:
            process.kill()
        process.communicate()
        complaints.seek(0)
        return Outcome(ended, said, _first_complaint(complaints.read().decode(errors="replace")))


def _listen(process: subprocess.Popen[bytes], seconds: float, until: bytes | None) -> bytes:
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    end = time.monotonic() + seconds
    said = b""
    while time.monotonic() < end and (until is None or until not in said):
        said += process.stdout.read() or b""
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        return said + (process.stdout.read() or b"")
    return said


def _first_complaint(text: str) -> str:
    """QEMU's first error line, without its name and without warnings."""
    lines = [line.removeprefix(f"{QEMU}: ").removeprefix("error: ") for line in text.splitlines()]
    return next((line for line in lines if line and not line.startswith("warning:")), "")


# ---------------------------------------------------------------------------------- verdicts


def judge_rom(outcome: Outcome) -> str | None:
    """None if the built-in guest ran to its end, else what went wrong, completing "but …"."""
    said = outcome.guest.decode(errors="replace")
    if outcome.status == probe_rom.EXIT_STATUS and said == probe_rom.STAGES:
        return None
    if outcome.complaint:
        return f"QEMU ends with it: {outcome.complaint}"
    reached = f"stage {len(said.rstrip('!'))} of {len(probe_rom.STAGES)}"
    if outcome.status is None:
        return f"a guest kernel did not run within {ROM_SECONDS:.0f} s (it reached {reached})"
    return f"a guest kernel failed ({reached}, QEMU's status {outcome.status})"


def judge_kernel(outcome: Outcome) -> str | None:
    """None if the kernel spoke, else what went wrong, completing "but …"."""
    if KERNEL_SPEAKS in outcome.guest:
        return None
    if outcome.complaint:
        return f"QEMU ends with it: {outcome.complaint}"
    return f"a guest kernel did not run within {KERNEL_SECONDS:.0f} s"
