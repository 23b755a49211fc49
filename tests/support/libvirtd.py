"""A libvirtd of our own, beside the host's and unseen by it: own sockets, state, configuration and log.

The daemons live in a mount namespace in which every directory of libvirt is one below `root`. A holder process
keeps the namespace, so that libvirtd can be killed and started again while its guests go on. /dev/kvm is shown
with the permissions a well-kept host gives it (root:kvm 0660), whatever the real ones are.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt

# Inside the namespace each of these is a directory of ours.
PRIVATE = {
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "etc": "/etc/libvirt",
    "log": "/var/log/libvirt",
}
START_SECONDS = 60.0

HOLD = r"""
set -eu
root=$1; shift
while [ $# -gt 0 ]; do mkdir -p "$2"; mount --bind "$root/$1" "$2"; shift 2; done
if [ -e "$root/kvm" ]; then mount --bind "$root/kvm" /dev/kvm; fi
: >"$root/held"
exec sleep infinity
"""


class PrivateLibvirt:
    """Start with `start()`, connect to `uri`, end with `close()`, which also ends the guests left over."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="ecs-virt-"))
        self.root.chmod(0o755)
        self.uri = f"qemu+unix:///system?socket={self.root}/sock/libvirt-sock"
        self._holder: subprocess.Popen[bytes] | None = None
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        for name in (*PRIVATE, "sock"):
            (self.root / name).mkdir(mode=0o755)
        self._write_configuration()
        self._show_kvm()
        pairs = [word for pair in PRIVATE.items() for word in pair]
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", HOLD, "sh", str(self.root), *pairs], start_new_session=True
        )
        _wait_for((self.root / "held").exists, "the mount namespace of the private libvirtd")
        self._spawn("virtlogd", self.root / "run/virtlogd-sock")
        self.start_libvirtd()

    def start_libvirtd(self) -> None:
        """Start libvirtd (again) and wait until it answers."""
        self._spawn("libvirtd", self.root / "sock/libvirt-sock")
        _wait_for(self._answers, "the private libvirtd's answer")

    def kill_libvirtd(self) -> None:
        """SIGKILL libvirtd alone; its guests go on."""
        daemon = self._daemons.pop("libvirtd")
        daemon.kill()
        daemon.wait()
        (self.root / "sock/libvirt-sock").unlink(missing_ok=True)

    def qemu_pid(self, name: str) -> int:
        """The process of an active domain."""
        return int((self.root / "run/qemu" / f"{name}.pid").read_text())

    def close(self) -> None:
        for pid in self._guest_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in (*self._daemons.values(), *([self._holder] if self._holder else [])):
            process.terminate()
        for process in (*self._daemons.values(), *([self._holder] if self._holder else [])):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._daemons.clear()
        shutil.rmtree(self.root)

    def _guest_pids(self) -> list[int]:
        return [int(path.read_text()) for path in (self.root / "run/qemu").glob("*.pid")]

    def _write_configuration(self) -> None:
        etc = self.root / "etc"
        (etc / "libvirtd.conf").write_text(
            f'unix_sock_dir = "{self.root}/sock"\n'
            'unix_sock_rw_perms = "0700"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'
            f'log_outputs = "2:file:/var/log/libvirt/libvirtd.log"\n'
        )
        (etc / "virtlogd.conf").write_text('log_outputs = "2:file:/var/log/libvirt/virtlogd.log"\n')
        (etc / "qemu.conf").write_text("")

    def _show_kvm(self) -> None:
        real = Path("/dev/kvm")
        if not real.exists():
            return
        shown = self.root / "kvm"
        os.mknod(shown, 0o600 | 0o020000, real.stat().st_rdev)
        shutil.chown(shown, "root", "kvm")
        shown.chmod(0o660)

    def _spawn(self, daemon: str, socket: Path) -> None:
        assert self._holder is not None
        socket.unlink(missing_ok=True)
        with (self.root / "log" / f"{daemon}.stderr").open("ab") as log:
            self._daemons[daemon] = subprocess.Popen(
                [
                    *("nsenter", "--target", str(self._holder.pid), "--mount", "--"),
                    *(daemon, "--config", f"/etc/libvirt/{daemon}.conf", "--pid-file", f"/run/libvirt/{daemon}.pid"),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _wait_for(socket.exists, f"the socket of the private {daemon}")

    def _answers(self) -> bool:
        try:
            libvirt.open(self.uri).close()
        except libvirt.libvirtError:
            return False
        return True


@contextlib.contextmanager
def private_libvirt() -> Iterator[PrivateLibvirt]:
    """A running private libvirtd, gone at the end together with whatever it still ran."""
    daemon = PrivateLibvirt()
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.close()


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {START_SECONDS:.0f} s")
        time.sleep(0.02)
