"""The serial console's log. virtlogd appends to it and rotates it: `LOG`, before that `LOG.0`, `LOG.1`, …"""

from __future__ import annotations

import os
from pathlib import Path

from agent.core.errors import DriverError


def tail(log: Path, limit_bytes: int) -> bytes:
    """The newest `limit_bytes` of `log`, reaching back into its one-before-last file if need be."""
    newest = _last_bytes(log, limit_bytes)
    missing = limit_bytes - len(newest)
    older = _last_bytes(log.with_name(log.name + ".0"), missing) if missing else b""
    return older + newest


def changed(log: Path) -> float | None:
    """When something was written last, in seconds since the epoch; None when nothing ever was."""
    try:
        return log.stat().st_mtime
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DriverError(f"cannot look at the console log {log}: {error.strerror}") from None


def _last_bytes(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - count))
            return stream.read(count)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise DriverError(f"cannot read the console log {path}: {error.strerror}") from None
