"""How a Linux system configures its network, and DHCP written in each of these ways."""

from __future__ import annotations

import configparser
import posixpath
import re

from .guest import Guest

NETPLAN, NETWORKD, NETWORK_MANAGER = "netplan", "systemd-networkd", "NetworkManager"
IFUPDOWN, BUSYBOX, SYSCONFIG, WICKED = "ifupdown", "busybox ifupdown", "sysconfig", "wicked"

PLACES = {
    NETPLAN: ("/etc/netplan", "*.yaml"),
    NETWORKD: ("/etc/systemd/network", "*.network"),
    NETWORK_MANAGER: ("/etc/NetworkManager/system-connections", "*"),
    IFUPDOWN: ("/etc/network/interfaces.d", "*"),
    SYSCONFIG: ("/etc/sysconfig/network-scripts", "ifcfg-*"),
    WICKED: ("/etc/sysconfig/network", "ifcfg-*"),
}
_INTERFACES = "/etc/network/interfaces"
_OUT_OF_USE = ".bak"  # every one of these programs overlooks files that end so
_LOOPBACK = "lo"
# What a guest's first interface may be called, on either machine type; a name that is not there does no harm.
_NAMES = ["eth0", *(f"ens{n}" for n in range(2, 11)), *(f"enp{b}s{n}" for b in (0, 1) for n in range(11))]


# ---------------------------------------------------------------------------------- what is there


def interfaces(guest: Guest) -> list[dict[str, str]]:
    """Configured interfaces but the loopback, by name: method dhcp or static."""
    found: dict[str, str] = {}
    for path in [_INTERFACES, *guest.files(*PLACES[IFUPDOWN])]:
        found |= from_ifupdown(guest.text(path))
    for place in (PLACES[SYSCONFIG], PLACES[WICKED]):
        for path in guest.files(*place):
            found |= from_ifcfg(posixpath.basename(path).removeprefix("ifcfg-"), guest.text(path))
    for path in guest.files(*PLACES[NETWORKD]):
        found |= from_ini(guest.text(path), "Match", "Name", "Network", "Address")
    for path in guest.files(*PLACES[NETWORK_MANAGER]):
        found |= from_ini(guest.text(path), "connection", "interface-name", "ipv4", "address1")
    for path in guest.files(*PLACES[NETPLAN]):
        found |= from_netplan(guest.text(path))
    found.pop(_LOOPBACK, None)
    return [{"name": name, "method": method} for name, method in sorted(found.items())]


def from_ifupdown(text: str) -> dict[str, str]:
    found = re.findall(r"^\s*iface\s+(\S+)\s+inet\s+(\S+)", text, re.MULTILINE)
    return {name: "dhcp" if method == "dhcp" else "static" for name, method in found if method != "loopback"}


def from_ifcfg(name: str, text: str) -> dict[str, str]:
    values = dict(re.findall(r"^\s*(\w+)=[\"']?([^\"'\n]*)", text, re.MULTILINE))
    if name == _LOOPBACK or name.endswith(_OUT_OF_USE) or values.get("TYPE", "Ethernet") != "Ethernet":
        return {}
    return {values.get("DEVICE", name): "static" if values.get("IPADDR") else "dhcp"}


def from_ini(text: str, section: str, key: str, addresses: str, address: str) -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    if not parser.has_section(section):
        return {}
    name = parser.get(section, key, fallback=None) or "*"
    return {name: "static" if parser.get(addresses, address, fallback=None) else "dhcp"}


