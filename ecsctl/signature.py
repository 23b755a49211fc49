"""Request headers of the RPC style and signature v3 (ACS3-HMAC-SHA256)."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from urllib.parse import quote

ALGORITHM = "ACS3-HMAC-SHA256"
FORM = "application/x-www-form-urlencoded"


def headers(action: str, version: str, host: str, body: bytes) -> dict[str, str]:
    """The headers of a POST of `body` (a form) to `/`, still unsigned."""
    return {
        "host": host,
        "accept": "application/json",
        "content-type": FORM,
        "x-acs-action": action,
        "x-acs-version": version,
        "x-acs-date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "x-acs-signature-nonce": os.urandom(16).hex(),
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
    }


def authorization(given: dict[str, str], key_id: str, secret: str, method: str = "POST", path: str = "/") -> str:
    """The Authorization header for a request with the headers `given` and no query."""
    signed = sorted(name for name in given if name in ("host", "content-type") or name.startswith("x-acs-"))
    canonical = "\n".join(
        [
            method,
            quote(path, safe="/~"),
            "",
            "".join(f"{name}:{given[name].strip()}\n" for name in signed),
            ";".join(signed),
            given["x-acs-content-sha256"],
        ]
    )
    text = f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return f"{ALGORITHM} Credential={key_id},SignedHeaders={';'.join(signed)},Signature={signature}"
