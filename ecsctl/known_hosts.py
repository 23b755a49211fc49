"""Our own known_hosts file: host keys of guests by instance id, or by host name where ssh knows no other.

Keys are believed as long as the system disk is the same. A guest whose key changes without a new one is refused by ssh.
"""

from __future__ import annotations

import json
from pathlib import Path

from ecsctl.config import home, make_home, write_private


def path() -> Path:
    return home() / "known_hosts"


def _owners_path() -> Path:
    return home() / "known_hosts.owners.json"


def _owners() -> dict[str, str]:
    try:
        owners = json.loads(_owners_path().read_text())
    except (FileNotFoundError, ValueError):
        return {}  # nothing is lost: the next use of each name claims it again
    return owners if isinstance(owners, dict) else {}


def forget(name: str) -> None:
    """Drop the keys kept for a host name."""
    if not path().exists():
        return
    lines = path().read_text().splitlines(keepends=True)
    kept = [line for line in lines if name not in line.split(" ", 1)[0].split(",")]
    if kept != lines:
        write_private(path(), "".join(kept))


def claim(host: str, instance_id: str, system_disk_id: str = "") -> None:
    """Note that `host` now means this instance with this system disk (empty: it is not known). If it meant another
    one, that one's keys are forgotten: a name may be given again after a release, a replaced system has new keys, and
    ssh would take the new guest for an impostor."""
    make_home()
    owners = _owners()
    before_instance, _, before_disk = owners.get(host, "").partition(" ")
    if not system_disk_id and before_instance == instance_id:
        return
    owner = f"{instance_id} {system_disk_id}".strip()
    if owners.get(host) == owner:
        return
    same = before_instance == instance_id or (not before_instance and host == instance_id)
    if not same or before_disk:  # with no disk noted, by an older ecsctl, the keys are of the one that is there
        forget(host)
    owners[host] = owner
    write_private(_owners_path(), json.dumps(owners, indent=1))


def renew(instance_id: str) -> None:
    """The instance's system disk is made anew: whatever keys are kept of it, under any name, will not be its keys."""
    for host, owner in _owners().items():
        if owner.partition(" ")[0] == instance_id:
            forget(host)
    forget(instance_id)
