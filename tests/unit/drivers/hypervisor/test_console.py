"""The end of the serial console's log, over its rotation."""

import os
from pathlib import Path

from agent.drivers.hypervisor.console import changed, tail


def test_no_log_yet(tmp_path: Path) -> None:
    assert tail(tmp_path / "console.log", 100) == b""


def test_only_the_end(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(bytes(range(256)) * 10)
    assert tail(log, 5) == bytes(range(251, 256))


def test_reaches_back_into_the_rotated_file(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    (tmp_path / "console.log.0").write_bytes(b"old text ")
    log.write_bytes(b"new")
    assert tail(log, 8) == b"text new"
    assert tail(log, 3) == b"new"
    assert tail(log, 100) == b"old text new"


def test_when_it_was_written_last(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    assert changed(log) is None
    log.write_bytes(b"x")
    os.utime(log, (1_700_000_000, 1_700_000_000))
    assert changed(log) == 1_700_000_000
