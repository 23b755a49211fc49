"""A libvirtd of our own, beside the host's and unseen by it: own sockets, state, configuration and log.

The daemons and their guests live in a PID and a mount namespace. In the latter every directory of libvirt is one
below `root`, and /dev/kvm has the permissions that a well-kept host gives it (root:kvm 0660), whatever the real ones
are. The namespaces' first process dies with the test process, and everything in them with it, so nothing is left
behind even by a killed test run. Taps are looked for in the network namespace of the test.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt

from agent.drivers.hypervisor.events import ensure_loop

# Inside the namespace each of these is a directory of ours.
PRIVATE = {
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "etc": "/etc/libvirt",
    "log": "/var/log/libvirt",
}
START_SECONDS = 60.0

INIT = r"""
set -eu
root=$1; shift
while [ $# -gt 0 ]; do mkdir -p "$2"; mount --bind "$root/$1" "$2"; shift 2; done
if [ -e "$root/kvm" ]; then mount --bind "$root/kvm" /dev/kvm; fi
: >"$root/ready"
# The first process of a PID namespace inherits its orphans: `wait` collects them.
while :; do sleep 3600 & wait; done
"""


class PrivateLibvirt:
    """Start with `start()`, connect to `uri`, end with `close()`. `root`: an empty directory, short of name."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or Path(tempfile.mkdtemp(prefix="ecs-virt-"))
        self.root.chmod(0o755)
        self.uri = f"qemu+unix:///system?socket={self.root}/sock/libvirt-sock"
        self._holder: subprocess.Popen[bytes] | None = None
        # By daemon the `nsenter` that waits for it.
        self._entries: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        for name in (*PRIVATE, "sock"):
            (self.root / name).mkdir(mode=0o755)
        self._write_configuration()
        self._show_kvm()
        pairs = [word for pair in PRIVATE.items() for word in pair]
        self._holder = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "--"),
                *("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"),
                *("sh", "-c", INIT, "sh", str(self.root), *pairs),
            ],
            start_new_session=True,
        )
        _wait_for((self.root / "ready").exists, "the namespaces of the private libvirtd")
        self._spawn("virtlogd", self.root / "run/virtlogd-sock")
        self.start_libvirtd()

    def start_libvirtd(self) -> None:
        """Start libvirtd (again) and wait until it answers."""
        self._spawn("libvirtd", self.root / "sock/libvirt-sock")
        _wait_for(self._answers, "the private libvirtd's answer")

    def kill_libvirtd(self) -> None:
        """SIGKILL libvirtd alone; its guests go on."""
        os.kill(self._outer_pid(int((self.root / "run/libvirtd.pid").read_text())), signal.SIGKILL)
        self._entries.pop("libvirtd").wait()

    def restart_libvirtd(self) -> None:
        self.kill_libvirtd()
        self.start_libvirtd()

    def qemu_pid(self, name: str) -> int:
        """The process of an active domain, as seen from the test."""
        inner = int((self.root / "run/qemu" / f"{name}.pid").read_text())
        return self._outer_pid(inner)

    def close(self) -> None:
        """Destroy what still runs, so that its cgroups go too, then end everything."""
        try:
            self._destroy_guests()
        finally:
            for process in (*([self._holder] if self._holder else []), *self._entries.values()):
                process.kill()
                process.wait()
            self._entries.clear()
            shutil.rmtree(self.root)

    def _destroy_guests(self) -> None:
        if not list((self.root / "run/qemu").glob("*.pid")):
            return
        if "libvirtd" not in self._entries:  # a test killed it and failed before it came back
            self.start_libvirtd()
        connection = libvirt.open(self.uri)
        for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            with contextlib.suppress(libvirt.libvirtError):  # it ended by itself
                domain.destroy()
        connection.close()

    def _init_pid(self) -> int:
        """The first process of the namespaces: the child of `unshare`."""
        assert self._holder is not None
        pid = self._holder.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def _outer_pid(self, inner: int) -> int:
        """The test's number for the process that is `inner` in the namespace."""
        namespace = os.readlink(f"/proc/{self._init_pid()}/ns/pid")
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):  # a process that ended meanwhile
                pids = next(line for line in status.read_text().splitlines() if line.startswith("NSpid:")).split()
                if os.readlink(status.parent / "ns/pid") == namespace and int(pids[-1]) == inner:
                    return int(pids[1])
        raise ProcessLookupError(f"no process {inner} in the namespace of the private libvirtd")

    def _write_configuration(self) -> None:
        etc = self.root / "etc"
        (etc / "libvirtd.conf").write_text(
            f'unix_sock_dir = "{self.root}/sock"\n'
            'unix_sock_rw_perms = "0700"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'
            'log_outputs = "2:file:/var/log/libvirt/libvirtd.log"\n'
        )
        (etc / "virtlogd.conf").write_text('log_outputs = "2:file:/var/log/libvirt/virtlogd.log"\n')
        (etc / "qemu.conf").write_text("")

    def _show_kvm(self) -> None:
        real = Path("/dev/kvm")
        if not real.exists():
            return
        shown = self.root / "kvm"
        os.mknod(shown, 0o600 | stat.S_IFCHR, real.stat().st_rdev)
        shutil.chown(shown, "root", "kvm")
        shown.chmod(0o660)

    def _spawn(self, daemon: str, socket: Path) -> None:
        socket.unlink(missing_ok=True)
        with (self.root / "log" / f"{daemon}.stderr").open("ab") as log:
            self._entries[daemon] = subprocess.Popen(
                [
                    *("nsenter", "--target", str(self._init_pid()), "--mount", "--pid", "--"),
                    *(daemon, "--config", f"/etc/libvirt/{daemon}.conf", "--pid-file", f"/run/libvirt/{daemon}.pid"),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _wait_for(socket.exists, f"the socket of the private {daemon}")

    def _answers(self) -> bool:
        ensure_loop()
        try:
            libvirt.open(self.uri).close()
        except libvirt.libvirtError:
            return False
        return True


@contextlib.contextmanager
def private_libvirt(root: Path | None = None) -> Iterator[PrivateLibvirt]:
    """A running private libvirtd, gone at the end together with whatever it still ran."""
    daemon = PrivateLibvirt(root)
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
