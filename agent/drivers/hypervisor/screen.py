"""The screen of a guest as PNG.

libvirt hands over what QEMU draws, a PPM here, a PNG where versions are newer. The PPM is put into a PNG by hand: that
is a header, a checksum and zlib, where an image library would bring readers of many formats into a process of root.
"""

from __future__ import annotations

import re
import struct
import time
import zlib

import libvirt

from agent.core.errors import DriverError

LARGEST = 64 << 20  # bytes of a picture
WAKE_SECONDS = 0.5  # for a guest to unblank its screen and draw it
_LEFT_CTRL = 29  # Linux key code; alone it does nothing
_PNG = b"\x89PNG\r\n\x1a\n"
_PPM = re.compile(rb"P6\s+(?:#[^\n]*\n\s*)*([0-9]{1,5})\s+([0-9]{1,5})\s+255\s")


def png(connection: libvirt.virConnect, domain: libvirt.virDomain, *, wake: bool) -> bytes:
    """The first screen of an active domain. Raises libvirtError, or DriverError for a picture of no known form."""
    if wake:
        domain.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, 50, [_LEFT_CTRL], 1, 0)
        time.sleep(WAKE_SECONDS)
    stream = connection.newStream(0)
    domain.screenshot(stream, 0, 0)
    received = bytearray()
    try:
        while piece := stream.recv(64 << 10):
            received += piece
            if len(received) > LARGEST:
                raise DriverError(f"the screenshot of domain {domain.name()} is larger than {LARGEST} bytes")
        stream.finish()
    except BaseException:
        stream.abort()
        raise
    return as_png(bytes(received))


def as_png(picture: bytes) -> bytes:
    """`picture` (PNG or binary PPM of 8 bits) as PNG. Raises DriverError for anything else."""
    if picture.startswith(_PNG):
        return picture
    head = _PPM.match(picture)
    if head is None:
        raise DriverError(f"the hypervisor gave a screenshot that is neither PNG nor PPM: {picture[:16]!r}")
    width, height = int(head[1]), int(head[2])
    pixels = memoryview(picture)[head.end() :]
    if not width or not height or len(pixels) < 3 * width * height:
        raise DriverError(f"the hypervisor gave a screenshot of {width} x {height} that is cut off")
    # Each row is preceded by the number of its filter: 0, none.
    rows = b"".join(b"\0" + bytes(pixels[3 * width * y : 3 * width * (y + 1)]) for y in range(height))
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return _PNG + _chunk(b"IHDR", size) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
