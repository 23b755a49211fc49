"""A small file system of its own, to be full on purpose or to be another one than the test's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(where: Path, kib: int) -> Iterator[Path]:
    """`where` becomes the mount point of a tmpfs of `kib` KiB."""
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=0755", "tmpfs", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where], check=True)


@contextmanager
def small_disk_for_guests(where: Path, mib: int) -> Iterator[Path]:
    """The same for guests' disks, which are opened with O_DIRECT: an ext4 on a loop device, or where there is none a
    tmpfs, which takes O_DIRECT from Linux 6.6 on."""
    image = where.with_suffix(".ext4")
    where.mkdir()
    with image.open("wb") as stream:
        stream.truncate(mib * 2**20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image], check=True)
    try:
        if subprocess.run(["mount", "-o", "loop", image, where], capture_output=True, check=False).returncode:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0755", "tmpfs", where], check=True)
        try:
            where.chmod(0o755)
            os.close(os.open(where / "probe", os.O_CREAT | os.O_RDWR | os.O_DIRECT))
            (where / "probe").unlink()
            yield where
        finally:
            subprocess.run(["umount", "--lazy", where], check=True)
    finally:
        image.unlink()


def fill(directory: Path, leave_bytes: int) -> Path:
    """A file that leaves `leave_bytes` free on its file system."""
    filler = directory / "filler"
    status = os.statvfs(directory)
    with filler.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(1, status.f_bavail * status.f_frsize - leave_bytes))
    return filler
