"""What a test makes on the host: claimed first, so that it can be found and taken away when the test was killed.

A claim is a directory below `/var/tmp/ecs-tests` with the name of a prefix that nothing on this host uses. Its file
`lock` is held while the claim lives. Everything a test makes is in the directory (data, sockets, logs, disks: QEMU's
unprivileged user can read there, unlike in pytest's tmp_path) or named by the prefix (domains `<prefix>-i-…`, network
namespaces `<prefix>-vpc-…`, links). `scripts/test` sweeps claims whose lock is free, before and after it runs pytest.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import string
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CLAIMS = Path("/var/tmp/ecs-tests")


@dataclass(frozen=True)
class Claim:
    prefix: str
    directory: Path

    def uses_libvirt(self, uri: str) -> None:
        """Sweep domains from the libvirtd at `uri` instead of the host's own."""
        (self.directory / "libvirt-uri").write_text(uri)


@contextmanager
def claim(claims: Path = CLAIMS) -> Iterator[Claim]:
    """A claim for as long as the block runs. The test removes its domains, namespaces and links itself; when the block
    ends with an error, the claim is left for the sweep."""
    claims.mkdir(parents=True, exist_ok=True)
    # Hidden, and so never swept, until the lock is held.
    making = Path(tempfile.mkdtemp(prefix=".", dir=claims))
    making.chmod(0o755)
    with (making / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        directory = _take_name(making, claims)
        yield Claim(directory.name, directory)
        shutil.rmtree(directory)


def _take_name(making: Path, claims: Path) -> Path:
    while True:
        prefix = _random_prefix()
        if _in_use(prefix):
            continue
        try:
            return making.rename(claims / prefix)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _random_prefix() -> str:
    """`t`, a digit and two more: no name that the usual links of a host (tap0, tun0, team0) begin with."""
    alphabet = string.ascii_lowercase + string.digits
    # Not the generator a test may have seeded.
    source = random.SystemRandom()
    return "t" + source.choice(string.digits) + "".join(source.choices(alphabet, k=2))


def _in_use(prefix: str) -> bool:
    return any(name.startswith(prefix) for name in os.listdir("/sys/class/net"))
