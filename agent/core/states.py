"""Instance states and which calls they allow (SPEC I2), and those of disks."""

from __future__ import annotations

from typing import Final

PENDING: Final = "Pending"
STARTING: Final = "Starting"
RUNNING: Final = "Running"
STOPPING: Final = "Stopping"
STOPPED: Final = "Stopped"

# A disk that is on its way to another state is left alone by everything else.
CREATING: Final = "Creating"
AVAILABLE: Final = "Available"
ATTACHING: Final = "Attaching"
IN_USE: Final = "In_use"
DETACHING: Final = "Detaching"
REINITIALISING: Final = "ReIniting"
DISK_STATES: Final = (CREATING, AVAILABLE, ATTACHING, IN_USE, DETACHING, REINITIALISING)

INSTANCE_STATES: Final = (PENDING, STARTING, RUNNING, STOPPING, STOPPED)

# Operation -> the states in which it may be asked for; elsewhere IncorrectInstanceStatus.
ALLOWED: Final[dict[str, frozenset[str]]] = {
    "start": frozenset({STOPPED}),
    "stop": frozenset({RUNNING}),
    "reboot": frozenset({RUNNING}),
    "release": frozenset({STOPPED}),
    # While it stops there is still a screen and a serial line, and what they say then is worth seeing.
    "watch": frozenset({RUNNING, STOPPING}),
    "release_by_force": frozenset({PENDING, STARTING, RUNNING, STOPPING, STOPPED}),
    # On the way up or down nobody could say whether the seed being written has it.
    "reset_password": frozenset({RUNNING, STOPPED}),
    "change_key_pair": frozenset({RUNNING, STOPPED}),
    "set_host_name": frozenset({RUNNING, STOPPED}),
    "reset_password_now": frozenset({RUNNING}),
    "set_user_data": frozenset({STOPPED}),
    "set_type": frozenset({STOPPED}),
    "create_snapshot": frozenset({RUNNING, STOPPED}),
    "create_image": frozenset({RUNNING, STOPPED}),
    "attach_disk": frozenset({RUNNING, STOPPED}),
    "detach_disk": frozenset({RUNNING, STOPPED}),
    "resize_disk": frozenset({RUNNING, STOPPED}),
    "replace_disk": frozenset({STOPPED}),
    "change_iso": frozenset({STOPPED}),
    "set_mac_address": frozenset({STOPPED}),
    "change_network": frozenset({STOPPED}),
    "change_addresses": frozenset({RUNNING, STOPPED}),
}

# What would change the state of an instance while an image is made of it.
NOT_WHILE_IMAGED: Final = frozenset({"start", "stop", "reboot", "release", "create_image"})
