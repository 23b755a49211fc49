"""An ISO to install from that is done within a second (guest/installer.S)."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).with_name("guest") / "installer.S"
_LINK = "-Wl,-Ttext=0x7c00,--oformat=binary,--build-id=none,-melf_i386"


def make_installer(iso: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        boot = Path(directory) / "boot.bin"
        subprocess.run(["gcc", "-m16", "-nostdlib", "-static", _LINK, "-o", boot, _SOURCE], check=True)
        sectors = -(-boot.stat().st_size // 512)
        el_torito = ["-b", "boot.bin", "-no-emul-boot", "-boot-load-size", str(sectors)]
        command = ["xorriso", "-as", "mkisofs", "-quiet", *el_torito, "-o", iso, directory]
        subprocess.run(command, check=True, capture_output=True)
