"""A writer in a guest: its acknowledged writes can be told from lost ones, wherever its disk's content turns up."""

from __future__ import annotations

import struct
import subprocess
import threading
from pathlib import Path

import paramiko

from tests.support.ssh import run
from tests.support.waiting import wait_for

SOURCE = Path(__file__).parent / "guest/writer.c"
BLOCK = 4096
BLOCKS = 512


def install(client: paramiko.SSHClient, directory: Path) -> None:
    """Compile the writer on the host and give it to the guest, as /tmp/writer."""
    binary = directory / "writer"
    subprocess.run(["gcc", "-O2", "-static", "-Wall", "-o", str(binary), str(SOURCE)], check=True)
    stdin, out, _ = client.exec_command("cat >/tmp/writer && chmod 755 /tmp/writer")
    stdin.write(binary.read_bytes())
    stdin.channel.shutdown_write()
    assert out.channel.recv_exit_status() == 0


class Writer:
    """Writes numbered blocks to the beginning of `device` for some seconds."""

    def __init__(self, client: paramiko.SSHClient, device: str, seconds: int) -> None:
        self.acknowledged = 0
        self.gap_seconds: float | None = None
        run(client, f"dd if=/dev/zero of={device} bs={BLOCK} count={BLOCKS} conv=fsync 2>/dev/null")
        _, self._out, _ = client.exec_command(f"/tmp/writer {device} {BLOCKS} {seconds}")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        wait_for("the first write", lambda: self.acknowledged)

    def _read(self) -> None:
        for line in self._out:
            if line.startswith("gap "):
                self.gap_seconds = int(line.split()[1]) / 1e6
            elif line.endswith("\n"):  # or it was cut off
                self.acknowledged = int(line)

    def join(self, seconds: float = 120) -> None:
        """Until it has ended by itself, or with its guest."""
        self._thread.join(seconds)
        assert not self._thread.is_alive()


def last_in(content: bytes) -> int:
    """The number written last; AssertionError unless the blocks are what they were at that very moment."""
    found = [struct.unpack_from("<Q", content, n * BLOCK)[0] for n in range(BLOCKS)]
    last = max(found)
    for place, number in enumerate(found):
        assert content[place * BLOCK : (place + 1) * BLOCK] == struct.pack("<Q", number) * (BLOCK // 8), "a torn block"
        wanted = last - (last - place) % BLOCKS
        assert number == max(0, wanted), f"block {place} has number {number}, not {wanted}: it is not of one moment"
    return last


def read(path: Path) -> bytes | None:
    """What the writer's blocks are in a qcow2 file; None while it is part of a merge, or has just gone with one."""
    command = ["qemu-img", "dd", "-U", "-f", "qcow2", "-O", "raw", f"bs={BLOCK}", f"count={BLOCKS}"]
    raw = path.with_name(f"{path.name}.raw")
    try:
        done = subprocess.run([*command, f"if={path}", f"of={raw}"], capture_output=True, text=True)
        if "consistent read" in done.stderr or not path.exists():
            return None
        assert done.returncode == 0, done.stderr
        return raw.read_bytes()
    finally:
        raw.unlink(missing_ok=True)
