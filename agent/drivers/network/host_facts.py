"""What the host itself has, for those who give away its addresses and ports."""

from __future__ import annotations

import errno
import socket

from pyroute2 import IPRoute

_TYPES = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def addresses(ip: IPRoute) -> list[str]:
    """All IPv4 addresses, as `192.168.1.4/24`."""
    return [
        f"{message.get_attr('IFA_LOCAL') or message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}"
        for message in ip.get_addr(family=socket.AF_INET)
    ]


def port_taken(protocol: str, address: str, port: int) -> bool:
    """Whether a socket is bound to it, found out by binding one for a moment; ended connections do not count."""
    with socket.socket(socket.AF_INET, _TYPES[protocol]) as probe:
        if protocol == "tcp":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return False
