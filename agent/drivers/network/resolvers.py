"""Which name servers guests are told of, when the configuration names none."""

from __future__ import annotations

import ipaddress
from pathlib import Path

# systemd-resolved's own list comes first: the usual file then names nothing but its stub on the loopback.
FILES = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))
PUBLIC = ("223.5.5.5", "1.1.1.1")


def guest_resolvers(uplink: str, configured: tuple[str, ...], files: tuple[Path, ...] = FILES) -> tuple[str, ...]:
    """What is configured; without an uplink none; else the host's own that guests can reach, or public ones."""
    if configured or uplink == "none":
        return configured
    for path in files:
        found = _usable(path)
        if found:
            return found
    return PUBLIC


def _usable(path: Path) -> tuple[str, ...]:
    """IPv4 name servers of a resolv.conf that are not on the host's loopback, at most three."""
    try:
        words = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return ()
    found = []
    for line in words:
        if len(line) < 2 or line[0] != "nameserver":
            continue
        try:
            address = ipaddress.IPv4Address(line[1])
        except ValueError:
            continue
        if not address.is_loopback and not address.is_unspecified:
            found.append(str(address))
    return tuple(found[:3])
