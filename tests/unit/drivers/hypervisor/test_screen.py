"""A guest's screen as PNG."""

import struct
import zlib

import pytest

from agent.core.errors import DriverError
from agent.drivers.hypervisor.screen import as_png

PIXELS = bytes(range(18))  # 3 x 2


def test_a_ppm_becomes_a_png() -> None:
    data = as_png(b"P6\n3 2\n255\n" + PIXELS)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(data):
        [length] = struct.unpack(">I", data[at : at + 4])
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + content)
        chunks[kind], at = content, at + 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert chunks[b"IHDR"] == struct.pack(">IIBBBBB", 3, 2, 8, 2, 0, 0, 0)
    assert zlib.decompress(chunks[b"IDAT"]) == b"\0" + PIXELS[:9] + b"\0" + PIXELS[9:]


def test_comments_and_pixels_that_look_like_space() -> None:
    assert as_png(b"P6\n# by somebody\n1 1\n255\n\n\n\n") == as_png(b"P6 1 1 255 \n\n\n")


def test_a_png_stays() -> None:
    assert as_png(b"\x89PNG\r\n\x1a\nrest") == b"\x89PNG\r\n\x1a\nrest"


@pytest.mark.parametrize(
    "picture", [b"", b"GIF89a", b"P6\n3 2\n65535\n" + PIXELS, b"P6\n3 2\n255\n" + PIXELS[:-1], b"P6\n0 0\n255\n"]
)
def test_anything_else_is_refused(picture: bytes) -> None:
    with pytest.raises(DriverError, match="screenshot"):
        as_png(picture)
