"""A guest's disk, seen through the appliance. Every call is carried out inside of it."""

from __future__ import annotations

import contextlib
import fnmatch
import posixpath
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

TEXT_BYTES = 256 * 1024  # of a configuration file; more is not read
MEMORY_MIB = 768


class Unusable(Exception):
    """One line why it cannot be done. `content`: because of what is on the disk, not because of this host."""

    def __init__(self, message: str, *, content: bool = True) -> None:
        super().__init__(" ".join(message.split()))
        self.content = content


@contextlib.contextmanager
def opened(disk: str, *, writable: bool, emulate: bool) -> Iterator[Any]:
    """The appliance with the disk, started; what was written is on the disk when the block ends without an error."""
    import guestfs

    handle = guestfs.GuestFS(python_return_dict=True, close_on_exit=False)
    try:
        handle.set_backend_setting("force_tcg" if emulate else "force_kvm", "1")
        handle.set_memsize(MEMORY_MIB)
        handle.add_drive_opts(disk, format="qcow2", readonly=not writable)
        handle.launch()
    except RuntimeError as error:
        handle.close()
        raise Unusable(f"the appliance does not start: {error}", content=False) from None
    print("ready", file=sys.stderr, flush=True)  # progress for whoever waits
    try:
        yield handle
        if writable:
            handle.shutdown()
    except RuntimeError as error:
        raise Unusable(str(error)) from None
    finally:
        handle.close()


class Guest:
    """Questions about mounted files that have an answer for every disk: what is not there is empty."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    def tried(self, call: Callable[..., T], *arguments: Any, default: T, **options: Any) -> T:
        """The call's answer, or `default` when the disk does not allow one."""
        try:
            return call(*arguments, **options)
        except RuntimeError:
            return default

    def systems(self) -> list[str]:
        """Root devices of the operating systems on the disk."""
        found: list[str] = self.tried(self.handle.inspect_os, default=[])
        return found

    def mount(self, root: str) -> dict[str, str]:
        """Mount the system's own file systems; those that could be, device by mount point."""
        mounts = self.tried(self.handle.inspect_get_mountpoints, root, default={}) or {"/": root}
        done = {}
        for point in sorted(mounts, key=len):
            try:
                self.handle.mount_ro(mounts[point], point)
            except RuntimeError as error:
                if point == "/":
                    raise Unusable(f"the root file system {mounts[point]} cannot be mounted: {error}") from None
                continue
            done[point] = mounts[point]
        return done

    def is_file(self, path: str) -> bool:
        return self.tried(self.handle.is_file, path, followsymlinks=True, default=0) == 1

    def is_directory(self, path: str) -> bool:
        return self.tried(self.handle.is_dir, path, followsymlinks=True, default=0) == 1

    def bytes(self, path: str, limit: int = TEXT_BYTES) -> bytes:
        """The beginning of a regular file: a FIFO would never answer."""
        if not self.is_file(path):
            return b""
        found: bytes = self.tried(self.handle.pread, path, limit, 0, default=b"")
        return found

    def text(self, path: str) -> str:
        return self.bytes(path).decode(errors="replace")

    def names(self, directory: str, pattern: str = "*") -> list[str]:
        """Names in a directory, sorted."""
        if not self.is_directory(directory):
            return []
        return sorted(fnmatch.filter(self.tried(self.handle.ls, directory, default=[]), pattern))

    def files(self, directory: str, pattern: str = "*") -> list[str]:
        """Paths of the regular files in a directory, sorted by name."""
        paths = (posixpath.join(directory, name) for name in self.names(directory, pattern))
        return [path for path in paths if self.is_file(path)]
