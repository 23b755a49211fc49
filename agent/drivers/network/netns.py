"""Network namespaces by name, and a thread that lives in one.

A namespace is the property of a thread. The agent's own threads never change theirs: what must be done inside
a namespace is handed to the one thread that was moved there for good. It also makes the calls of one VPC
follow each other.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pyroute2 import IPRoute

from agent.core.errors import DriverError

RUN_DIR = Path("/run/netns")

_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 1 << 20
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


class Namespace:
    """A thread inside the namespace `name`, or in the agent's own namespace when `name` is None.

    `ip` (routes, links, addresses) may only be used by functions given to `run`.
    """

    def __init__(self, name: str | None) -> None:
        self.name = name
        self._pool = ThreadPoolExecutor(1, f"netns-{name or 'host'}")
        self._thread: int | None = None
        self._ip: IPRoute | None = None
        try:
            self.run(self._enter)
        except BaseException:
            self._pool.shutdown()
            raise

    def run(self, function: Callable[[], T]) -> T:
        """What `function` returns or raises, run inside the namespace after all that was asked before."""
        if threading.get_ident() == self._thread:
            return function()
        try:
            future = self._pool.submit(function)
        except RuntimeError as error:  # its VPC was removed while the caller was on its way
            raise DriverError(f"the namespace {self.name} was just closed", transient=True) from error
        return future.result()

    @property
    def ip(self) -> IPRoute:
        if self._ip is None:
            self._ip = IPRoute()
        return self._ip

    def sysctl(self, values: dict[str, str | int]) -> None:
        """Set `net.` values, named by their path below /proc/sys/net; one that is right already is not written."""

        def write() -> None:
            for name, value in values.items():
                path = Path("/proc/sys/net", name)
                if path.read_text().strip() != str(value):
                    path.write_text(str(value))

        self.run(write)

    def close(self) -> None:
        """Leave the namespace; it stays as it is."""
        if self._ip is not None:
            self.run(self._ip.close)
        self._pool.shutdown()

    def _enter(self) -> None:
        self._thread = threading.get_ident()
        if self.name is not None:
            descriptor = os.open(RUN_DIR / self.name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _check(_libc.setns(descriptor, _CLONE_NEWNET), f"setns {self.name}")
            finally:
                os.close(descriptor)


def names() -> set[str]:
    """All named namespaces of this host, anybody's; a name without a namespace behind it is not one."""
    try:
        return {name for name in os.listdir(RUN_DIR) if exists(name)}
    except FileNotFoundError:
        return set()


def exists(name: str) -> bool:
    """Whether there is a namespace behind the name: an interrupted creation leaves an empty file."""
    try:
        return os.stat(RUN_DIR / name).st_dev == os.stat("/proc/self/ns/net").st_dev
    except FileNotFoundError:
        return False


def create(name: str) -> None:
    """A new namespace, the way `ip netns add` makes one; no-op when there is one of that name."""
    if exists(name):
        return
    failure: list[BaseException] = []

    def work() -> None:
        try:
            _create(name)
        except BaseException as error:
            failure.append(error)

    # The thread that unshares is in the new namespace from then on, so it is one of its own that ends here.
    thread = threading.Thread(target=work, name=f"create-{name}")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


def remove(name: str) -> None:
    """The name is gone, and the namespace when nobody uses it any more; no-op without one."""
    path = RUN_DIR / name
    while _libc.umount2(os.fsencode(path), _MNT_DETACH) == 0:
        pass
    if ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):
        raise OSError(ctypes.get_errno(), f"umount {path}: {os.strerror(ctypes.get_errno())}")
    path.unlink(missing_ok=True)


def _create(name: str) -> None:
    RUN_DIR.mkdir(mode=0o755, exist_ok=True)
    _share()
    path = RUN_DIR / name
    path.touch(mode=0o444)
    try:
        _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        # thread-self: `self` would be the namespace of the main thread
        _check(_libc.mount(b"/proc/thread-self/ns/net", os.fsencode(path), b"none", _MS_BIND, None), f"mount {path}")
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _share() -> None:
    """Let mounts below RUN_DIR be seen from all mount namespaces, as `ip netns` does."""
    run = os.fsencode(RUN_DIR)
    if _libc.mount(b"", run, b"none", _MS_SHARED | _MS_REC, None) == 0:
        return
    _check(_libc.mount(run, run, b"none", _MS_BIND | _MS_REC, None), f"mount {RUN_DIR}")
    _check(_libc.mount(b"", run, b"none", _MS_SHARED | _MS_REC, None), f"share {RUN_DIR}")


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
