"""Files that arrive in pieces: `<id>.part` until all of it is there, `<id>` when it is whole and as it was sent.

How far an upload came, the size of its file says. A piece is written only after its checksum was found right, and is
on the disk before it is confirmed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path

from agent.core.errors import DriverError, WrongContent
from agent.drivers import durable

_ID = re.compile(r"[a-z0-9-]{1,64}\Z")


class PartialFiles:
    """Satisfies core.protocols.PartialFiles, below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o700)

    def begin(self, upload_id: str) -> None:
        """Make it, empty; one that is there stays."""
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._partial(upload_id), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            durable.sync(self._root)

    def offset(self, upload_id: str) -> int:
        """How many bytes of it are here; 0 when nothing is."""
        for path in (self.whole(upload_id), self._partial(upload_id)):
            with contextlib.suppress(FileNotFoundError):
                return path.stat().st_size
        return 0

    def is_whole(self, upload_id: str) -> bool:
        return self.whole(upload_id).exists()

    def whole(self, upload_id: str) -> Path:
        """Where it is when it is whole."""
        return self._root / _checked(upload_id)

    def append(self, upload_id: str, offset: int, piece: bytes) -> int:
        """Write a piece at the end, which is `offset`, durably; how many bytes are here now. Raises DriverError when
        the disk is full: then nothing of the piece is kept."""
        try:
            with open(self._partial(upload_id), "r+b", buffering=0) as stream:
                try:
                    _write_all(stream.fileno(), piece, offset)
                except OSError:
                    stream.truncate(offset)
                    raise
                os.fdatasync(stream.fileno())
        except OSError as error:
            raise DriverError(f"cannot write upload {upload_id}: {error.strerror}") from None
        return offset + len(piece)

    def finish(self, upload_id: str, sha256: str) -> None:
        """Call it whole, if it has this checksum (hex; empty: nobody said one). No-op when it is. Raises WrongContent:
        then it begins anew."""
        partial, whole = self._partial(upload_id), self.whole(upload_id)
        if whole.exists():
            return
        if sha256 and (found := _sha256(partial)) != sha256:
            os.truncate(partial, 0)
            raise WrongContent(f"what arrived has the SHA-256 {found}, not {sha256}: send it again from the beginning")
        durable.sync(partial)
        partial.rename(whole)
        durable.sync(self._root)

    def remove(self, upload_id: str) -> None:
        for path in (self._partial(upload_id), self.whole(upload_id)):
            durable.remove(path)

    def list(self) -> set[str]:
        """Ids of all uploads that have a file."""
        return {path.name.removesuffix(".part") for path in self._root.iterdir()}

    def _partial(self, upload_id: str) -> Path:
        return self._root / f"{_checked(upload_id)}.part"


def _checked(upload_id: str) -> str:
    if not _ID.match(upload_id):
        raise DriverError(f"{upload_id!r} is no upload id")
    return upload_id


def _write_all(descriptor: int, piece: bytes, offset: int) -> None:
    view = memoryview(piece)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _sha256(path: Path) -> str:
    with open(path, "rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
