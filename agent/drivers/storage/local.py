"""Disks and images as qcow2 files below one directory.

    disks/<layer id>.qcow2   0600, owned by QEMU's user; what a layer is: agent/jobs/layers
    images/<image id>.qcow2  0440, owned by root, readable for QEMU, immutable: many disks are overlays on one

A file gets its name only when it is whole and on the disk. Overlays use 128 KiB clusters with sub-clusters, which
make the first writes after a snapshot several times quicker and smaller than plain 64 KiB clusters.
"""

from __future__ import annotations

import errno
import filecmp
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from agent.core.errors import DriverError
from agent.drivers import command, durable, qemu_user

LAYOUT = "compat=1.1,extended_l2=on,cluster_size=128k"
GIB = 1 << 30
_STAT_BLOCK = 512  # bytes, of st_blocks on every file system
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_SUFFIX = ".qcow2"


class LocalStorage:
    """Satisfies core.protocols.Storage. `image_user` runs QEMU and owns the disks."""

    def __init__(self, root: Path, image_user: str = qemu_user.DEFAULT) -> None:
        self._disks = root / "disks"
        self._images = root / "images"
        self._user = qemu_user.lookup(image_user)
        for directory in (self._disks, self._images):
            qemu_user.private_directory(directory, self._user)

    # ------------------------------------------------------------------------------ layers of disks

    def create_layer(self, layer_id: str, size_gib: int, base: Path | None) -> Path:
        """A layer of `size_gib`, an overlay on `base` if given. One that is there already is left as it is.

        Raises DriverError when the base is larger than the layer or the file system is full; nothing is left then.
        """
        final = self.layer_path(layer_id)
        if final.exists():
            return final
        if base is not None:
            _check_base(layer_id, size_gib, base, self.virtual_size_bytes(base))
        try:
            with durable.replacing(final) as temporary:
                _qemu_img(f"create disk {layer_id}", "create", "-q", *_create_arguments(temporary, size_gib, base))
                os.chown(temporary, self._user.uid, self._user.gid)
                temporary.chmod(0o600)
        except OSError as error:
            raise DriverError(f"cannot create disk {layer_id} in {self._disks}: {error.strerror}") from None
        return final

    def resize_layer(self, layer_id: str, size_gib: int) -> None:
        """Grow a layer that nothing has open; durable. No-op when it is that large already."""
        path = self.layer_path(layer_id)
        if self.virtual_size_bytes(path) >= size_gib * GIB:
            return
        _qemu_img(f"grow disk {layer_id} to {size_gib} GiB", "resize", "-q", "-f", "qcow2", str(path), f"{size_gib}G")
        durable.sync(path)

    def delete_layer(self, layer_id: str) -> None:
        """Durable; no-op if there is no such layer."""
        _remove(self.layer_path(layer_id))

    def layer_path(self, layer_id: str) -> Path:
        return self._disks / _file_name(layer_id)

    def list_layers(self) -> set[str]:
        return _names(self._disks)

    # ------------------------------------------------------------------------------ merging layers

    def merge_layer(self, layer_id: str, into: str, give_way: Callable[[], bool]) -> bool:
        """Write the content of a layer into the one below, durably; False when it gave way before the end.

        Nothing may have either open; QEMU's locks on the files see to that (DriverError). Repeatable.
        """
        base, doing = self.layer_path(into), f"merge {layer_id} into {into}"
        arguments = ("-q", "-t", "none", "-d", "-f", "qcow2", "-b", str(base), str(self.layer_path(layer_id)))
        if not command.run_unless(give_way, "qemu-img", "commit", *arguments, doing=doing, package="qemu-utils"):
            return False
        # What an earlier, interrupted one had allocated but not entered yet.
        _qemu_img(doing, "check", "-q", "-f", "qcow2", "-r", "leaks", str(base))
        durable.sync(base)
        return True

    def layer_below(self, layer_id: str) -> str | None:
        """The name, without suffix, of the file that the layer is an overlay on, by its own header."""
        header = _information(self.layer_path(layer_id), f"look into layer {layer_id}")
        backing = header.get("full-backing-filename")
        return Path(str(backing)).stem if backing else None

    def move_layer(self, layer_id: str, onto: str) -> None:
        """Let a layer be an overlay on another one of the same meaning; durable. Nothing may have it open."""
        if self.layer_below(layer_id) != onto:
            arguments = ("-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", str(self.layer_path(onto)))
            _qemu_img(f"move {layer_id} onto {onto}", "rebase", *arguments, str(self.layer_path(layer_id)))
        self.sync_layer(layer_id)

    def sync_layer(self, layer_id: str) -> None:
        """What was written to the file, by whomever, survives a power cut."""
        durable.sync(self.layer_path(layer_id))

    def allocated_bytes(self, layer_id: str) -> int:
        return _allocated(self.layer_path(layer_id))

    # ------------------------------------------------------------------------------ images

    def image_path(self, image_id: str) -> Path:
        return self._images / _file_name(image_id)

    def list_images(self) -> set[str]:
        return _names(self._images)

    def install_image(self, image_id: str, source: Path) -> Path:
        """Move a finished qcow2 file without backing file to its place. Repeatable: that `source` is gone and the
        image there means it was done. An image is never replaced, since disks may be overlays on it."""
        final = self.image_path(image_id)
        try:
            if final.exists():
                return _already_installed(image_id, final, source)
            _check_image(image_id, source)
            with durable.replacing(final) as temporary:
                _take_content(source, temporary)
                os.chown(temporary, 0, self._user.own_gid)
                temporary.chmod(0o440)
            source.unlink(missing_ok=True)
        except OSError as error:
            raise DriverError(f"cannot install image {image_id} in {self._images}: {error.strerror}") from None
        return final

    def delete_image(self, image_id: str) -> None:
        """Durable; no-op if there is no such image. The caller knows that no overlay needs it any more."""
        _remove(self.image_path(image_id))

    def image_allocated_bytes(self, image_id: str) -> int:
        return _allocated(self.image_path(image_id))

    # ------------------------------------------------------------------------------ both

    def virtual_size_bytes(self, path: Path) -> int:
        """The size of the disk in a qcow2 file, which may be in use."""
        return int(str(_information(path, f"look into {path}")["virtual-size"]))

    def sweep(self) -> list[str]:
        return durable.sweep(self._disks) + durable.sweep(self._images)

    def capacity_bytes(self) -> tuple[int, int]:
        usage = shutil.disk_usage(self._disks)
        return usage.total, usage.free


