"""A program of its own: shut itself into a jail and become the command that it was given.

It runs as root with nothing but the standard library, in a process of its own, since it changes namespaces. Arguments:
`inputs` and `outputs` (descriptors it inherited, for /in/0…, /out/0…), `uid`, `room` (an empty mount point, or any
directory), `limits` (RLIMIT_AS=1,…), `read_only` (directories that stay visible), then the command's words. Lists are
joined by commas.

Every image waits for this program's start: so it imports what is there anyway or cheap. json, signal, typing and what
they bring would double its time.

Files appear in the jail as mounts of the open descriptors, so no path is looked up again. One that the jail's user may
not open by its owner and mode is mounted with its owner mapped to the jail's user (an idmapped mount): neither is it
copied, nor does anything about it change. Where the kernel or the file system cannot do that the exit status is
UNMAPPABLE, and the caller makes a copy. bubblewrap does the rest: no network, no other processes, devices or
capabilities.
"""

from __future__ import annotations

import ctypes
import os
import resource
import stat
import sys

UNMAPPABLE = 77
FAILED = 78
# <linux/mount.h>, <sys/mount.h>, <sched.h>, <linux/prctl.h>; the numbers of newer system calls are the same everywhere.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_AT_EMPTY_PATH, _OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 0x1000, 1, 0o2000000
_MOVE_MOUNT_F_EMPTY_PATH = 4
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_NOEXEC, _ATTR_IDMAP = 0x1, 0x2, 0x4, 0x8, 0x100000
_MS_REC, _MS_PRIVATE = 1 << 14, 1 << 18
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9
_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _mount_of(descriptor: int, uid: int, *, writable: bool) -> int:
    """A mount of just that file, attached nowhere yet, which the user `uid` may open. Raises OSError."""
    flags = _AT_EMPTY_PATH | _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    tree = _checked(_libc.syscall(_OPEN_TREE, descriptor, b"", flags), "open_tree")
    attributes = _MountAttr(_ATTR_NOSUID | _ATTR_NODEV | _ATTR_NOEXEC | (0 if writable else _ATTR_RDONLY))
    found = os.fstat(descriptor)
    if found.st_uid != uid and not (found.st_mode & stat.S_IROTH and not writable):
        attributes.set |= _ATTR_IDMAP
        attributes.userns = _mapping(found.st_uid, found.st_gid, uid)
    size = ctypes.sizeof(attributes)
    call = (_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size)
    _checked(_libc.syscall(*call), "mount_setattr")
    return tree


def _mapping(owner: int, group: int, uid: int) -> int:
    """A user namespace, as a descriptor, in which the file's owner and group are those of the jail."""
    ready_read, ready_write = os.pipe()
    hold_read, hold_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hold_write)
        result = _libc.unshare(_CLONE_NEWUSER)
        os.write(ready_write, b"y" if result == 0 else b"n")
        os.read(hold_read, 1)
        os._exit(0)
    os.close(hold_read)
    try:
        if os.read(ready_read, 1) != b"y":
            raise OSError("no user namespaces")
        for name, inside in (("uid_map", owner), ("gid_map", group)):
            with open(f"/proc/{child}/{name}", "w") as stream:
                stream.write(f"{inside} {uid} 1")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for descriptor in (ready_read, ready_write, hold_write):
            os.close(descriptor)
        os.waitpid(child, 0)


def _attach(tree: int, path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    _checked(_libc.syscall(_MOVE_MOUNT, tree, b"", -100, path.encode(), _MOVE_MOUNT_F_EMPTY_PATH), "move_mount")


def _own_room(room: str) -> None:
    """Mounts from now on are seen by this process and what it becomes only."""
    _checked(_libc.unshare(_CLONE_NEWNS), "unshare")
    _checked(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount")
    _checked(_libc.mount(b"none", room.encode(), b"tmpfs", 0, b"size=64k,mode=700"), "mount tmpfs")


def _bubblewrap(user: str, read_only: list[str], binds: list[str], command: list[str]) -> list[str]:
    visible = [word for path in read_only for word in ("--ro-bind-try", path, path)]
    directories = [word for path in ("/usr", "/in", "/out", "/dev") for word in ("--perms", "0755", "--dir", path)]
    return [
        *("bwrap", "--die-with-parent", "--new-session", "--unshare-ipc", "--unshare-pid", "--unshare-net"),
        *("--unshare-uts", "--unshare-cgroup-try", "--clearenv", "--cap-drop", "ALL"),
        # Only to become an unprivileged user, who has none.
        *("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"),
        *directories,
        *("--dev-bind", "/dev/null", "/dev/null"),  # without it QEMU heeds no locks of others on its files
        *visible,
        *binds,
        *("--remount-ro", "/", "--chdir", "/", "--"),
        *("/usr/bin/setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs"),
        *("--inh-caps=-all", "--bounding-set=-all", "--", *command),
    ]


def _list(argument: str) -> list[str]:
    return argument.split(",") if argument else []


def _limit(limits: list[str]) -> None:
    for limit in limits:
        name, _, value = limit.partition("=")
        # Beyond the hard limit of processor time there would be SIGKILL at once, and nobody knew why.
        resource.setrlimit(getattr(resource, name), (int(value), int(value) + (name == "RLIMIT_CPU")))


def main(inputs: str, outputs: str, user: str, room: str, limits: str, read_only: str, *command: str) -> int:
    parent = os.getppid()
    _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:
        return FAILED
    os.umask(0o077)
    try:
        trees = [
            (_mount_of(int(descriptor), int(user), writable=option == "--bind"), option, f"/{name}/{number}")
            for name, option, descriptors in (("in", "--ro-bind", inputs), ("out", "--bind", outputs))
            for number, descriptor in enumerate(_list(descriptors))
        ]
    except OSError as error:
        print(error, file=sys.stderr)
        return UNMAPPABLE
    _own_room(room)
    binds: list[str] = []
    for number, (tree, option, inside) in enumerate(trees):
        outside = f"{room}/{number}"
        _attach(tree, outside)
        binds += [option, outside, inside]
    _limit(_list(limits))
    words = _bubblewrap(user, _list(read_only), binds, list(command))
    os.execvp(words[0], words)


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except OSError as error:
        print(f"cannot shut qemu-img in: {error}", file=sys.stderr)
        sys.exit(FAILED)
