"""Images for tests, built from this repository's recipes once and kept until a recipe changes."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
from pathlib import Path

CATALOGUE = Path(__file__).resolve().parents[2] / "images"
CACHE = Path("/var/cache/ecs-tests")


def tiny_image() -> Path:
    """The tiny test image: boots in seconds, reads the seed, says `tiny: ready` on its serial console."""
    return image("tiny_x64")


def image(image_id: str) -> Path:
    """The qcow2 file of a catalogue image. It is shared by all tests: use it as the base of an overlay, or copy it."""
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    built = CACHE / f"{image_id}-{_fingerprint(image_id)}.qcow2"
    with (CACHE / f"{image_id}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            for older in CACHE.glob(f"{image_id}-*.qcow2"):
                older.unlink()
            subprocess.run([str(CATALOGUE / "build"), image_id, "--output", str(built)], check=True)
            built.chmod(0o444)
    return built


def shared_appliance() -> Path:
    """The directory for what agent/drivers/image/appliance.py makes."""
    shared = CACHE / "appliance"
    shared.mkdir(mode=0o755, parents=True, exist_ok=True)
    return shared


def share_appliance(data: Path) -> None:
    """An agent that begins with this data directory finds the appliance that looks into disks, or makes it for all."""
    data.mkdir(exist_ok=True)
    (data / "appliance").symlink_to(shared_appliance())


def _fingerprint(image_id: str) -> str:
    """Changes with everything the build of this image reads from the repository."""
    shared = [path for path in CATALOGUE.iterdir() if path.is_file()]
    trees = [CATALOGUE / "lib", CATALOGUE / image_id]
    files = shared + [path for tree in trees for path in tree.rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    for path in sorted(files):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(CATALOGUE)} {path.stat().st_mode & 0o111:o} {content}\n".encode())
    return digest.hexdigest()[:16]
