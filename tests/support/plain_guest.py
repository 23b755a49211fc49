"""A guest under plain QEMU, without the agent: emulated, user networking, SSH forwarded to a loopback port.

Proves that an image keeps its contract by itself: a NoCloud seed in, an SSH login out.
"""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import paramiko

from tests.support.waiting import wait_for


def write_seed(directory: Path, files: dict[str, str]) -> Path:
    """A NoCloud ISO of `files` (meta-data, user-data, vendor-data, network-config) in `directory`."""
    tree = directory / "seed"
    tree.mkdir(exist_ok=True)
    for old in tree.iterdir():
        old.unlink()
    for name, text in files.items():
        (tree / name).write_text(text)
    iso = directory / "seed.iso"
    command = ["genisoimage", "-quiet", "-output", str(iso), "-volid", "cidata", "-joliet", "-rock", str(tree)]
    subprocess.run(command, check=True, capture_output=True)
    return iso


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class PlainGuest:
    """One QEMU process on an overlay of `image`. Use as a context manager: leaving kills the process."""

    def __init__(self, directory: Path, image: Path, seed: Path, memory_mib: int = 256, disk_gib: int = 0) -> None:
        self.console = directory / "console.log"
        self.port = free_port()
        self._monitor_path = directory / "monitor"
        self._disk = directory / "disk.qcow2"
        if not self._disk.exists():
            size = [f"{disk_gib}G"] if disk_gib else []
            command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image), "-F", "qcow2", str(self._disk)]
            subprocess.run(command + size, check=True)
        self._command = self._qemu(seed, memory_mib)
        self._process: subprocess.Popen[bytes] | None = None

    def _qemu(self, seed: Path, memory_mib: int) -> list[str]:
        return [
            *("qemu-system-x86_64", "-machine", "pc,accel=tcg", "-m", str(memory_mib), "-display", "none"),
            *("-nodefaults", "-no-user-config", "-vga", "std"),
            *("-smbios", "type=1,manufacturer=Alibaba Cloud,product=Alibaba Cloud ECS"),
            *("-drive", f"file={self._disk},if=none,id=vda,format=qcow2,cache=writeback"),
            *("-device", "virtio-blk-pci,drive=vda,serial=test"),
            *("-drive", f"file={seed},if=ide,media=cdrom,format=raw,readonly=on"),
            *("-netdev", f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22"),
            *("-device", "virtio-net-pci,netdev=n0,romfile="),
            *("-device", "virtio-rng-pci"),
            *("-device", "virtio-serial-pci"),
            *("-serial", f"file:{self.console}"),
            *("-qmp", f"unix:{self._monitor_path},server=on,wait=off"),
        ]

    def start(self) -> PlainGuest:
        self._process = subprocess.Popen(self._command)
        return self

    def __enter__(self) -> PlainGuest:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def console_text(self) -> str:
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def wait_console(self, text: str, limit: float, count: int = 1) -> None:
        wait_for(f"{text!r} on the console", lambda: self.console_text().count(text) >= count, limit)

    def banner(self) -> bool:
        """Whether SSH answers with its banner; an open port alone proves nothing."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.settimeout(3)
                return connection.recv(64).startswith(b"SSH-")
        except OSError:
            return False

    def connect(self, limit: float, **credentials: object) -> paramiko.SSHClient:
        """An SSH session as root, as soon as the banner is there."""
        wait_for("the SSH banner", self.banner, limit)
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        times = {"timeout": 30, "banner_timeout": 60, "auth_timeout": 60}
        options: dict[str, object] = {"allow_agent": False, "look_for_keys": False, **times, **credentials}
        client.connect("127.0.0.1", self.port, "root", **options)  # type: ignore[arg-type]
        return client

    def press_power_button(self) -> None:
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self._monitor_path))
            stream = monitor.makefile("rw")
            stream.readline()
            for command in ("qmp_capabilities", "system_powerdown"):
                stream.write(json.dumps({"execute": command}) + "\n")
                stream.flush()
                stream.readline()

    def wait_off(self, limit: float) -> None:
        process = self._process
        assert process is not None
        wait_for("power off", lambda: process.poll() is not None, limit)


def run(client: paramiko.SSHClient, command: str, limit: float = 60) -> str:
    """Standard output of a command in the guest; AssertionError with its error output when it fails."""
    _, stdout, stderr = client.exec_command(command, timeout=limit)
    output = stdout.read().decode()
    status = stdout.channel.recv_exit_status()
    assert status == 0, f"{command}: exit code {status}: {output}{stderr.read().decode()}"
    return output
