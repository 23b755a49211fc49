"""Units of a disk full of one byte each: written and read with QEMU's own tools."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import cast

UNIT = 64 * 1024  # what is written at a time


class WriteFailed(Exception):
    """The disk took no write, or lost what it had."""


def header(path: Path) -> dict[str, object]:
    answer = subprocess.check_output(["qemu-img", "info", "-U", "-f", "qcow2", "--output=json", str(path)])
    return cast(dict[str, object], json.loads(answer))


def reads(units: dict[int, int]) -> list[str]:
    return [f"read -P {pattern} {unit * UNIT} {UNIT}" for unit, pattern in sorted(units.items())]


def qemu_io(path: Path, commands: list[str], *options: str) -> None:
    arguments = [word for command in commands for word in ("-c", command)]
    cache = [] if "-r" in options else ["-t", "none"]
    command = ["qemu-io", *options, *cache, "-d", "unmap", "-f", "qcow2", *arguments, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    judge(done.stdout + done.stderr, path.name)
    if done.returncode:
        raise WriteFailed(f"{path.name}: {done.stderr}")


def judge(answer: str, what: str) -> None:
    bad = [line for line in answer.splitlines() if re.search(r"failed|rror|annot|out of range", line)]
    if bad:
        raise WriteFailed(f"{what}: {bad[0]}")


def units(filled: dict[int, int], among: int) -> dict[int, int]:
    """Every unit below `among`: the given bytes, zero elsewhere."""
    return {unit: filled.get(unit, 0) for unit in range(among)}
