"""Rules for a Linux system: whether somebody can get in, and what an instance's identity is given by."""

from __future__ import annotations

from typing import Any

from agent.core.image_check.item import Item, failed, listed, ok, unknown, warning

SSH_PORT = 22
_DATASOURCES = ("NoCloud", "AliYun", "ConfigDrive")


def shadow(facts: dict[str, Any]) -> Item:
    name, title, found = "Shadow", "/etc/shadow", facts["system"]["linux"]["shadow"]
    if not found["present"]:
        return failed(name, title, "it is not there", "Passwords cannot be set: use shadow passwords (`pwconv`).")
    if found["immutable"]:
        advice = "Do not make /etc/shadow read-only: `chattr -ia /etc/shadow`."
        return failed(name, title, "it may not be changed", advice)
    return ok(name, title, "it may be changed")


def root_login(facts: dict[str, Any]) -> Item:
    name, title, linux = "RootLogin", "login as root", facts["system"]["linux"]
    sshd, cloud = linux["ssh"]["root"], linux["cloud_init"]
    if linux["shadow"]["root"] == "empty":
        return failed(name, title, "root has an empty password", "Lock root, or give it a password.")
    if sshd == "no":
        advice = "Set PermitRootLogin to yes or prohibit-password in sshd_config: instances are logged in to as root."
        return failed(name, title, "sshd refuses root", advice)
    if cloud["installed"] and cloud["disable_root"]:
        return warning(
            name,
            title,
            "cloud-init keeps root out (disable_root)",
            "Log in as the distribution's own user, or set `disable_root: false` in /etc/cloud/cloud.cfg.",
        )
    return ok(name, title, f"root: {linux['shadow']['root']}; sshd: {sshd or 'its default'}")


def ssh(facts: dict[str, Any]) -> Item:
    name, title, found = "Port22", "SSH on port 22", facts["system"]["linux"]["ssh"]
    if not found["server"]:
        return failed(name, title, "there is no SSH server", "Install one, and let it start at boot.")
    if found["enabled"] is False:
        return failed(name, title, f"{found['server']} is not started at boot", "`systemctl enable ssh` (or sshd).")
    if SSH_PORT not in found["ports"]:
        ports = listed([str(port) for port in found["ports"]])
        return failed(name, title, f"{found['server']} listens on {ports}", "Let it listen on port 22.")
    if found["enabled"] is None:
        return unknown(name, title, f"{found['server']}; whether it is started cannot be told")
    return ok(name, title, f"{found['server']}, started at boot")


def firewall(facts: dict[str, Any]) -> Item:
    name, title, found = "Firewall", "firewall", facts["system"]["linux"]["firewalls"]
    if not found:
        return ok(name, title, "none is on")
    advice = "Switch it off: security groups filter instead, and one in the guest may shut port 22."
    return warning(name, title, f"on: {listed(found)}", advice)


def cloud_init(facts: dict[str, Any]) -> Item:
    name, title, found = "CloudInit", "cloud-init", facts["system"]["linux"]["cloud_init"]
    otherwise = (
        "Import it as `Customized Linux`: its files are changed for name, password, keys and network then. "
        "`Others Linux` leaves it as it is."
    )
    if not found["installed"]:
        return warning(name, title, "not installed", f"Install it, or: {otherwise}")
    if found["disabled"]:
        return warning(name, title, "switched off", f"Remove /etc/cloud/cloud-init.disabled, or: {otherwise}")
    sources = found["datasources"]
    if sources and not set(sources) & set(_DATASOURCES[:2]):
        advice = "Add NoCloud (and AliYun) to datasource_list below /etc/cloud: an instance's seed is not found."
        return failed(name, title, f"it looks for {listed(sources)} only", advice)
    return ok(name, title, f"installed; it looks for {listed(sources) or 'everything it knows'}")


def guest_agent(facts: dict[str, Any]) -> Item:
    name, title = "GuestAgent", "guest agent"
    if not facts["system"]["linux"]["guest_agent"]:
        return ok(name, title, "qemu-ga is not installed")
    advice = "The guide asks not to install qemu-ga; here it does no harm, and serves `instance reset-password --now`."
    return warning(name, title, "qemu-ga is installed", advice)


def interfaces(facts: dict[str, Any]) -> Item:
    """Patterns and names that may not exist are no interfaces of their own."""
    name, title, found = "NetworkInterfaces", "network interfaces", facts["system"]["linux"]["interfaces"]
    shown = listed([f"{one['name']} ({one['method']})" for one in found]) or "none is configured"
    fixed = [one["name"] for one in found if one["method"] == "static"]
    if fixed:
        advice = "Use DHCP: a fixed address is wrong in any other network."
        return failed(name, title, shown, advice)
    if len([one for one in found if "*" not in one["name"]]) > 1:
        return warning(name, title, shown, "Importing systems with several network interfaces is not supported.")
    return ok(name, title, shown)


RULES = (shadow, root_login, ssh, firewall, cloud_init, guest_agent, interfaces)
