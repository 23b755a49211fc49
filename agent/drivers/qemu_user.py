"""The unprivileged user that QEMU runs as, and files that it, but nobody else, may open."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from agent.core.errors import DriverError

DEFAULT = "libvirt-qemu"


@dataclass(frozen=True)
class QemuUser:
    """Numeric, as the host's passwd says. `own_gid` is the group that only QEMU is in: `gid` may be `kvm`,
    which people join."""

    uid: int
    gid: int
    own_gid: int


def lookup(name: str = DEFAULT) -> QemuUser:
    """Raises DriverError if the host has no such user."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise DriverError(
            f"no user {name!r} to run QEMU as; install libvirt-daemon-system, which creates libvirt-qemu"
        ) from None
    try:
        own_gid = grp.getgrnam(name).gr_gid
    except KeyError:
        own_gid = entry.pw_gid
    return QemuUser(entry.pw_uid, entry.pw_gid, own_gid)


def private_directory(path: Path, user: QemuUser) -> None:
    """Make `path`, if need be, for root and QEMU only. Its parents become passable, not readable, if we make them."""
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir(mode=0o711, exist_ok=True)
            parent.chmod(0o711)
    path.mkdir(mode=0o750, exist_ok=True)
    os.chown(path, 0, user.own_gid)
    path.chmod(0o750)
