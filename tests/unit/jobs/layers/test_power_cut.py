"""A power cut in the middle of a merge: what had not been flushed is on the disk or is not, in any combination.

QEMU's `blklogwrites` keeps what was written to the file merged into, in order and with the flushes between; the file
is made anew as it may have been at many moments. Whichever it was: the layer over it means what it always did, and the
merge can be done again.
"""

from __future__ import annotations

import json
import random
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.drivers.storage.local import LAYOUT

SECTOR = 512
FLUSH, DISCARD = 1, 4
UNIT = 64 * 1024
UNITS = 96


@dataclass(frozen=True)
class Write:
    offset: int
    data: bytes
    flags: int


def _entries(log: Path) -> list[Write]:
    """What the log has, in the format of dm-log-writes."""
    content = log.read_bytes()
    _, _, count, sector = struct.unpack_from("<QQQI", content)
    assert sector == SECTOR
    found, at = [], SECTOR
    for _ in range(count):
        first, sectors, flags, _ = struct.unpack_from("<QQQQ", content, at)
        at += SECTOR
        size = 0 if flags & DISCARD else sectors * SECTOR
        found.append(Write(first * SECTOR, content[at : at + size], flags))
        at += size
    return found


def _cut(writes: list[Write], chance: random.Random) -> list[Write]:
    """Those that reached the disk: all that a flush followed, and any of the later ones up to the cut."""
    cut = chance.randrange(len(writes) + 1)
    flushed = max((n for n, write in enumerate(writes[:cut]) if write.flags & FLUSH), default=0)
    return writes[:flushed] + [write for write in writes[flushed:cut] if chance.random() < 0.5]


def _qemu(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def _create(path: Path, base: Path | None = None) -> None:
    backing = ["-F", "qcow2", "-b", str(base)] if base else []
    _qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", LAYOUT, *backing, str(path), "64M")


def _fill(path: Path, chance: random.Random, pattern: int) -> None:
    commands = []
    for unit in chance.sample(range(UNITS), UNITS // 2):
        what = "write -z" if chance.random() < 0.2 else f"write -P {pattern + unit % 50}"
        commands += ["-c", f"{what} {unit * UNIT + chance.choice((0, 4096))} {chance.choice((4096, UNIT - 4096))}"]
    _qemu("qemu-io", "-f", "qcow2", *commands, str(path))


def _content(path: Path, raw: Path) -> bytes:
    _qemu("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(path), str(raw))
    return raw.read_bytes()


def _merge(into: Path, layer: Path, top: Path, log: Path) -> None:
    """As the QEMU of a running guest does it: an intermediate layer into the one below."""
    logged = {"driver": "blklogwrites", "file": _file(into), "log": _file(log), "log-super-update-interval": 1}
    nodes = [_node("into", logged), _node("layer", _file(layer), "into"), _node("top", _file(top), "layer")]
    blockdevs = [word for node in nodes for word in ("--blockdev", json.dumps(node))]
    command = ["qemu-storage-daemon", *blockdevs, "--chardev", "stdio,id=monitor", "--monitor", "monitor"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdin
        assert daemon.stdout
        job = {"job-id": "merge", "device": "top", "top-node": "layer", "base-node": "into", "backing-file": str(into)}
        for name, arguments in (("qmp_capabilities", {}), ("block-commit", job)):
            print(json.dumps({"execute": name, "arguments": arguments}), file=daemon.stdin, flush=True)
        for line in daemon.stdout:
            assert "error" not in line
            if "BLOCK_JOB_COMPLETED" in line:
                break
        daemon.kill()  # what it would write at a clean end, a power cut does not wait for


def _file(path: Path) -> dict[str, object]:
    return {"driver": "file", "filename": str(path), "cache": {"direct": True}}


def _node(name: str, file: dict[str, object], backing: str | None = None) -> dict[str, object]:
    return {"driver": "qcow2", "node-name": name, "file": file} | ({"backing": backing} if backing else {})


@pytest.mark.parametrize("seed", range(3))
def test_whatever_reached_the_disk_nothing_is_lost(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    into, layer, top, log, raw = (tmp_path / name for name in ("into", "layer", "top", "log", "raw"))
    _create(into)
    _fill(into, chance, 1)
    _create(layer, into)
    _fill(layer, chance, 100)
    _create(top, layer)
    wanted, before = _content(layer, raw), into.read_bytes()
    log.touch()
    _merge(into, layer, top, log)
    writes = _entries(log)
    for _ in range(6):
        _rebuild(into, before, _cut(writes, chance))
        assert subprocess.run(["qemu-img", "check", "-q", str(into)], capture_output=True).returncode in (0, 3)
        assert _content(layer, raw) == wanted
        _qemu("qemu-img", "commit", "-q", "-d", str(layer))
        subprocess.run(["qemu-img", "check", "-q", "-r", "leaks", str(into)], capture_output=True, check=False)
        _qemu("qemu-img", "check", "-q", str(into))
        assert _content(into, raw) == wanted


def _rebuild(path: Path, before: bytes, writes: list[Write]) -> None:
    image = bytearray(before)
    for write in writes:
        image[write.offset : write.offset + len(write.data)] = write.data
    path.write_bytes(image)
