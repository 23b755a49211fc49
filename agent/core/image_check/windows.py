"""Rules for a Windows system."""

from __future__ import annotations

import re
from typing import Any

from agent.core.image_check.item import Item, failed, listed, ok, unknown, warning

RDP_PORT = 3389
# From the guide: the releases that may be imported.
_RELEASES = re.compile(r"Windows Server (?:\(R\) )?(2003|2008|2012)(?: R2)?", re.IGNORECASE)
_ANY_SERVER = re.compile(r"Windows Server", re.IGNORECASE)
_STORAGE = ("viostor", "vioscsi")
_GET_DRIVERS = "Install the drivers for KVM (the virtio-win package) before the import."


def edition(facts: dict[str, Any]) -> Item:
    name, title, found = "Edition", "Windows edition", facts["system"]["name"]
    if _RELEASES.search(found):
        return ok(name, title, found)
    if _ANY_SERVER.search(found):
        advice = "The guide knows Windows Server 2003 to 2012 R2 only; here it can be imported all the same."
        return warning(name, title, found, advice)
    return failed(
        name, title, found, "Windows XP, 7, 8, 10 and other desktop editions are not supported: use a Server."
    )


def file_system(facts: dict[str, Any]) -> Item:
    name, title, root = "FileSystem", "system file system", facts["system"]["root"]
    kind = next((one["type"] for one in facts["file_systems"] if one["device"] == root), "unknown")
    if kind == "ntfs":
        return ok(name, title, f"NTFS on {root}")
    return failed(name, title, f"{kind} on {root}", "Only NTFS is supported for Windows images.")


def drivers(facts: dict[str, Any]) -> Item:
    name, title, found = "Drivers", "drivers for KVM", facts["system"]["windows"]
    shown = listed(found["drivers"]) or "none"
    if "viostor" not in found["drivers"]:
        return failed(name, title, f"{shown}: no viostor, for the system disk", _GET_DRIVERS)
    if not set(_STORAGE) & set(found["boot_drivers"]):
        advice = f"{_GET_DRIVERS} It must be a boot driver: copying its file is not enough."
        return warning(name, title, f"{shown}; viostor is not started at boot", advice)
    if "netkvm" not in found["drivers"]:
        return failed(name, title, f"{shown}: no netkvm, for the network", _GET_DRIVERS)
    return ok(name, title, shown)


def remote_desktop(facts: dict[str, Any]) -> Item:
    name, title, found = "Port3389", "Remote Desktop on port 3389", facts["system"]["windows"]
    if found["remote_desktop"] is None:
        return unknown(name, title, "the registry could not be read")
    if not found["remote_desktop"]:
        return failed(name, title, "connections are refused", "Allow remote connections in the system's properties.")
    port = found.get("remote_desktop_port") or RDP_PORT
    if port != RDP_PORT:
        return failed(name, title, f"it listens on {port}", f"Let it listen on port {RDP_PORT}.")
    return ok(name, title, "on")


def firewall(facts: dict[str, Any]) -> Item:
    name, title, found = "Firewall", "firewall", facts["system"]["windows"].get("firewalls")
    if found is None:
        return unknown(name, title, "the registry could not be read")
    if found:
        advice = "Switch it off, or let port 3389 through: security groups filter instead."
        return warning(name, title, f"on: {listed(found)}", advice)
    return ok(name, title, "off")


def cloudbase_init(facts: dict[str, Any]) -> Item:
    name, title = "CloudInit", "cloudbase-init"
    if facts["system"]["windows"]["cloudbase_init"]:
        return ok(name, title, "installed")
    advice = "Install cloudbase-init, or set name and password by the management terminal."
    return warning(name, title, "not installed", advice)


def guest_agent(facts: dict[str, Any]) -> Item:
    name, title = "GuestAgent", "guest agent"
    if not facts["system"]["windows"]["guest_agent"]:
        return ok(name, title, "qemu-ga is not installed")
    return warning(name, title, "qemu-ga is installed", "The guide asks not to install it; here it does no harm.")


def interfaces(facts: dict[str, Any]) -> Item:
    name, title, found = "NetworkInterfaces", "network interfaces", facts["system"]["windows"]["interfaces"]
    if found is None:
        return unknown(name, title, "the registry could not be read")
    if found > 1:
        advice = "Importing systems with several network interfaces is not supported: remove those that are not used."
        return warning(name, title, f"{found} have been configured", advice)
    return ok(name, title, str(found))


RULES = (edition, file_system, drivers, remote_desktop, firewall, cloudbase_init, guest_agent, interfaces)


def platform(product: str) -> str:
    """The public API's name of the release, as `Windows Server 2012`."""
    match = re.search(r"20[0-9]{2}", product)
    return f"Windows Server {match[0]}" if match else "Other Windows"
