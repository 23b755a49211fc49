"""A small file system of its own, to be full on purpose or to be another one than the test's."""

from __future__ import annotations

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
