"""Facts about this host, and what keeps guests from running well on it."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
from pathlib import Path

from agent.core.errors import DriverError
from agent.drivers.qemu_user import DEFAULT as DEFAULT_QEMU_USER

KVM_DEVICE = Path("/dev/kvm")
LIBVIRT_SOCKET = Path("/run/libvirt/libvirt-sock")
LOG_SOCKET = Path("/run/libvirt/virtlogd-sock")
# Program -> the Debian package that brings it.
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "xorriso": "xorriso",
    "openssl": "openssl",
}


def cpu_count() -> int:
    return os.cpu_count() or 1


def memory_mib() -> tuple[int, int]:
    """(total, available) of the host; raises DriverError where the kernel does not say."""
    values = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        values[name] = rest.split()
    try:
        return int(values["MemTotal"][0]) // 1024, int(values["MemAvailable"][0]) // 1024
    except (KeyError, IndexError, ValueError):
        raise DriverError("/proc/meminfo names no MemTotal and MemAvailable") from None


def problems(
    qemu_user: str = DEFAULT_QEMU_USER,
    *,
    kvm: Path = KVM_DEVICE,
    libvirt_socket: Path = LIBVIRT_SOCKET,
    log_socket: Path = LOG_SOCKET,
) -> list[str]:
    """One line each: what is wrong and what to do. Empty on a host in good order."""
    found = [
        f"{program} is missing: apt-get install {package}"
        for program, package in PROGRAMS.items()
        if shutil.which(program) is None
    ]
    if not libvirt_socket.exists():
        found.append(f"libvirtd does not run (no {libvirt_socket}): systemctl start libvirtd, or libvirtd -d")
    if not log_socket.exists():
        found.append(f"virtlogd does not run (no {log_socket}): systemctl start virtlogd, or virtlogd -d")
    try:
        pwd.getpwnam(qemu_user)
    except KeyError:
        return [*found, f"there is no user {qemu_user} to run QEMU as: apt-get install libvirt-daemon-system"]
    if kvm.exists() and not may_open(kvm, qemu_user):
        problem = kvm_permission_problem(kvm, qemu_user)
        found.append(f"{problem}; until then libvirt examines QEMU again at every call, which takes seconds")
    return found


def may_open(path: Path, user: str) -> bool:
    """Whether `user` may read and write `path` by its mode, as libvirt judges it."""
    status = path.stat()
    entry = pwd.getpwnam(user)
    if status.st_uid == entry.pw_uid:
        wanted = stat.S_IRUSR | stat.S_IWUSR
    elif status.st_gid in os.getgrouplist(user, entry.pw_gid):
        wanted = stat.S_IRGRP | stat.S_IWGRP
    else:
        wanted = stat.S_IROTH | stat.S_IWOTH
    return status.st_mode & wanted == wanted


def kvm_permission_problem(path: Path, user: str) -> str:
    """The finding and its remedy, for a device that `user` may not open."""
    status = path.stat()
    owner = f"{_user_name(status.st_uid)}:{_group_name(status.st_gid)} {stat.S_IMODE(status.st_mode):04o}"
    return f"{user} may not open {path} ({owner}): chown root:kvm {path} && chmod 0660 {path}"


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
