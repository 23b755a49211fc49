"""A directory in place of a guest's mounted disk: what libguestfs would answer about it, without its appliance."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any


class TreeHandle:
    """As far as agent/drivers/image/inside calls it. Raises RuntimeError as the real one does."""

    def __init__(self, root: Path, files: dict[str, str]) -> None:
        self.root = root
        self.attributes: dict[str, str] = {}
        for name, text in files.items():
            path = self._at(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str:
        return self._at(path).read_text()

    def mode(self, path: str) -> int:
        return self._at(path).stat().st_mode & 0o777

    def exists(self, path: str) -> bool:
        return self._at(path).exists()

    # ------------------------------------------------------------------------ as libguestfs has them

    def list_filesystems(self) -> dict[str, str]:
        return {"/dev/sda1": "ext4"}

    def umount_all(self) -> None:
        pass

    def mount(self, device: str, point: str) -> None:
        pass

    def is_file(self, path: str, followsymlinks: bool = False) -> int:
        return int(self._at(path).is_file())

    def is_dir(self, path: str, followsymlinks: bool = False) -> int:
        return int(self._at(path).is_dir())

    def ls(self, path: str) -> list[str]:
        return os.listdir(self._at(path))

    def pread(self, path: str, count: int, offset: int) -> bytes:
        return self._at(path).read_bytes()[offset : offset + count]

    def get_e2attrs(self, path: str) -> str:
        return self.attributes.get(path, "e")

    def filesize(self, path: str) -> int:
        return self._at(path).stat().st_size

    def download(self, path: str, target: str) -> None:
        shutil.copyfile(self._at(path), target)

    def realpath(self, path: str) -> str:
        return path

    def write(self, path: str, content: bytes) -> None:
        self._at(path).write_bytes(content)

    def copy_attributes(self, path: str, target: str, **what: Any) -> None:
        self._at(target).chmod(self.mode(path))

    def chmod(self, mode: int, path: str) -> None:
        self._at(path).chmod(mode)

    def mv(self, path: str, target: str) -> None:
        self._at(path).rename(self._at(target))

    def cp_a(self, path: str, target: str) -> None:
        shutil.copyfile(self._at(path), self._at(target))

    def rm(self, path: str) -> None:
        self._at(path).unlink()

    def mkdir_p(self, path: str) -> None:
        self._at(path).mkdir(parents=True, exist_ok=True)

    def mkdir_mode(self, path: str, mode: int) -> None:
        self._at(path).mkdir(mode=mode)

    def touch(self, path: str) -> None:
        self._at(path).touch()
