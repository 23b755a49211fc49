"""A catalogue of two images that are made in no time: one is built, the other a distribution's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.distribution import Distribution

BUILT, PULLED = "built_1_x64", "distro_1_x64"
_BUILD = """#!/bin/sh
# As images/build. What it would be made of is in the file `state`; while there is a file `slow` it takes its time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "$2" = --state ]; then
    cat "$here/state"
    exit
fi
part=$(dirname "$3")/.$(basename "$3").part
trap 'rm -f "$part"' EXIT
trap 'exit 143' TERM
echo "progress 50 half of it"
while [ -e "$here/slow" ]; do sleep 0.1; done
qemu-img create -q -f qcow2 "$part" 1G
mv "$part" "$3"
"""


class SmallCatalogue:
    """In `directory`; the distribution's image is a qcow2 of its own, signed."""

    def __init__(self, directory: Path, distribution: Distribution) -> None:
        self.directory, self._distribution = directory, distribution
        self._fingerprint = distribution.new_key()
        (directory / "build").write_text(_BUILD)
        (directory / "build").chmod(0o755)
        self.slow = directory / "slow"
        self.change(1)
        self._describe(BUILT)
        self._describe(PULLED, distribution.recipe(self._fingerprint))

    def change(self, number: int) -> str:
        """Both images become other ones; the checksum of the one to download."""
        (self.directory / "state").write_text(f"{number}\n")
        disk = self.directory / "disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1G"], check=True)
        write = ["qemu-io", "-f", "qcow2", "-c", f"write -P {number} 0 4M", str(disk)]
        subprocess.run(write, check=True, stdout=subprocess.DEVNULL)
        checksum = self._distribution.publish(disk.read_bytes())
        self._distribution.sign()
        return checksum

    def _describe(self, image_id: str, download: dict[str, Any] | None = None) -> None:
        recipe = {
            **{"id": image_id, "description": "For tests", "os_name": "Test  1", "os_type": "linux", "version": "1"},
            **{"platform": "Others Linux", "architecture": "x86_64", "default_user": "root", "size_gib": 1},
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in recipe.items()]
        if download:
            lines += ["[download]", *(f"{key} = {json.dumps(value)}" for key, value in download.items())]
        folder = self.directory / image_id
        folder.mkdir()
        (folder / "image.toml").write_text("\n".join(lines) + "\n")
