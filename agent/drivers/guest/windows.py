"""The seed that cloudbase-init reads in a Windows guest: SeedSpec → files, pure.

It looks for services in the order its configuration names them, mostly ConfigDrive before NoCloud, each on a volume
with a label of its own. So a Windows guest gets two ISOs: the config drive, which alone can carry the password, and the
NoCloud seed for images that were set up for it. Its plug-ins work once for each instance id that they meet, so the id
changes with the password (see WindowsSeed). Network details are left out: Windows asks DHCP by itself.
"""

from __future__ import annotations

import json

from agent.core.errors import DriverError
from agent.core.specs import SeedSpec, WindowsSeed

USER = "Administrator"
CONFIG_DRIVE_LABEL = "config-2"


def config_drive_files(spec: SeedSpec, windows: WindowsSeed) -> dict[str, bytes]:
    """The config drive (OpenStack's format), by path."""
    meta_data: dict[str, object] = {
        "uuid": windows.id,
        "name": spec.host_name,
        "hostname": spec.host_name,
        "availability_zone": spec.zone_id,
        "meta": {"admin_username": USER},
        "public_keys": {},
    }
    if windows.password is not None:
        meta_data["admin_pass"] = windows.password
    files = {"openstack/latest/meta_data.json": _json(meta_data)}
    if spec.user_data:
        files["openstack/latest/user_data"] = spec.user_data
    return files


def nocloud_files(spec: SeedSpec, windows: WindowsSeed) -> dict[str, bytes]:
    """The NoCloud seed; JSON is YAML. It has no place for a password."""
    if not spec.host_name.isprintable():
        raise DriverError(f"the seed cannot carry {spec.host_name!r}: it must be one line of printable characters")
    meta_data = {"instance-id": windows.id, "local-hostname": spec.host_name, "public-keys": []}
    return {"meta-data": _json(meta_data), "user-data": spec.user_data}


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
