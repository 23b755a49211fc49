"""What jobs expect of the drivers that work on disk images; as agent.core.protocols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from agent.core.specs import ImageInfo, Recipe, SeedSpec


class Converter(Protocol):
    """Disk images in foreign formats, handled by qemu-img where it can harm nothing (DESIGN section 4).

    Sources are open descriptors, read from their beginning; nothing is opened by a name that a caller gave. BadImage is
    raised for what is wrong with the content, DriverError for what is wrong here.
    """

    def probe(self, source: int, declared: str = "") -> ImageInfo:
        """What the file is. `declared`: the format somebody says it has, one of IMAGE_FORMATS; a file without any
        header is raw. Raises BadImage when it is another one, refers to other files, is damaged, or absurdly large."""

    def convert(
        self,
        source: int,
        info: ImageInfo,
        target: Path,
        target_format: str,
        *,
        size_bytes: int | None = None,
        report: Callable[[int], None] = lambda percent: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Write the disk in `source` to `target` in another of IMAGE_FORMATS (vmdk: stream-optimised). It is whole,
        durable and 0600 root's when this returns, or not there at all, and refers to no other file.
        `size_bytes`: the disk's size in the target, if it is to be larger. `report` gets percent. Once `cancelled`
        (asked now and then) is true it ends with InterruptedError."""

    def export(
        self,
        chain: Sequence[Path],
        target: Path,
        target_format: str,
        *,
        base_format: str = "qcow2",
        report: Callable[[int], None] = lambda percent: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """The same from our own files: a layer and all that it is an overlay on, the uppermost first. The lowest of
        several may be raw (`base_format`); all others are qcow2."""

    def hand_out(
        self,
        made: Path,
        target: int,
        *,
        report: Callable[[int], None] = lambda percent: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Move the content of `made` into a caller's open file, durably, wherever that lies; what is left of `made` is
        to be removed. On the file system of the disks their reserve is kept, on another one what is kept for root."""

    def sweep(self, *, unfinished: bool) -> list[str]:
        """Remove from the staging directory what nobody wrote to for a week and, `unfinished`, temporary files of
        interrupted calls, which only at start is safe; the names."""


class Inspector(Protocol):
    """Looks into disks, and edits files in them, where what they hold can do no harm."""

    def inspect(
        self,
        chain: Sequence[Path],
        report: Callable[[int, str], None] = lambda percent, text: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Facts about a disk: a layer and all that it is an overlay on, the uppermost first. They are judged by
        core.image_check. Raises BadImage; InterruptedError once `cancelled` is true."""

    def edit(self, chain: Sequence[Path], seed: SeedSpec, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Give the Linux system on a disk that nothing has open the host name, logins, network and identity of `seed`;
        durable. Raises BadImage when it is no system that this can be done with."""


class Builder(Protocol):
    """Public images from the recipes of the catalogue (SPEC M1): built here, or downloaded from a distribution.

    What takes long asks `cancelled` now and then and ends with InterruptedError once it is true.
    """

    def recipes(self) -> dict[str, Recipe]:
        """All recipes of the catalogue, by image id."""

    def newest(self, image_id: str, cancelled: Callable[[], bool] = lambda: False) -> str:
        """What an image made of the recipe now would be made of: of a download the verified checksum, `sha256:…`; of
        a build `build:…`, which changes with the recipe and with each package. Needs the network."""

    def build(
        self,
        image_id: str,
        output: Path,
        report: Callable[[int, str], None],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Build the recipe's qcow2 at `output` (replaced atomically). Interruptible, repeatable."""

    def download(
        self,
        image_id: str,
        checksum: str,
        report: Callable[[int, str], None],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Path:
        """The distribution's file, verified to be the one with this checksum of `newest`; still in its own format.
        What an earlier call that broke off has fetched is not fetched again."""

    def discard_download(self, image_id: str) -> None:
        """Remove what `download` has fetched, whole or in part."""
