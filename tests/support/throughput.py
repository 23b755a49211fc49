"""Data that goes from one socket to another as fast as it can: a sender and a receiver in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

_fork = multiprocessing.get_context("fork")
_LARGE = 65536
_DATAGRAM = 1400


@contextmanager
def busy(client: socket.socket, server: socket.socket) -> Iterator[None]:
    """All the time `client` sends what it can to `server`, a TCP connection, and that takes it."""
    with _running(lambda: _send(client), lambda: _drain(server)):
        yield


def tcp_mbit(client: socket.socket, server: socket.socket, seconds: float) -> float:
    """Mbit/s (10^6) of payload that arrives at `server` while `client`, connected to it, sends what it can."""
    return _measure(lambda: _send(client), server, seconds)


def udp_mbit(client: socket.socket, server: socket.socket, seconds: float, offered_mbit: float) -> float:
    """The same for datagrams, sent at a steady rate."""
    return _measure(lambda: _send_steadily(client, offered_mbit), server, seconds)


def _send(client: socket.socket) -> None:
    data = bytes(_LARGE)
    while True:
        client.sendall(data)


def _send_steadily(client: socket.socket, mbit: float) -> None:
    data, started, sent = bytes(_DATAGRAM), time.monotonic(), 0
    while True:
        due = (time.monotonic() - started) * mbit * 1e6 / 8
        while sent < due:
            client.send(data)
            sent += _DATAGRAM
        time.sleep(0.001)


def _drain(server: socket.socket) -> None:
    while server.recv(_LARGE):
        pass


def _measure(send: Callable[[], None], server: socket.socket, seconds: float) -> float:
    results, results_in = _fork.Pipe(duplex=False)
    with _running(send, lambda: _count(server, seconds, results_in)):
        if not results.poll(seconds + 30):
            raise AssertionError("no data arrived")
        return float(results.recv())


def _count(server: socket.socket, seconds: float, result: Connection) -> None:
    """Not what comes in the first half of a second: the bursts that a limit lets through are not its rate."""
    server.settimeout(20)
    server.recv(_LARGE)
    begin = time.monotonic() + 0.5
    while time.monotonic() < begin:
        server.recv(_LARGE)
    begin, received = time.monotonic(), 0
    while (now := time.monotonic()) < begin + seconds:
        received += len(server.recv(_LARGE))
    result.send(received * 8 / (now - begin) / 1e6)


@contextmanager
def _running(*works: Callable[[], None]) -> Iterator[None]:
    processes = [_fork.Process(target=_work, args=(work,), daemon=True) for work in works]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _work(work: Callable[[], None]) -> None:
    try:
        work()
    except OSError:  # the other end closed
        os._exit(0)