def from_netplan(text: str) -> dict[str, str]:
    """Without a YAML parser, which the system's Python need not have: the blocks below `ethernets:` by indentation."""
    found: dict[str, str] = {}
    depth = inner = -1
    name = ""
    for line in text.splitlines():
        stripped = line.split("#", 1)[0].rstrip()
        if not stripped:
            continue
        indent = len(stripped) - len(stripped.lstrip())
        word = stripped.strip()
        if word == "ethernets:":
            depth, inner, name = indent, -1, ""
        elif indent <= depth:
            depth = -1
        elif depth >= 0 and inner in (-1, indent) and word.endswith(":"):
            inner, name = indent, word[:-1].strip("\"'")
            found[name] = "dhcp"
        elif depth >= 0 and word.startswith("addresses:") and name and indent == inner + 2:
            found[name] = "static"
    return found


# ---------------------------------------------------------------------------------- DHCP


def style(guest: Guest, services: set[str]) -> str:
    """What configures the network at boot; empty when it is nothing that is known here."""
    if guest.is_file("/usr/sbin/netplan") or guest.files(*PLACES[NETPLAN]):
        return NETPLAN
    if guest.is_file("/etc/sysconfig/network/config"):
        return WICKED
    if guest.is_file("/etc/sysconfig/network-scripts/ifup") or guest.files(*PLACES[SYSCONFIG]):
        return SYSCONFIG
    if "NetworkManager" in services:
        return NETWORK_MANAGER
    if "systemd-networkd" in services:
        return NETWORKD
    if guest.is_file(_INTERFACES):
        return BUSYBOX if guest.is_file("/etc/alpine-release") else IFUPDOWN
    return ""


def dhcp_files(way: str, mac: str) -> dict[str, str]:
    """By path, what makes the system ask DHCP on its first interface; all else that configures one goes out of use."""
    if way in (IFUPDOWN, BUSYBOX):
        return {_INTERFACES: _ifupdown(_NAMES if way == IFUPDOWN else ["eth0"], "allow-hotplug", way == BUSYBOX)}
    return {
        NETPLAN: {"/etc/netplan/50-ecs.yaml": _NETPLAN_TEXT},
        NETWORKD: {"/etc/systemd/network/50-ecs.network": _NETWORKD_TEXT},
        NETWORK_MANAGER: {"/etc/NetworkManager/system-connections/ecs.nmconnection": _NETWORK_MANAGER_TEXT},
        SYSCONFIG: {
            "/etc/sysconfig/network-scripts/ifcfg-ecs": f"TYPE=Ethernet\nNAME=ecs\nHWADDR={mac.upper()}\n"
            "BOOTPROTO=dhcp\nONBOOT=yes\n"
        },
        WICKED: {"/etc/sysconfig/network/ifcfg-eth0": "BOOTPROTO='dhcp'\nSTARTMODE='auto'\n"},
    }.get(way, {})


def others(guest: Guest, way: str) -> list[str]:
    """Files of the same way that configure interfaces, apart from the loopback and what `dhcp_files` writes."""
    place = PLACES.get(way)
    if place is None:
        return []
    ours = set(dhcp_files(way, ""))
    found = [path for path in guest.files(*place) if path not in ours and not path.endswith(_OUT_OF_USE)]
    return [path for path in found if posixpath.basename(path) not in ("ifcfg-lo", "ifcfg-template")]


def out_of_use(path: str) -> str:
    return path + _OUT_OF_USE


def _ifupdown(names: list[str], when: str, busybox: bool) -> str:
    blocks = [f"{'auto' if busybox else when} {name}\niface {name} inet dhcp\n" for name in names]
    return "\n".join(["auto lo\niface lo inet loopback\n", *blocks])


_NETWORKD_TEXT = """\
[Match]
Name=en* eth*

[Network]
DHCP=ipv4

[DHCPv4]
UseDomains=yes
"""
_NETPLAN_TEXT = """\
network:
  version: 2
  ethernets:
    ecs:
      match:
        name: "e*"
      dhcp4: true
      dhcp4-overrides: {use-domains: true}
"""
_NETWORK_MANAGER_TEXT = """\
[connection]
id=ecs
type=ethernet
autoconnect=true

[ipv4]
method=auto

[ipv6]
method=ignore
"""
