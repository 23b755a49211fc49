"""Images as their distributions publish them: which one is the newest, fetching it, and that it is the one."""

from __future__ import annotations

import hashlib
import lzma
import re
from collections.abc import Callable
from pathlib import Path

from agent.core.errors import DriverError
from agent.core.specs import Download
from agent.drivers.image import fetch, signature
from agent.drivers.image.recipe import checksum_in

LARGEST_DISK_BYTES = 128 << 30  # of an unpacked file
_UNPACK_MEMORY = 256 << 20
_CHECKSUM = re.compile(r"(sha256|sha512):([0-9a-f]{64,128})")


def newest(image_id: str, download: Download) -> str:
    """The checksum of what is to be downloaded, `sha256:…`, out of a list that is verified. Raises DriverError."""
    listing = fetch.text(download.checksums)
    if download.fingerprints:
        detached = fetch.text(download.signature) if download.signature else b""
        keys = fetch.text(download.key)
        listing = signature.verified(listing, detached, keys, download.fingerprints, download.checksums)
    try:
        text = listing.decode("utf-8", errors="replace")
        digest = checksum_in(text, download.url, download.checksums, download.algorithm)
    except ValueError as error:
        raise DriverError(f"cannot download {image_id}: {error}; see its recipe") from None
    return f"{download.algorithm}:{digest}"


class Downloads:
    """What is downloaded, in a directory of root's own: `download-<image id>-<checksum>`, whole or in part."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def file(
        self, image_id: str, download: Download, checksum: str, report: fetch.Report, cancelled: Callable[[], bool]
    ) -> Path:
        """The verified file, unpacked. Raises DriverError and InterruptedError."""
        match = _CHECKSUM.fullmatch(checksum)
        if match is None:
            raise DriverError(f"cannot download {image_id}: {checksum!r} is no checksum")
        partial = fetch.Partial(self._directory / f"download-{image_id}-{match[2][:16]}")
        self._discard(image_id, keep=partial.path.name)
        # When it is whole, only the verifying is repeated.
        if not _matches(partial.path, match[1], match[2]):
            fetch.file(download.url, partial, report, cancelled)
            if not _matches(partial.path, match[1], match[2]):
                partial.discard()
                raise DriverError(f"what {download.url} sent does not have the checksum {checksum}; it was removed")
        return _unpacked(partial.path, report, cancelled) if download.compression else partial.path

    def discard(self, image_id: str) -> None:
        self._discard(image_id, keep="")

    def _discard(self, image_id: str, keep: str) -> None:
        """Remove all of the image but what begins with `keep`."""
        for path in self._directory.glob(f"download-{image_id}-*"):
            if not (keep and path.name.startswith(keep)) and _is_of(path.name, image_id):
                path.unlink(missing_ok=True)


def _is_of(name: str, image_id: str) -> bool:
    """Another image's id may begin with this one's."""
    return re.fullmatch(r"[0-9a-f]{16}(\.[a-z]+)?", name.removeprefix(f"download-{image_id}-")) is not None


def _matches(path: Path, algorithm: str, digest: str) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest() == digest


def _unpacked(path: Path, report: fetch.Report, cancelled: Callable[[], bool]) -> Path:
    """The file out of a .xz whose checksum is the right one. Bounded all the same."""
    output = path.with_name(f"{path.name}.disk")
    written, total = 0, path.stat().st_size
    try:
        unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_UNPACK_MEMORY)
        with path.open("rb") as packed, output.open("wb") as stream:
            while not unpacker.eof:
                piece = packed.read(fetch.PIECE_BYTES) if unpacker.needs_input else b""
                if unpacker.needs_input and not piece:
                    raise EOFError
                written += stream.write(unpacker.decompress(piece, fetch.PIECE_BYTES))
                if written > LARGEST_DISK_BYTES:
                    raise DriverError(f"cannot unpack {path.name}: it becomes larger than {LARGEST_DISK_BYTES} bytes")
                if written % (64 * fetch.PIECE_BYTES) < fetch.PIECE_BYTES:
                    report(packed.tell() * 100 // total, "unpacking")
                    if cancelled():
                        raise InterruptedError
        return output
    except InterruptedError:
        raise
    except (lzma.LZMAError, EOFError):
        raise DriverError(f"cannot unpack {path.name}: it is damaged") from None
    except OSError as error:
        raise DriverError(f"cannot unpack {path.name}: {error.strerror}") from None
