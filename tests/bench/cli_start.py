"""How fast ecsctl starts, beside the bare interpreter in the same run: `python tests/bench/cli_start.py`.

`instance ls` asks the agent of ECSCTL_ENDPOINT or of this host; without one it asks a peer with ten instances.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ecsctl.config import DEFAULT_SOCKET  # noqa: E402
from tests.support import cli_answers as recorded  # noqa: E402
from tests.support.cli_peer import Peer, listing  # noqa: E402

ROUNDS = 21
LIMITS_MS = {"ecsctl --help": 150, "ecsctl instance ls": 300}


def median_ms(arguments: list[str], environ: dict[str, str]) -> float:
    """The median wall-clock time of a command over ROUNDS runs."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run(arguments, env=environ, check=True, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - began) * 1000)
    return sorted(times)[ROUNDS // 2]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ecsctl-") as directory:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        peer = None
        if "ECSCTL_ENDPOINT" not in environ and not Path(DEFAULT_SOCKET).exists():
            found = [recorded.instance(f"i-{number:020d}", f"vm-{number}") for number in range(10)]
            peer = Peer({"DescribeInstances": listing("Instances.Instance", found)})
            peer.start(Path(directory) / "agent.sock")
            environ |= {"ECSCTL_ENDPOINT": f"unix://{directory}/agent.sock", "ECSCTL_REGION": "local"}
        bare = median_ms([sys.executable, "-c", "pass"], environ)
        print(f"{'python -c pass':22} {bare:6.0f} ms")
        for shown, limit in LIMITS_MS.items():
            taken = median_ms([sys.executable, "-m", *shown.split()], environ)
            print(f"{shown:22} {taken:6.0f} ms  {taken / bare:5.1f} x bare  (wanted: under {limit} ms)")
        if peer is not None:
            peer.stop()


if __name__ == "__main__":
    main()
