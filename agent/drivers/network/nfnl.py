"""Netlink attributes and atomic nftables batches.

The encoder is ours because pyroute2's classes for nftables lack interval and concatenated sets, take
milliseconds per rule and lose errors inside a batch.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pyroute2.netlink import (
    NETLINK_NETFILTER,
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
)
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_NFTABLES
from pyroute2.netlink.nfnetlink import nftsocket as nft

_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_BATCH_BEGIN, _BATCH_END = 16, 17
_CAPPED, _ACK_TLVS = 0x100, 0x200  # what an acknowledgement carries
_HEADER = struct.Struct("IHHIIBBH")  # nlmsghdr and nfgenmsg
_TIMEOUT_SECONDS = 60.0
_NESTED = 0x8000


def attr(kind: int, data: bytes) -> bytes:
    return struct.pack("HH", len(data) + 4, kind) + data + b"\0" * (-len(data) & 3)


def nest(kind: int, *parts: bytes) -> bytes:
    return attr(kind | _NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    return attr(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    """Big endian; a negative value (verdicts, priorities) as its two's complement."""
    return struct.pack("=HH", 8, kind) + struct.pack("!I", value & 0xFFFFFFFF)


def string(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def number(data: bytes) -> int:
    """Of an attribute as `u32` makes it."""
    return int(struct.unpack("!i", data)[0])


def u8(kind: int, value: int) -> bytes:
    return attr(kind, bytes([value]))


class Message(NamedTuple):
    """One nftables message; `about` says in an error what it was."""

    kind: int
    flags: int
    family: int
    data: bytes
    about: str


class NfError(OSError):
    """The kernel refused a batch, nothing of it was done. `about` is what it refused."""

    def __init__(self, code: int, about: str, detail: str) -> None:
        super().__init__(code, f"{about}: {detail or os.strerror(code)}")
        self.about = about


class NfSocket:
    """An nftables netlink socket of the namespace of the thread that makes it. Not for two threads at once."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        for option in (_NETLINK_EXT_ACK, _NETLINK_CAP_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 4 << 20)
        self._socket.bind((0, 0))
        self._socket.settimeout(_TIMEOUT_SECONDS)
        self._sequence = 1

    def close(self) -> None:
        self._socket.close()

    def commit(self, messages: Iterable[Message]) -> None:
        """Do all of them, or raise NfError and do none."""
        batch = list(messages)
        if not batch:
            return
        first = self._sequence  # of BATCH_BEGIN; the messages follow it
        self._sequence += len(batch) + 2
        data = self._encode(batch, first)
        # A netlink datagram must fit the send buffer as a whole.
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, max(1 << 20, 2 * len(data)))
        self._socket.send(data)
        code, index, detail = self._outcome(first, len(batch))
        if code:
            raise NfError(code, batch[index].about if index is not None else "the batch as a whole", detail)

    @property
    def port(self) -> int:
        """What the kernel tells others apart by who asked for a change."""
        return int(self._socket.getsockname()[0])

    def things(self, kind: int, family: int, table: str) -> list[dict[int, bytes]]:
        """The attributes of all things of a table that `kind` asks for; none when there is no such table."""
        found = self._dump(kind, family, text(1, table), f"table {table}")
        # Without a table of that name some kernels answer with those of all tables.
        return [values for of_family, values in found if of_family == family and string(values[1]) == table]

    def intervals(self, family: int, table: str, name: str, length: int) -> set[bytes]:
        """First and last key of each element of an interval set, joined; each key has `length` bytes."""
        body, size = text(1, table) + text(2, name), 20 + 2 * length
        found = set()
        for _, values in self._dump(nft.NFT_MSG_GETSETELEM, family, body, f"set {name}"):
            for _, element in attributes(values.get(3, b"")):
                # There may be very many. One of another size has something else, and fits none that we make.
                fits = len(element) == size - 4
                found.add(element[8 : 8 + length] + element[-length:] if fits else b"")
        return found

    def elements(self, family: int, table: str, name: str) -> list[tuple[bytes, bytes]]:
        """Keys and values of the elements of a map; empty when there is no such map."""
        found = []
        for _, values in self._dump(nft.NFT_MSG_GETSETELEM, family, text(1, table) + text(2, name), f"map {name}"):
            for _, element in attributes(values.get(3, b"")):
                parts = dict(attributes(element))
                key, value = (dict(attributes(parts[kind]))[1] for kind in (1, 2))
                found.append((key, value))
        return found

    def _dump(self, kind: int, family: int, body: bytes, about: str) -> Iterator[tuple[int, dict[int, bytes]]]:
        """Family and attributes of each message of a listing; none when there is not what is asked for."""
        self._sequence += 1
        self._socket.send(self._header(kind, NLM_F_DUMP, family, body, self._sequence))
        while True:
            for received, sequence, payload, _ in split(self._socket.recv(1 << 18)):
                if sequence != self._sequence:
                    continue
                if received == NLMSG_DONE:
                    return
                if received == NLMSG_ERROR:
                    code = -struct.unpack_from("i", payload)[0]
                    if code == errno.ENOENT:
                        return
                    raise NfError(code, f"listing {about}", "")
                yield payload[0], dict(attributes(payload[4:]))

    def _encode(self, batch: list[Message], first: int) -> bytes:
        frame = [self._frame(_BATCH_BEGIN, first)]
        for number, message in enumerate(batch, 1):
            # Errors come anyway, so only the last message asks for an answer.
            flags = message.flags | (NLM_F_ACK if number == len(batch) else 0)
            frame.append(self._header(message.kind, flags, message.family, message.data, first + number))
        frame.append(self._frame(_BATCH_END, first + len(batch) + 1))
        return b"".join(frame)

    @staticmethod
    def _header(kind: int, flags: int, family: int, data: bytes, sequence: int) -> bytes:
        kind |= NFNL_SUBSYS_NFTABLES << 8
        return _HEADER.pack(20 + len(data), kind, flags | NLM_F_REQUEST, sequence, 0, family, 0, 0) + data

    @staticmethod
    def _frame(kind: int, sequence: int) -> bytes:
        return _HEADER.pack(20, kind, NLM_F_REQUEST, sequence, 0, 0, 0, socket.htons(NFNL_SUBSYS_NFTABLES))

    def _outcome(self, first: int, count: int) -> tuple[int, int | None, str]:
        """(errno, index of the message or None, the kernel's words) of the first error; errno 0 for success."""
        error: tuple[int, int | None, str] = (0, None, "")
        while True:
            for kind, sequence, payload, flags in split(self._socket.recv(1 << 18)):
                if kind != NLMSG_ERROR or not first <= sequence <= first + count + 1:
                    continue
                code = -struct.unpack_from("i", payload)[0]
                if code and not error[0]:
                    error = (code, sequence - first - 1 if sequence > first else None, _explanation(payload, flags))
                # What concerns the batch as a whole has the number of BATCH_BEGIN, and may be the only answer.
                if sequence >= first + count or (sequence == first and code):
                    return error


def split(data: bytes) -> Iterator[tuple[int, int, bytes, int]]:
    """(kind, sequence, payload, flags) of each message in a datagram."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _ = struct.unpack_from("IHHII", data, offset)
        if length < 16:
            return
        yield kind, sequence, data[offset + 16 : offset + length], flags
        offset += (length + 3) & ~3


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("HH", data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def _explanation(payload: bytes, flags: int) -> str:
    """The kernel's own words in an extended acknowledgement, if it said any."""
    if not flags & _ACK_TLVS:
        return ""
    start = 4 + 16 if flags & _CAPPED else 4 + struct.unpack_from("I", payload, 4)[0]
    return string(dict(attributes(payload[start:])).get(1, b""))
