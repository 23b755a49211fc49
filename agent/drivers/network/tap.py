"""How a tap is made."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable

_TUNSETIFF, _TUNSETPERSIST, _TUNSETOWNER = 0x400454CA, 0x400454CB, 0x400454CC
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_TUN_EXCL = 0x2, 0x1000, 0x4000, 0x8000


def create(name: str, prepare: Callable[[], None]) -> None:
    """A persistent single-queue tap in the calling thread's namespace.

    It is root's: without an owner anybody who can open /dev/net/tun could attach to it. libvirt (root) opens
    it and hands the descriptor to its unprivileged QEMU. `prepare` runs while the tap would still vanish
    with this process, so a crash leaves no tap that is not ours to see.
    """
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_TUN_EXCL
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        fcntl.ioctl(descriptor, _TUNSETOWNER, 0)
        prepare()
        fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)
    finally:
        os.close(descriptor)
