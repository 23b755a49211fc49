"""Programs that read what strangers brought, where they can harm nothing: no network, no files but the given ones,
no rights, and limits on all they take (enter_jail.py says how)."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import sh

from agent.core.errors import DriverError
from agent.drivers import durable
from agent.drivers.image import enter_jail, sparse

USER = 1_900_000_217  # of nobody else on a host: beyond what distributions, containers and systemd hand out
MEMORY_BYTES = 2 << 30
DESCRIPTORS = 64
LOOK_SECONDS = 0.1
END_SECONDS = 30.0  # for what was killed to be gone
_VISIBLE = ("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib32", "/lib64")
_PERCENT = re.compile(r"\((\d{1,3})\.\d+/100%\)")
_HEARD_BYTES, _KEPT_CHARACTERS = 1 << 20, 8 << 10  # of what a program says
_LONGEST_COMPLAINT = 300
Report = Callable[[int], None]


class JailedFailure(Exception):
    """The program ended with an error, which is its last line, or was ended because it took too much of something."""


@dataclass(frozen=True)
class Limits:
    """Of one call. `file_bytes`: the largest file it may write."""

    seconds: float
    cpu_seconds: int
    file_bytes: int


class _Words:
    """What a program says: the progress it tells, and the last of its complaints. However much it says, little of it is
    kept."""

    def __init__(self, report: Report) -> None:
        self._report, self._percent = report, -1
        self._texts = {"output": "", "errors": ""}
        self._pipes: dict[str, int] = {}

    @contextlib.contextmanager
    def pipes(self) -> Iterator[tuple[int, int]]:
        """Two descriptors to write to, for the program to start inside the block."""
        with contextlib.ExitStack() as writers:
            found = []
            for name in self._texts:
                self._pipes[name], writer = os.pipe()
                writers.callback(os.close, writer)
                found.append(writer)
            yield found[0], found[1]

    def close(self) -> None:
        for name in list(self._pipes):
            os.close(self._pipes.pop(name))

    def listen(self, seconds: float) -> bool:
        """Take what is said meanwhile. False as soon as nobody can say anything any more: as a rule all have ended."""
        deadline = time.monotonic() + seconds
        while self._pipes and (left := deadline - time.monotonic()) > 0:
            poll = select.poll()
            for descriptor in self._pipes.values():
                poll.register(descriptor, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll(left * 1000)}
            for name in [name for name, descriptor in self._pipes.items() if descriptor in ready]:
                self._hear(name)
        return bool(self._pipes)

    def _hear(self, name: str) -> None:
        text = os.read(self._pipes[name], _HEARD_BYTES).decode(errors="replace")
        if not text:
            os.close(self._pipes.pop(name))
        self._texts[name] = (self._texts[name] + text)[-_KEPT_CHARACTERS:]
        found = _PERCENT.findall(self._texts["output"])
        if found and int(found[-1]) != self._percent:
            self._percent = int(found[-1])
            self._report(min(self._percent, 100))

    @property
    def complaint(self) -> str:
        """The last line, fit to be shown."""
        lines = [line.strip() for line in self._texts["errors"].splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        return "".join(c if c.isprintable() else "?" for c in last)[:_LONGEST_COMPLAINT]


@dataclass(frozen=True)
class Call:
    """`command` finds the descriptors `inputs` as /in/0…, and `outputs`, of files that USER owns, as /out/0…"""

    command: Sequence[str]
    inputs: Sequence[int]
    outputs: Sequence[int]
    limits: Limits
    report: Report = lambda percent: None
    cancelled: Callable[[], bool] = lambda: False


class _Unmappable(Exception):
    """The kernel or the file system cannot show the jail a file that its user may not read."""


class Jail:
    """`staging`: a private directory for copies of what cannot be handed in as it is."""

    def __init__(self, staging: Path) -> None:
        self._staging = staging

    def run(self, call: Call) -> None:
        """Raises JailedFailure; InterruptedError once `call.cancelled`; DriverError when there can be no jail. Nothing
        of it runs any more then, nor after a SIGKILL of this process."""
        try:
            self._attempt(call)
        except _Unmappable:
            with contextlib.ExitStack() as copies:
                ours = [copies.enter_context(self._copy(descriptor, call.cancelled)) for descriptor in call.inputs]
                self._attempt(replace(call, inputs=ours))

    def _attempt(self, call: Call) -> None:
        words = _Words(call.report)
        try:
            process = self._start(call, words)
            self._watch(call, process, words)
        finally:
            words.close()

    def _watch(self, call: Call, process: sh.RunningCommand, words: _Words) -> None:
        deadline = time.monotonic() + call.limits.seconds
        try:
            while words.listen(LOOK_SECONDS) or not _ended(process):
                if call.cancelled():
                    raise InterruptedError("cancelled")
                if time.monotonic() > deadline:
                    raise JailedFailure(f"it takes longer than {call.limits.seconds:.0f} s")
        except sh.ErrorReturnCode as error:
            raise _failure(error.exit_code, words.complaint, call.limits) from None
        except BaseException:
            _kill(process)
            words.listen(END_SECONDS)
            raise

    def _start(self, call: Call, words: _Words) -> sh.RunningCommand:
        for program, package in (("bwrap", "bubblewrap"), ("setpriv", "util-linux"), ("qemu-img", "qemu-utils")):
            if shutil.which(program) is None:
                raise DriverError(f"cannot read a disk image safely: {program} is missing, apt-get install {package}")
        with _inheritable([*call.inputs, *call.outputs]) as descriptors, words.pipes() as (output, errors):
            arguments = _arguments(call, descriptors, self._staging)
            # -I, -S: nothing but the standard library can come in.
            python = sh.Command(sys.executable).bake("-I", "-S", enter_jail.__file__, *arguments)
            return python(
                _bg=True,
                _bg_exc=False,
                _tty_out=False,
                _out=output,
                _err=errors,
                _pass_fds=set(descriptors),
                _env={"PATH": os.defpath},
            )

    @contextlib.contextmanager
    def _copy(self, descriptor: int, cancelled: Callable[[], bool]) -> Iterator[int]:
        """The file once more, owned by USER; a clone where the file system can."""
        path = durable.temporary_path(self._staging / "copy")
        try:
            with open(path, "xb") as stream:
                sparse.copy(descriptor, stream.fileno(), cancelled=cancelled)
                os.fchown(stream.fileno(), USER, USER)
                yield stream.fileno()
        finally:
            path.unlink(missing_ok=True)


def _arguments(call: Call, descriptors: Sequence[int], room: Path) -> list[str]:
    """Those of enter_jail.py."""
    limits = {
        "RLIMIT_CPU": call.limits.cpu_seconds,
        "RLIMIT_FSIZE": call.limits.file_bytes,
        "RLIMIT_AS": MEMORY_BYTES,
        "RLIMIT_NOFILE": DESCRIPTORS,
        "RLIMIT_CORE": 0,
    }
    inputs, outputs = descriptors[: len(call.inputs)], descriptors[len(call.inputs) :]
    lists: list[Iterable[object]] = [inputs, outputs, [USER], [room]]
    lists += [[f"{name}={limit}" for name, limit in limits.items()], _VISIBLE]
    return [*(",".join(map(str, words)) for words in lists), *call.command]


@contextlib.contextmanager
def _inheritable(descriptors: Sequence[int]) -> Iterator[list[int]]:
    """Duplicates that a program started meanwhile gets, if it is told to keep them."""
    copies: list[int] = []
    try:
        for descriptor in descriptors:
            copies.append(os.dup(descriptor))
            os.set_inheritable(copies[-1], True)
        yield copies
    finally:
        for copy in copies:
            os.close(copy)


def _ended(process: sh.RunningCommand) -> bool:
    """Whether it ended well, after a moment; raises ErrorReturnCode when it did not."""
    try:
        process.wait(timeout=LOOK_SECONDS)
    except sh.TimeoutException:
        return False
    return True


def _kill(process: sh.RunningCommand) -> None:
    """All that is in the jail ends with it, very soon."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    with contextlib.suppress(sh.ErrorReturnCode):
        process.wait()


def _failure(status: int, said: str, limits: Limits) -> Exception:
    """What an exit status means; the one of a process that a signal ended is negative, or above 128 from within."""
    if status == enter_jail.UNMAPPABLE:
        return _Unmappable(said)
    if status == enter_jail.FAILED or said.startswith("bwrap:"):
        return DriverError(f"cannot read a disk image safely: {said}")
    if status in (-signal.SIGXCPU, 128 + signal.SIGXCPU):
        return JailedFailure(f"it takes more than {limits.cpu_seconds} s of the processor")
    if os.strerror(errno.EFBIG) in said:
        return JailedFailure("it is larger than it says")
    if os.strerror(errno.ENOSPC) in said:
        return DriverError("the host's disk is full: delete disks, snapshots, images, or other files of the host")
    return JailedFailure(said or f"exit status {status}")
