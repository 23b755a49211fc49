"""Which parameters never reach a log, an error message or a digest in the clear."""

from __future__ import annotations

import re
from collections.abc import Mapping

# A public key is none, but what is given as one by mistake may be the private key.
_SECRET = re.compile(
    r"password|passwd|secret|privatekey|publickeybody|userdata|securitytoken|(?:^|\.)signature$", re.IGNORECASE
)
LONGEST = 1024  # characters of one value that a log line keeps


def is_secret(name: str) -> bool:
    return _SECRET.search(name) is not None


def masked(name: str, value: str) -> str:
    """`value` as it may be shown: `***` for a secret, shortened when very long."""
    if is_secret(name):
        return "***"
    return value if len(value) <= LONGEST else f"{value[:LONGEST]}…({len(value)} characters)"


def masked_params(params: Mapping[str, str]) -> dict[str, str]:
    return {name: masked(name, value) for name, value in params.items()}
