"""User data and boothook in one message, read back as cloud-init reads it: with Python's own parser of messages."""

from __future__ import annotations

import email
import gzip
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from agent.drivers.guest.user_data import MAX_DECOMPRESSED_BYTES, PART_NAME, with_boothook

HOOK = "#cloud-boothook\n#!/bin/sh\necho 'ünï'\n"
CONFIG = "#cloud-config\nvendor_data: {enabled: false}\nruncmd: [echo ü]\n".encode()
SCRIPT = "#!/bin/sh\necho 'ü'\n"


def message() -> bytes:
    """Multi-part user data as tools make it."""
    made = MIMEMultipart()
    made.attach(MIMEText(SCRIPT, "x-shellscript", "utf-8"))
    made.attach(MIMEText(CONFIG.decode(), "cloud-config", "utf-8"))
    return made.as_bytes()


Part = tuple[str, str | None, bytes]


def parts(carried: bytes) -> list[Part]:
    """(type, file name, content) of each part."""
    leaves = [part for part in email.message_from_string(carried.decode()).walk() if not part.is_multipart()]
    found = []
    for part in leaves:
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        found.append((part.get_content_type(), part.get_filename(), content))
    return found


OURS: Part = ("text/cloud-boothook", PART_NAME, HOOK.encode())
MULTIPART: list[Part] = [("text/x-shellscript", None, SCRIPT.encode()), ("text/cloud-config", None, CONFIG)]
SINGLE = b"MIME-Version: 1.0\nContent-Type: text/cloud-config\n\n#cloud-config\n{}\n"


PLAIN = (
    CONFIG,
    b"\n #Cloud-Config\r\n{}\r\n",
    b"#cloud-config-archive\n- '#!/bin/sh'\n",
    b"## template: jinja\n#cloud-config\n{}\n",
    b"#include\nhttp://example.com/\n",
)


@pytest.mark.parametrize(
    ("user_data", "expected"),
    [
        *((one, [("text/plain", None, one)]) for one in PLAIN),
        (gzip.compress(CONFIG, mtime=0), [("text/plain", None, CONFIG)]),
        (message(), MULTIPART),
        (gzip.compress(message(), mtime=0), MULTIPART),
        (b"From nobody Mon Nov 23\n" + message(), MULTIPART),
        (message().rstrip().rpartition(b"\n--")[0], MULTIPART),
        (SINGLE, [("text/cloud-config", None, b"#cloud-config\n{}\n")]),
    ],
)
def test_configuration_of_every_form(user_data: bytes, expected: list[Part]) -> None:
    *users, ours = parts(with_boothook(user_data, HOOK))
    assert ours == OURS
    # What a closing boundary swallows, and an unfinished message adds, is white space at the end.
    assert [(kind, name, content.rstrip()) for kind, name, content in users] == [
        (kind, name, content.rstrip()) for kind, name, content in expected
    ]


@pytest.mark.parametrize(
    "user_data",
    [
        SCRIPT.encode(),
        b"#!/bin/sh\nprintf 'MIME-Version: 1.0\\n\\n' | sendmail\n",
        gzip.compress(SCRIPT.encode(), mtime=0),
        b"#cloud-boothook\n#!/bin/sh\n",
        b"#part-handler\n",
        b'{"ignition": {"version": "3.4.0"}}',
        b"\x1f\x8b damaged",
        gzip.compress(CONFIG, mtime=0)[:-4],
        gzip.compress(CONFIG + b"#" * MAX_DECOMPRESSED_BYTES, mtime=0),
        b"\xff\x00\xfe",
    ],
)
def test_everything_else_stays_the_users_bytes(user_data: bytes) -> None:
    assert with_boothook(user_data, HOOK) == user_data


def test_the_same_again_is_the_same_bytes() -> None:
    assert with_boothook(CONFIG, HOOK) == with_boothook(CONFIG, HOOK)
