"""The audit log (SPEC R6): one JSON line for every call, who, from where, what, with which result."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Any

from agent.api.edge.masking import masked_params
from agent.core.clock import Clock, SystemClock
from agent.core.identity import Identity

logger = logging.getLogger(__name__)

MAX_BYTES = 16 << 20
KEPT_FILES = 8


class _PrivateFile(RotatingFileHandler):
    """Rotated by size, readable by the owner alone, and loud in the agent's log when it cannot be written."""

    def _open(self) -> IO[Any]:  # type: ignore[override]
        handle = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(handle, "a", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:
        logger.error("cannot write the audit log %s", self.baseFilename, exc_info=True)


class AuditLog:
    """Writes `audit.log` in `directory`, rotated; thread-safe."""

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "audit.log"
        self._clock = clock or SystemClock()
        self._file = _PrivateFile(self.path, maxBytes=MAX_BYTES, backupCount=KEPT_FILES, delay=True)

    def record(
        self,
        *,
        request_id: str,
        source: str,
        action: str,
        version: str,
        params: Mapping[str, str],
        identity: Identity | None,
        claimed_key: str,
        resources: list[str],
        code: str,
        status: int,
        milliseconds: float,
    ) -> None:
        """One call. `identity` is None when it was not established; then `claimed_key` is all that is known.
        `code` is empty for a success. Secrets in `params` are masked here."""
        line = {
            "time": self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "request_id": request_id,
            "account": identity.account_id if identity else "",
            "principal": _principal(identity),
            "access_key_id": identity.access_key_id if identity else claimed_key[:128],
            "source": source,
            "action": action,
            "version": version,
            "resources": resources,
            "params": masked_params(params),
            "code": code,
            "status": status,
            "milliseconds": round(milliseconds, 1),
        }
        text = json.dumps(line, ensure_ascii=True)
        self._file.handle(logging.LogRecord("audit", logging.INFO, "", 0, text, None, None))
        logger.debug("%s %s %s %s", request_id, action, code or "OK", status)

    def close(self) -> None:
        self._file.close()


def _principal(identity: Identity | None) -> str:
    """`role/<name>/<session>` tells whose temporary key it was: for an instance's, the session is its id."""
    if identity is None:
        return ""
    session = f"/{identity.session.name}" if identity.session else ""
    return f"{identity.principal_type}/{identity.principal_name}{session}"
