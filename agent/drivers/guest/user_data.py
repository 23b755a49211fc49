"""User data as the seed carries it: the user's own, and beside it our boothook where it could otherwise be lost.

cloud-init drops vendor data, and our boothook with it, when the user's configuration says `vendor_data: {enabled:
false}`. So a configuration travels in a multi-part message: one part is the user's, unchanged, the other our boothook.
It is in the vendor data all the same; whichever comes second finds its work done. Everything that is no
configuration, scripts above all, stays exactly the user's bytes, for guests that know less than cloud-init does.
"""

from __future__ import annotations

import base64
import hashlib
import zlib

MAX_DECOMPRESSED_BYTES = 1024 * 1024  # of gzip'd user data that is looked into; more stays as it is
PART_NAME = "ecs-login"
# What cloud-init reads configuration from: at the beginning, in any case and behind any space. `#include` fetches it.
_CONFIGURATION = (b"#cloud-config", b"#include", b"## template: jinja")
_MIME_WITHIN_BYTES = 4096  # as far as cloud-init looks for a message's header
_GZIP = b"\x1f\x8b"

_MESSAGE = b"""\
Content-Type: multipart/mixed; boundary="%(boundary)s"
MIME-Version: 1.0

--%(boundary)s
%(user_part)s
--%(boundary)s
Content-Type: text/cloud-boothook; charset="utf-8"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="%(name)s"

%(boothook)s
--%(boundary)s--
"""
# cloud-init finds out itself what a plain text is, as it does outside of a message.
_PLAIN_PART = b"""\
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: base64

"""


def with_boothook(user_data: bytes, boothook: str) -> bytes:
    """`user_data`, or a message of it and the boothook if it is configuration of cloud-init."""
    plain = _decompressed(user_data)
    is_message = _is_message(plain)
    if not is_message and not plain.lstrip().lower().startswith(_CONFIGURATION):
        return user_data
    parts = {
        # A message is a part as it stands: its own header becomes the part's.
        b"user_part": plain if is_message else _PLAIN_PART + base64.encodebytes(plain),
        b"boothook": base64.encodebytes(boothook.encode()),
        b"name": PART_NAME.encode(),
        b"boundary": b"ecs-" + hashlib.sha256(plain).hexdigest()[:32].encode(),
    }
    return _MESSAGE % parts


def _decompressed(user_data: bytes) -> bytes:
    """What cloud-init would read; unchanged what is not gzip, is damaged or becomes too large."""
    if not user_data.startswith(_GZIP):
        return user_data
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = stream.decompress(user_data, MAX_DECOMPRESSED_BYTES)
    except zlib.error:
        return user_data
    return plain if stream.eof else user_data


def _is_message(plain: bytes) -> bool:
    return b"mime-version:" in plain[:_MIME_WITHIN_BYTES].lower() and not plain.startswith(b"#!")
