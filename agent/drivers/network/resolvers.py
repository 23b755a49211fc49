"""Which name servers the host asks what guests ask it, when the configuration names none."""

from __future__ import annotations

import ipaddress
from pathlib import Path

# systemd-resolved's own list comes first: the usual file then names nothing but its stub on the loopback.
FILES = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))
PUBLIC = ("223.5.5.5", "1.1.1.1")


def guest_resolvers(uplink: str, configured: tuple[str, ...], files: tuple[Path, ...] = FILES) -> tuple[str, ...]:
    """Without an uplink none; else what is configured, the host's own, or public ones."""
    if configured or uplink == "none":
        return configured if uplink != "none" else ()
    for path in files:
        found = _usable(path)
        if found:
            return found
    return PUBLIC


def _usable(path: Path) -> tuple[str, ...]:
    """Name servers of a resolv.conf, at most three; those of one link only are left out."""
    try:
        words = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return ()
    found = []
    for line in words:
        if len(line) < 2 or line[0] != "nameserver":
            continue
        try:
            address = ipaddress.ip_address(line[1])
        except ValueError:
            continue
        if not address.is_link_local and not address.is_unspecified:
            found.append(str(address))
    return tuple(found[:3])
