"""What gpgv's words mean."""

from __future__ import annotations

import base64

import pytest

from agent.core.errors import DriverError
from agent.drivers.image.signature import binary_keys, problem

OURS, OTHER, SUB = "A" * 40, "B" * 40, "C" * 40
GOOD = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG {0} Somebody\n[GNUPG:] VALIDSIG {0} 2026-01-01 1 0 4 0 22 10 01 {1}\n"


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (GOOD.format(OURS, OURS), ""),
        (GOOD.format(SUB, OURS), ""),
        ("[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG BB 22 10 00 1 9\n[GNUPG:] NO_PUBKEY BB\n" + GOOD.format(OURS, OURS), ""),
        (GOOD.format(OTHER, OTHER), f"signed by the key {OTHER}, but must be by {OURS}"),
        ("", "has no signature"),
        ("[GNUPG:] NEWSIG\n[GNUPG:] BADSIG AA Somebody\n", "its signature by the key AA is wrong"),
        (GOOD.format(OURS, OURS) + "[GNUPG:] NEWSIG\n[GNUPG:] BADSIG BB X\n", "its signature by the key BB is wrong"),
        ("[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG BB 22 10 00 1 9\n", "not among the published keys"),
        (GOOD.format(OURS, OURS).replace("GOODSIG", "EXPKEYSIG"), "has expired or was revoked"),
        (GOOD.format(OURS, OURS).replace("GOODSIG", "REVKEYSIG"), "has expired or was revoked"),
        # A good one of somebody else's does not lend its word to a later one.
        (GOOD.format(OTHER, OTHER) + GOOD.format(OURS, OURS).replace("GOODSIG", "EXPKEYSIG"), "has expired"),
    ],
)
def test_only_a_good_signature_by_one_of_the_keys_counts(status: str, why: str) -> None:
    found = problem(status, (OURS,))
    assert (found == "") == (why == "")
    assert why in found


def test_armoured_keys_are_unpacked() -> None:
    body = base64.encodebytes(b"one key").decode()
    armoured = f"-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: x\n\n{body}=AbCd\n-----END PGP PUBLIC KEY BLOCK-----\n"
    plain = armoured.replace("Comment: x\n", "").replace("=AbCd\n", "")
    assert binary_keys((armoured + plain).encode(), "x") == b"one keyone key"
    assert binary_keys(armoured.replace("\n", "\r\n").encode(), "x") == b"one key"
    assert binary_keys(b"\x99binary", "x") == b"\x99binary"
    with pytest.raises(DriverError, match="damaged"):
        binary_keys(armoured.replace("b25", "b2").encode(), "x")
