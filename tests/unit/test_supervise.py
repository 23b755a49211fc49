"""The supervisor with real processes: a child that records each of its lives in a file."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.supervise import PID_FILE

ROOT = Path(__file__).parents[2]
LIMIT = 30  # seconds any condition may take on a busy machine

# Each life appends its pid; TERM ends it in order, unless it is told to be stubborn.
CHILD = """
import os, signal, sys, time
lives, behaviour = sys.argv[1:]
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("hello from", os.getpid(), flush=True)
with open(lives, "a") as stream:
    stream.write(f"{os.getpid()}\\n")
if behaviour == "fails":
    sys.exit(3)
while True:
    time.sleep(60)
"""

SUPERVISOR = """
import sys
from pathlib import Path
from agent import supervise
directory, behaviour = Path(sys.argv[1]), sys.argv[2]
supervise._log_to(directory / "log")
timing = supervise.Timing(first=0.1, longest=0.4, healthy=5, stop=1)
command = [sys.executable, str(directory / "child.py"), str(directory / "lives"), behaviour]
down = [sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write('down')", str(directory / "guests")]
sys.exit(supervise.keep_running(command, directory / "run", before_host_down=down, timing=timing))
"""


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"not within {LIMIT} s: {what}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Supervised:
    """A supervisor process over a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        (directory / "child.py").write_text(CHILD)

    def start(self, behaviour: str = "stays") -> subprocess.Popen[bytes]:
        arguments = [sys.executable, "-c", SUPERVISOR, str(self.directory), behaviour]
        process = subprocess.Popen(arguments, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        self._processes.append(process)
        return process

    def lives(self) -> list[int]:
        path = self.directory / "lives"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def wait_for_life(self, number: int) -> int:
        until(lambda: len(self.lives()) >= number, f"life {number} of the child")
        return self.lives()[number - 1]

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        for pid in self.lives():
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    it = Supervised(tmp_path)
    yield it
    it.close()


def test_restarts_a_killed_child(supervised: Supervised) -> None:
    supervised.start()
    first = supervised.wait_for_life(1)
    os.kill(first, signal.SIGKILL)
    second = supervised.wait_for_life(2)
    assert second != first
    assert alive(second)
    assert f"pid {first} ended" in supervised.log()
    until(lambda: f"hello from {second}" in supervised.log(), "the child's output in the log")


def test_waits_longer_after_each_failure_up_to_a_limit(supervised: Supervised) -> None:
    supervised.start("fails")
    supervised.wait_for_life(5)
    pauses = [line.rpartition(" in ")[2] for line in supervised.log().splitlines() if "restarting in" in line]
    assert pauses[:4] == ["0.1 s", "0.2 s", "0.4 s", "0.4 s"]
    assert "status 3" in supervised.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_child_and_the_supervisor(supervised: Supervised, number: signal.Signals) -> None:
    process = supervised.start()
    child = supervised.wait_for_life(1)
    process.send_signal(number)
    assert process.wait(LIMIT) == 0
    assert not alive(child)
    assert supervised.lives() == [child]
    assert not (supervised.directory / "guests").exists(), "guests run on when only the agent stops"


def test_a_child_that_ignores_the_signal_is_killed(supervised: Supervised) -> None:
    process = supervised.start("stubborn")
    child = supervised.wait_for_life(1)
    process.terminate()
    assert process.wait(LIMIT) == 0
    assert not alive(child)


def test_host_down_stops_the_guests_first(supervised: Supervised) -> None:
    process = supervised.start()
    child = supervised.wait_for_life(1)
    process.send_signal(signal.SIGPWR)
    assert process.wait(LIMIT) == 0
    assert (supervised.directory / "guests").read_text() == "down"
    assert not alive(child)
    assert supervised.log().index("stopping the guests") < supervised.log().index(f"pid {child} ended")


def test_a_second_supervisor_is_refused(supervised: Supervised) -> None:
    first = supervised.start()
    child = supervised.wait_for_life(1)
    assert supervised.start().wait(LIMIT) == 1
    assert supervised.lives() == [child]
    assert int((supervised.directory / "run" / PID_FILE).read_text()) == first.pid


def test_a_killed_supervisor_takes_the_child_along_and_can_be_replaced(supervised: Supervised) -> None:
    first = supervised.start()
    child = supervised.wait_for_life(1)
    first.kill()
    first.wait()
    until(lambda: not alive(child), "the end of the orphan")
    supervised.start()
    assert alive(supervised.wait_for_life(2))


def test_the_lock_is_free_after_the_end(supervised: Supervised) -> None:
    process = supervised.start()
    supervised.wait_for_life(1)
    process.terminate()
    assert process.wait(LIMIT) == 0
    with (supervised.directory / "run" / PID_FILE).open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
