"""Errors of the kernel as errors of the driver."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pyroute2 import NetlinkError

from agent.core.errors import DriverError

_PASSING = frozenset({errno.EAGAIN, errno.EBUSY, errno.ENOBUFS, errno.ENOMEM, errno.EINTR, errno.ETIMEDOUT})
_HINTS = {
    errno.EPERM: "run the agent as root (CAP_NET_ADMIN and CAP_SYS_ADMIN)",
    errno.EACCES: "run the agent as root (CAP_NET_ADMIN and CAP_SYS_ADMIN)",
    errno.EOPNOTSUPP: "this kernel lacks what that needs; see `host check`",
    errno.EPROTONOSUPPORT: "this kernel has no nf_tables",
    errno.EAFNOSUPPORT: "this kernel lacks an address family that needs",
    errno.EROFS: "the agent needs a writable /proc/sys and /run/netns",
}


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Whatever the kernel refuses within becomes a DriverError: cannot <doing>: <reason>."""
    try:
        yield
    except NetlinkError as error:
        raise _failure(doing, error.code, os.strerror(error.code)) from error
    except TimeoutError as error:
        raise DriverError(f"cannot {doing}: the kernel does not answer", transient=True) from error
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise _failure(doing, error.errno or 0, f"{error.strerror or error}{where}") from error
    except ValueError as error:
        raise DriverError(f"cannot {doing}: {error}") from error


def _failure(doing: str, code: int, reason: str) -> DriverError:
    hint = f"; {_HINTS[code]}" if code in _HINTS else ""
    return DriverError(f"cannot {doing}: {reason}{hint}", transient=code in _PASSING)
