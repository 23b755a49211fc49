"""Looks into guests' disks and changes files in them, where what they hold can do no harm.

libguestfs mounts them in a virtual machine of its own (appliance.py). The program beside it (inside/) runs as the user
that QEMU has, in a jail of bubblewrap: no network, no other processes, no capabilities, and of the host's files only
the system's programs and the disk itself, with all that it is an overlay on.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import sh

from agent.core.errors import BadImage, DriverError
from agent.core.specs import SeedSpec
from agent.drivers import qemu_user
from agent.drivers.guest.boothook import check_login
from agent.drivers.guest.password import OUR_HASH
from agent.drivers.image.appliance import Appliance

PYTHON = "/usr/bin/python3"  # the system's, which libguestfs' binding is for
PROGRAM = Path(__file__).with_name("inside")
SECONDS = 900.0  # of one look; a disk of many GiB takes its checker long under emulation
LOOK_SECONDS = 0.1
ANSWER_BYTES = 4 << 20
_LIMITS = {
    "as": 8 << 30,  # QEMU with the appliance's memory and its translations
    "fsize": 16 << 30,  # what an overlay for reading, or a guest's disk, may grow to
    "cpu": 2 * int(SECONDS),
    "core": 0,
}
_VISIBLE = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc/alternatives", "/etc/passwd", "/etc/group")
_STAGES = {"ready": 40, "file systems": 60}  # percent, by what the program says
Report = Callable[[int, str], None]


class _Answer:
    """What the program says, in files that it writes to itself, so that nothing of it is lost or piles up in memory."""

    def __init__(self, output: IO[bytes], errors: IO[bytes], report: Report) -> None:
        self.output, self.errors = output, errors
        self._report, self._stage = report, ""

    @property
    def too_much(self) -> bool:
        return any(os.fstat(file.fileno()).st_size > ANSWER_BYTES for file in (self.output, self.errors))

    @property
    def last_line(self) -> str:
        lines = _content(self.errors).strip().splitlines()
        return lines[-1].strip() if lines else ""

    def tell(self) -> None:
        """Report a stage that has been reached, once."""
        stage = self.last_line
        if stage in _STAGES and stage != self._stage:
            self._stage = stage
            self._report(_STAGES[stage], "looking into the disk")

    def facts(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(_content(self.output))
        except ValueError:
            raise DriverError("cannot look into the disk: the program that does it gave no answer") from None
        if "error" in found:
            error = str(found["error"])
            raise BadImage(error) if found["content"] else DriverError(f"cannot look into the disk: {error}")
        facts: dict[str, Any] = found["facts"]
        return facts


def _content(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), ANSWER_BYTES, 0).decode(errors="replace")


class GuestfsInspector:
    """Satisfies core.protocols.Inspector. `acceleration` says `kvm` or `tcg`, when it is first needed."""

    def __init__(self, directory: Path, acceleration: Callable[[], str], user: str = qemu_user.DEFAULT) -> None:
        self._appliance = Appliance(directory)
        self._acceleration = acceleration
        self._user = qemu_user.lookup(user)

    def inspect(
        self,
        chain: Sequence[Path],
        report: Report = lambda percent, text: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Facts about the disk, as inside/facts.py gathers them. Nothing of it is changed."""
        return self._run({"do": "inspect"}, chain, report, cancelled)

    def edit(self, chain: Sequence[Path], seed: SeedSpec, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Give the Linux system on the disk what `seed` says; durable. Repeatable."""
        check_login(seed)
        order = {"do": "edit", "seed": {**asdict(seed), "user_data": "", "taken_back": OUR_HASH}}
        self._run(order, chain, lambda percent, text: None, cancelled)
        descriptor = os.open(chain[0], os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _run(
        self, order: dict[str, Any], chain: Sequence[Path], report: Report, cancelled: Callable[[], bool]
    ) -> dict[str, Any]:
        appliance = self._appliance.ensure(lambda text: report(5, text))
        report(10, "starting the appliance")
        kvm = self._acceleration() == "kvm"
        command = self._command(chain, appliance, writable=order["do"] == "edit", kvm=kvm)
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            answer = _Answer(output, errors, report)
            process = _start(command, json.dumps({**order, "disk": str(chain[0]), "emulate": not kvm}), answer)
            _wait(process, answer, cancelled)
            return answer.facts()

    def _command(self, chain: Sequence[Path], appliance: Path, *, writable: bool, kvm: bool) -> list[str]:
        visible = [word for path in _VISIBLE for word in ("--ro-bind-try", path, path)]
        parents = sorted({parent for path in chain for parent in path.parents})  # a directory before what is in it
        directories = [word for path in [*parents, "/program"] for word in ("--perms", "0755", "--dir", str(path))]
        disks = [word for path in chain for word in ("--ro-bind", str(path), str(path))]
        if writable:
            disks[0] = "--bind"
        user = self._user
        return [
            *("bwrap", "--die-with-parent", "--new-session", "--unshare-ipc", "--unshare-pid", "--unshare-net"),
            *("--unshare-uts", "--unshare-cgroup-try", "--clearenv", "--cap-drop", "ALL"),
            # Only to become an unprivileged user, who has none.
            *("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"),
            *("--perms", "0755", "--dir", "/etc", "--perms", "0755", "--dir", "/var"),
            *visible,
            *(
                "--proc",
                "/proc",
                "--dev",
                "/dev",
                "--perms",
                "1777",
                "--tmpfs",
                "/tmp",
                "--perms",
                "1777",
                "--tmpfs",
                "/var/tmp",
            ),
            *(("--dev-bind", "/dev/kvm", "/dev/kvm") if kvm else ()),
            *directories,
            *("--ro-bind", str(PROGRAM), "/program/inside", "--ro-bind", str(appliance), "/appliance"),
            *disks,
            *("--setenv", "LIBGUESTFS_PATH", "/appliance", "--setenv", "LIBGUESTFS_BACKEND", "direct"),
            *("--setenv", "HOME", "/tmp", "--setenv", "TMPDIR", "/tmp", "--setenv", "PATH", "/usr/sbin:/usr/bin"),
            *("--setenv", "LC_ALL", "C.UTF-8", "--remount-ro", "/", "--chdir", "/program", "--"),
            *("setpriv", "--reuid", str(user.uid), "--regid", str(user.gid), "--groups", str(user.own_gid)),
            *("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--"),
            *(PYTHON, "-E", "-s", "-B", "-m", "inside"),
        ]


def _start(command: list[str], order: str, answer: _Answer) -> sh.RunningCommand:
    for program, package in (("bwrap", "bubblewrap"), ("setpriv", "util-linux"), (PYTHON, "python3")):
        if shutil.which(program) is None:
            raise DriverError(f"cannot look into a disk: {program} is missing, apt-get install {package}")
    limits = [f"--{name}={limit}" for name, limit in _LIMITS.items()]
    # pdeathsig first: nothing of it outlives this process, however that ends.
    mortal = sh.Command("setpriv").bake("--pdeathsig", "KILL", "--", "prlimit", *limits, "--", *command)
    return mortal(
        _in=order,
        _out=answer.output,
        _err=answer.errors,
        _bg=True,
        _bg_exc=False,
        _tty_out=False,
    )


def _wait(process: sh.RunningCommand, answer: _Answer, cancelled: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            process.wait(timeout=LOOK_SECONDS)
            return
        except sh.TimeoutException:
            answer.tell()
            if cancelled():
                _end(process)
                raise InterruptedError("cancelled") from None
            if time.monotonic() > deadline or answer.too_much:
                _end(process)
                raise BadImage(f"looking into the disk takes longer than {SECONDS:.0f} s, or tells too much") from None
        except sh.ErrorReturnCode as error:
            why = answer.last_line or f"exit status {error.exit_code}"
            raise DriverError(f"cannot look into the disk: {why}") from None


def _end(process: sh.RunningCommand) -> None:
    """Kill it, and with it all that is in the jail."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    with contextlib.suppress(sh.ErrorReturnCode):
        process.wait()