def _file_name(resource_id: str) -> str:
    if not _NAME.match(resource_id):
        raise DriverError(f"{resource_id!r} cannot be a file name: it must be letters, digits, '.', '_' and '-'")
    return resource_id + _SUFFIX


def _names(directory: Path) -> set[str]:
    return {path.name.removesuffix(_SUFFIX) for path in directory.glob(f"[!.]*{_SUFFIX}")}


def _allocated(path: Path) -> int:
    try:
        return path.stat().st_blocks * _STAT_BLOCK
    except FileNotFoundError:
        return 0


def _remove(path: Path) -> None:
    try:
        durable.remove(path)
    except OSError as error:
        raise DriverError(f"cannot delete {path}: {error.strerror}") from None


def _qemu_img(doing: str, *arguments: str) -> str:
    return command.run("qemu-img", *arguments, doing=doing, package="qemu-utils")


def _create_arguments(path: Path, size_gib: int, base: Path | None) -> list[str]:
    backing = [] if base is None else ["-F", "qcow2", "-b", str(base)]
    return ["-f", "qcow2", *backing, "-o", LAYOUT, str(path), str(size_gib * GIB)]


def _information(path: Path, doing: str) -> dict[str, object]:
    """What the header says; `-U` because a running guest may hold the file."""
    answer = _qemu_img(doing, "info", "-U", "-f", "qcow2", "--output=json", str(path))
    found: dict[str, object] = json.loads(answer)
    return found


def _check_base(layer_id: str, size_gib: int, base: Path, base_bytes: int) -> None:
    if size_gib * GIB < base_bytes:
        raise DriverError(
            f"cannot create disk {layer_id}: {size_gib} GiB is less than the {base_bytes / GIB:g} GiB of {base}"
        )


# ---------------------------------------------------------------------------------- installing images


def _check_image(image_id: str, source: Path) -> None:
    """A file that leads to other files would let an image reach into the host."""
    header = _information(source, f"install image {image_id}")
    details = header.get("format-specific")
    data = details.get("data", {}) if isinstance(details, dict) else {}
    if "backing-filename" in header or "data-file" in data:
        raise DriverError(f"cannot install image {image_id}: {source} refers to another file, convert it first")


def _already_installed(image_id: str, final: Path, source: Path) -> Path:
    if source.exists():
        if not os.path.samefile(source, final) and not filecmp.cmp(source, final, shallow=False):
            raise DriverError(f"image {image_id} exists with other content: delete it first, when no disk needs it")
        source.unlink()
    return final


def _take_content(source: Path, target: Path) -> None:
    """A second name for the file, or a copy on another file system: `source` stays until the image is installed."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(source, target)
