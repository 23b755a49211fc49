"""Facts about a Linux system whose file systems are mounted."""

from __future__ import annotations

import re
from typing import Any

from . import initramfs, network, services
from .guest import Guest

RELEASE_FILES = ("/etc/os-release", "/usr/lib/os-release", "/etc/redhat-release", "/etc/debian_version", "/etc/issue")
GUEST_AGENTS = ("/usr/bin/qemu-ga", "/usr/sbin/qemu-ga", "/sbin/qemu-ga")
CLOUD_INIT = ("/usr/bin/cloud-init", "/usr/local/bin/cloud-init", "/bin/cloud-init")
# The configuration that a boot loader for BIOS reads, by loader.
LOADERS = {
    "GRUB 2": ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"),
    "GRUB": ("/boot/grub/menu.lst", "/boot/grub/grub.conf"),
    "EXTLINUX": ("/boot/extlinux.conf", "/boot/extlinux/extlinux.conf", "/boot/syslinux/syslinux.cfg"),
}
_KERNEL = re.compile(r"(vmlinuz|vmlinux|bzImage|linux)(-.*)?\Z")


def facts(guest: Guest) -> dict[str, Any]:
    enabled = services.enabled(guest)
    return {
        "free": _free(guest),
        "release_files": [path for path in RELEASE_FILES if guest.is_file(path)],
        "init": any(guest.is_file(path) for path in ("/sbin/init", "/init", "/bin/init")),
        "boot": _boot(guest),
        "fstab": fstab(guest.text("/etc/fstab")),
        "shadow": _shadow(guest),
        "selinux": selinux(guest),
        "firewalls": services.firewalls(guest, enabled),
        "ssh": services.ssh(guest, enabled),
        "cloud_init": _cloud_init(guest),
        "kernels": initramfs.kernels(guest),
        "guest_agent": any(guest.is_file(path) for path in GUEST_AGENTS),
        "interfaces": network.interfaces(guest),
    }


def name(guest: Guest) -> str:
    """As the system calls itself, or empty."""
    return _release(guest, "PRETTY_NAME")


def identifier(guest: Guest) -> str:
    """The distribution's name for programs, or empty."""
    return _release(guest, "ID")


def _release(guest: Guest, key: str) -> str:
    text = guest.text("/etc/os-release") or guest.text("/usr/lib/os-release")
    found = re.search(rf"^{key}=[\"']?([^\"'\n]*)", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _free(guest: Guest) -> dict[str, int]:
    now: dict[str, int] = guest.tried(guest.handle.statvfs, "/", default={})
    block = now.get("frsize") or now.get("bsize") or 0
    return {
        "bytes": now.get("bavail", 0) * block,
        "total_bytes": now.get("blocks", 0) * block,
        "inodes": now.get("favail", 0),
        "total_inodes": now.get("files", 0),
    }


def _boot(guest: Guest) -> dict[str, Any]:
    for loader, paths in LOADERS.items():
        for path in paths:
            if guest.is_file(path):
                return {"loader": loader, "configuration": path, "kernels": _kernels(guest)}
    efi = bool(guest.names("/boot/efi/EFI"))
    return {"loader": "EFI" if efi else "", "configuration": "", "kernels": _kernels(guest)}


def _kernels(guest: Guest) -> list[str]:
    return [f"{place}/{name}" for place in ("/boot", "") for name in guest.names(place or "/") if _KERNEL.match(name)]


def fstab(text: str) -> list[dict[str, str]]:
    """Its entries; a line that is none is left out."""
    rows = (line.split("#", 1)[0].split() for line in text.splitlines())
    return [
        {"device": row[0], "mount": row[1], "type": row[2], "options": row[3] if len(row) > 3 else "defaults"}
        for row in rows
        if len(row) >= 3
    ]


def _shadow(guest: Guest) -> dict[str, Any]:
    """Never the password itself, in any form."""
    path = "/etc/shadow"
    if not guest.is_file(path):
        return {"present": False, "immutable": False, "root": "missing"}
    attributes = str(guest.tried(guest.handle.get_e2attrs, path, default=""))
    return {
        "present": True,
        "immutable": "i" in attributes or "a" in attributes,
        "root": root_state(guest.text(path)),
    }


def root_state(shadow: str) -> str:
    """password | locked | empty | missing, of root in a shadow file."""
    for line in shadow.splitlines():
        name, _, rest = line.partition(":")
        if name == "root":
            secret = rest.split(":", 1)[0]
            return "empty" if not secret else "locked" if secret[0] in "!*" or secret == "x" else "password"
    return "missing"


def selinux(guest: Guest) -> str:
    """enforcing | permissive | disabled, or empty where there is none."""
    found = re.findall(r"^\s*SELINUX\s*=\s*(\w+)", guest.text("/etc/selinux/config"), re.MULTILINE)
    return found[-1].lower() if found else ""


def _cloud_init(guest: Guest) -> dict[str, Any]:
    text = "\n".join(
        guest.text(path) for path in ["/etc/cloud/cloud.cfg", *guest.files("/etc/cloud/cloud.cfg.d", "*.cfg")]
    )
    return {
        "installed": any(guest.is_file(path) for path in CLOUD_INIT),
        "disabled": guest.is_file("/etc/cloud/cloud-init.disabled"),
        "datasources": datasources(text),
        "disable_root": _last_bool(text, "disable_root"),
    }


def datasources(text: str) -> list[str]:
    """Those that the last `datasource_list` names, in either way YAML has for lists; none: cloud-init's own list."""
    found: list[str] = []
    for match in re.finditer(r"^datasource_list:[ \t]*(\[[^\]]*\]|(?:\n[ \t]*-[ \t]*\S+)+)", text, re.MULTILINE):
        found = re.findall(r"[A-Za-z][A-Za-z0-9]*", match[1])
    return found


def _last_bool(text: str, key: str) -> bool | None:
    found = re.findall(rf"^{key}:\s*(\S+)", text, re.MULTILINE)
    return found[-1].lower() in ("true", "1", "yes", "on") if found else None
