"""`ecsctl instance`: the group; its commands live in the modules beside."""

from __future__ import annotations

import click

from ecsctl.cli import LazyGroup

_HERE = "ecsctl.commands"

_COMMANDS = {
    "create": (f"{_HERE}.instance_create", "create", "Create instances."),
    "ls": (f"{_HERE}.instance_list", "ls", "List instances."),
    "show": (f"{_HERE}.instance_list", "show", "Show one instance."),
    "start": (f"{_HERE}.instance_power", "start", "Start instances."),
    "stop": (f"{_HERE}.instance_power", "stop", "Stop instances."),
    "reboot": (f"{_HERE}.instance_power", "reboot", "Restart instances: shutdown and a new start."),
    "release": (f"{_HERE}.instance_power", "release", "Delete instances with their disks and addresses."),
    "set": (
        f"{_HERE}.instance_change",
        "set_",
        "Change name, description, host name, user data, groups, protection.",
    ),
    "set-type": (f"{_HERE}.instance_system", "set_type", "Change the type of a stopped instance."),
    "set-network": (
        f"{_HERE}.instance_address",
        "set_network",
        "Move a stopped instance to another VSwitch, VPC or address.",
    ),
    "address": (f"{_HERE}.instance_address", "address", "Private addresses of an instance."),
    "set-bandwidth": (
        f"{_HERE}.instance_bandwidth",
        "set_bandwidth",
        "Change the bandwidth of an instance's own public address.",
    ),
    "replace-system-disk": (
        f"{_HERE}.instance_system",
        "replace_system_disk",
        "Replace the system disk, and with it the operating system.",
    ),
    "adopt": (f"{_HERE}.image_adopt", "adopt_instance", "Make an instance of a guest that others ran on this host."),
    "insert": (f"{_HERE}.instance_iso", "insert", "Put an ISO into the drive, to install from."),
    "eject": (f"{_HERE}.instance_iso", "eject", "Take the ISO out of the drive."),
    "password": (f"{_HERE}.instance_change", "password", "Reset the login password."),
    "user-data": (f"{_HERE}.instance_change", "user_data", "Print the user data."),
    "wait": (f"{_HERE}.instance_wait", "wait", "Wait until an instance runs, is stopped or answers SSH."),
    "diagnose": (f"{_HERE}.instance_wait", "diagnose", "Say where an instance hangs."),
    "console-output": (f"{_HERE}.instance_wait", "console_output", "Print the last output of the serial console."),
    "console": (f"{_HERE}.instance_console", "console", "Attach to the serial console."),
    "rdp": (f"{_HERE}.instance_rdp", "rdp", "Remote desktop of a Windows instance: address, .rdp file, local port."),
    "screenshot": (f"{_HERE}.instance_console", "screenshot", "Write a picture of the screen."),
    "role": (f"{_HERE}.instance_role", "role", "The RAM role of instances."),
    "metadata-options": (
        f"{_HERE}.instance_role",
        "metadata_options",
        "Show or change how the metadata service answers.",
    ),
    "ssh": (f"{_HERE}.instance_login", "ssh", "Log in, or run a command, through the agent."),
    "cp": (f"{_HERE}.instance_login", "cp", "Copy files from and to an instance."),
    "dial": (f"{_HERE}.instance_login", "dial", ""),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def instance() -> None:
    """Virtual machines."""
