"""Looking for secrets where they must not be: in files, in what processes show of themselves, in answers."""

from __future__ import annotations

import base64
import contextlib
import json
import mmap
import stat
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

SAMPLE_SECONDS = 0.02
_BASE64_STEP = 3


@dataclass(frozen=True)
class Secret:
    """A value the test knows. `answers`: actions whose answer may hold it. `kept`: it may be in files that others
    cannot read (a hash, what a guest needs in plain); otherwise it is nowhere."""

    name: str
    value: str
    answers: frozenset[str] = frozenset()
    kept: bool = False

    def forms(self) -> set[bytes]:
        """How it may look: plain, escaped, hexadecimal, and within Base64 at each of the three places it can begin."""
        plain = self.value.encode()
        found = {plain, quote(self.value).encode(), quote_plus(self.value).encode(), plain.hex().encode()}
        found.add(json.dumps(self.value)[1:-1].encode())
        return found | {_within_base64(plain, lead) for lead in range(_BASE64_STEP)}

    def is_in(self, text: bytes | mmap.mmap) -> bool:
        return any(text.find(form) >= 0 for form in self.forms())


def _within_base64(plain: bytes, lead: int) -> bytes:
    """The characters that stand for `plain` alone when `lead` bytes come before it."""
    encoded = base64.b64encode(bytes(lead) + plain).rstrip(b"=")
    ends_early = (lead + len(plain)) % _BASE64_STEP != 0
    return encoded[(lead * 4 + 2) // 3 : len(encoded) - ends_early]


# ------------------------------------------------------------------------------ files


def leaks_in_files(roots: Iterable[Path], secrets: Iterable[Secret]) -> list[str]:
    """One line for each file below `roots` that holds a secret, unless it may and nobody else can read it."""
    found = []
    for path in (path for root in roots for path in root.rglob("*") if path.is_file() and not path.is_symlink()):
        with _content(path) as content:
            inside = [secret for secret in secrets if secret.is_in(content)]
        readable = others_can_read(path)
        found += [f"{path} holds the {one.name}" for one in inside if not one.kept]
        found += [f"{path} holds the {one.name} and others can read it" for one in inside if one.kept and readable]
    return found


@contextlib.contextmanager
def _content(path: Path) -> Iterator[bytes | mmap.mmap]:
    if path.stat().st_size == 0:
        yield b""
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def others_can_read(path: Path) -> bool:
    """Whether a user who is neither the owner nor of the group can get at the file's content."""
    passable = all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)
    return passable and bool(path.stat().st_mode & stat.S_IROTH)


# ------------------------------------------------------------------------------ processes


class Processes:
    """Notes the arguments and the environment of every process on the host, again and again until `stop`."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def leaks(self, secrets: Iterable[Secret]) -> list[str]:
        return [f"a process showed the {one.name}" for one in secrets if any(one.is_in(text) for text in self.seen)]

    def _watch(self) -> None:
        while not self._end.wait(SAMPLE_SECONDS):
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    self.seen.add((process / "cmdline").read_bytes())
                    self.seen.add((process / "environ").read_bytes())


@contextlib.contextmanager
def watched_processes() -> Iterator[Processes]:
    processes = Processes()
    try:
        yield processes
    finally:
        processes.stop()
