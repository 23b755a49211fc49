"""For the host's own scripts: what they ask of the running agent goes through the one CLI."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def stop_guests(socket: Path, grace_seconds: int | None) -> int:
    """Stop all guests in order and wait until they are off. The exit status of the CLI."""
    # -P: the current directory is no place to import code from.
    command = [sys.executable, "-P", "-m", "ecsctl", "--endpoint", f"unix://{socket}", "host", "stop-instances"]
    if grace_seconds is not None:
        command += ["--grace", str(grace_seconds)]
    return subprocess.run(command, check=False).returncode
