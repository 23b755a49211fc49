"""What a Linux system starts by itself: its SSH server and its firewalls."""

from __future__ import annotations

import re
from typing import Any

from .guest import Guest

SSH_SERVERS = {"/usr/sbin/sshd": "OpenSSH", "/usr/bin/sshd": "OpenSSH", "/usr/sbin/dropbear": "Dropbear"}
SSH_SERVICES = {"ssh", "sshd", "dropbear"}
# ufw runs always and has a switch of its own; iptables and nftables do nothing before they have rules.
FIREWALLS = ("firewalld", "SuSEfirewall2", "SuSEfirewall2_setup", "shorewall", "iptables", "ip6tables", "nftables")
RULES = {
    "iptables": ("/etc/sysconfig/iptables", "/etc/iptables/rules.v4"),
    "ip6tables": ("/etc/sysconfig/ip6tables", "/etc/iptables/rules.v6"),
    "nftables": ("/etc/nftables.conf", "/etc/sysconfig/nftables.conf"),
}
_REFUSES = re.compile(
    r"^\s*-A\s.*-j\s+(DROP|REJECT)|^:INPUT\s+DROP|policy\s+drop|\b(drop|reject)\s*;?\s*$", re.MULTILINE
)


def enabled(guest: Guest) -> set[str]:
    """Names of services that are started at boot, by systemd, OpenRC, System V or Upstart; without suffix."""
    names: list[str] = []
    for place in ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"):
        for wants in guest.names(place, "*.wants"):
            names += guest.names(f"{place}/{wants}")
    for level in ("/etc/runlevels/boot", "/etc/runlevels/default"):
        names += guest.names(level)
    for place in ("/etc/rc2.d", "/etc/rc3.d", "/etc/rc5.d", "/etc/rc.d/rc3.d", "/etc/init.d/rc3.d"):
        names += [name[3:] for name in guest.names(place, "S[0-9][0-9]*")]
    names += guest.names("/etc/init", "ssh*.conf")
    return {re.sub(r"\.(service|socket|conf)\Z", "", name) for name in names}


def ssh(guest: Guest, services: set[str]) -> dict[str, Any]:
    """`enabled` None: the system has no list of services that is understood here."""
    server = next((name for path, name in SSH_SERVERS.items() if guest.is_file(path)), "")
    texts = [guest.text(path) for path in [*guest.files("/etc/ssh/sshd_config.d", "*.conf"), "/etc/ssh/sshd_config"]]
    values = sshd_values("\n".join(texts))
    return {
        "server": server,
        "enabled": bool(services & SSH_SERVICES) if services else None,
        "ports": [int(port) for port in values.get("port", []) if port.isdigit()] or [22],
        "root": values.get("permitrootlogin", [""])[0].lower(),
        "passwords": values.get("passwordauthentication", ["yes"])[0].lower() == "yes",
    }


def sshd_values(text: str) -> dict[str, list[str]]:
    """Keywords in lower case, all values before the first Match block. sshd takes the first, of ports all."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split("#", 1)[0].replace("=", " ", 1).split()
        if words and words[0].lower() == "match":
            break
        if len(words) > 1:
            found.setdefault(words[0].lower(), []).append(words[1])
    return found


def firewalls(guest: Guest, services: set[str]) -> list[str]:
    """Those that are started and refuse something."""
    found = [name for name in FIREWALLS if name in services and _refuses(guest, name)]
    if re.search(r"^ENABLED=yes", guest.text("/etc/ufw/ufw.conf"), re.MULTILINE):
        found.append("ufw")
    return found


def _refuses(guest: Guest, name: str) -> bool:
    paths = RULES.get(name)
    return paths is None or any(_REFUSES.search(guest.text(path)) for path in paths)
