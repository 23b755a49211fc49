"""ISO 9660: whether a file is what a computer may be installed from."""

from __future__ import annotations

import os

from agent.core.errors import BadImage

_DESCRIPTOR_AT = 16 * 2048
_LARGEST = 32 << 30  # bytes; a Blu-ray disc of two layers has more, and no installer needs it


def check(descriptor: int) -> None:
    """Raises BadImage unless it is a whole ISO 9660 image."""
    size = os.fstat(descriptor).st_size
    head = os.pread(descriptor, 2048, _DESCRIPTOR_AT)
    if len(head) < 2048 or head[1:6] != b"CD001":
        raise BadImage("it is no ISO 9660 image")
    blocks, block_bytes = int.from_bytes(head[80:84], "little"), int.from_bytes(head[128:130], "little")
    if head[0] == 1 and blocks * block_bytes > size:
        raise BadImage(f"it is cut off: {size} bytes of {blocks * block_bytes} are there")
    if size > _LARGEST:
        raise BadImage(f"it has {size >> 30} GiB; an ISO may have {_LARGEST >> 30} GiB")
