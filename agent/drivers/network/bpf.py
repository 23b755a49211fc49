"""Classic packet filters on sockets: what the kernel need not wake us for."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence

_SO_ATTACH_FILTER = 26

Line = tuple[int, int, int, int]  # code, how far to jump if true and if false, value


def attach(sock: socket.socket, program: Sequence[Line]) -> None:
    """From now on the socket gets only what `program` accepts; what came before is still to be read."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(code)))
