"""The small virtual machine that disks are mounted in: libguestfs' appliance, made from this host's packages.

Its kernel is the newest of the host's own. A host without one, such as a container, gets Debian's cloud kernel: the
package is fetched through apt, which verifies it, and unpacked privately, so nothing that boots the host changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import sh

from agent.core.errors import DriverError
from agent.drivers import command, durable

KERNEL_PACKAGE = "linux-image-cloud-amd64"
SUPERMIN_INPUT = Path("/usr/lib/x86_64-linux-gnu/guestfs/supermin.d")
BOOT, MODULES = Path("/boot"), Path("/lib/modules")
_PACKAGE = "libguestfs0"
_DOING = "make the appliance that looks into disks"
_VERSION = re.compile(r"vmlinuz-([0-9]+\..+)\Z")


class Appliance:
    """Kept in `directory`, one for each version of what it is made of."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def ensure(self, report: Callable[[str], None] = lambda text: None) -> Path:
        """The directory for LIBGUESTFS_PATH, made if need be (some seconds; once). Raises DriverError."""
        if not SUPERMIN_INPUT.is_dir():
            raise DriverError(f"cannot {_DOING}: libguestfs is missing, apt-get install {_PACKAGE} python3-guestfs")
        durable_private(self._directory)
        with (self._directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kernel = newest_kernel(BOOT, MODULES)
            final = self._directory / f"appliance-{_key(kernel)}"
            if not final.exists():
                report("making the appliance that looks into disks")
                self._make(final, kernel)
            return final

    def _make(self, final: Path, kernel: tuple[Path, Path] | None) -> None:
        durable.sweep(self._directory)
        work = durable.temporary_path(final)
        try:
            work.mkdir()
            made = work / "appliance"
            _supermin(kernel or _unpacked_kernel(work), made)
            (made / "README.fixed").touch()  # tells libguestfs that it is complete
            for path in [work, made, *made.iterdir()]:
                path.chmod(0o755 if path.is_dir() else 0o644)
                durable.sync(path)
            for old in self._directory.glob("appliance-*"):
                shutil.rmtree(old)
            os.rename(made, final)
            durable.sync(self._directory)
        except OSError as error:
            raise DriverError(f"cannot {_DOING} in {self._directory}: {error.strerror}") from None
        finally:
            shutil.rmtree(work, ignore_errors=True)


def durable_private(directory: Path) -> None:
    """The appliance is no secret, and a jailed program finds it here."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)


def newest_kernel(boot: Path, modules: Path) -> tuple[Path, Path] | None:
    """The file and the modules of the newest kernel that has both."""
    found = []
    for path in boot.glob("vmlinuz-*"):
        version = _VERSION.match(path.name)
        if version and (modules / version[1]).is_dir():
            age = [int(number) for number in re.findall(r"[0-9]+", version[1])]
            found.append((age, path, modules / version[1]))
    return max(found)[1:] if found else None


def _key(kernel: tuple[Path, Path] | None) -> str:
    """Changes with libguestfs, the host's packages' lists and the kernel."""
    status = Path("/var/lib/dpkg/status")
    subject = [status.stat().st_mtime_ns if status.exists() else 0, str(kernel), platform.machine()]
    inputs = [(path.name, path.stat().st_mtime_ns) for path in sorted(SUPERMIN_INPUT.iterdir())]
    return hashlib.sha256(repr((subject, inputs)).encode()).hexdigest()[:16]


def _unpacked_kernel(work: Path) -> tuple[Path, Path]:
    """Debian's cloud kernel below `work`, from its package."""
    depends = command.run("apt-cache", "depends", KERNEL_PACKAGE, doing=_DOING, package="apt")
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        raise DriverError(
            f"cannot {_DOING}: this host has no kernel in {BOOT} and apt does not know {KERNEL_PACKAGE}; "
            "apt-get update, or install a kernel"
        )
    try:
        sh.Command("apt-get")("download", "-q", found[1], _cwd=str(work), _tty_out=False)
    except sh.ErrorReturnCode:
        raise DriverError(
            f"cannot {_DOING}: this host has no kernel in {BOOT}, and apt-get download {found[1]} failed"
        ) from None
    package = next(work.glob("*.deb"))
    tree = work / "kernel"
    command.run("dpkg-deb", "--extract", str(package), str(tree), doing=_DOING, package="dpkg")
    kernel = newest_kernel(tree / "boot", tree / "lib/modules")
    if kernel is None:
        raise DriverError(f"cannot {_DOING}: the package {found[1]} has no kernel")
    command.run("depmod", "-b", str(tree), kernel[1].name, doing=_DOING, package="kmod")
    return kernel


def _supermin(kernel: tuple[Path, Path], output: Path) -> None:
    MODULES.mkdir(exist_ok=True)  # every host with a kernel package has it, and supermin wants to see it
    environment = {"SUPERMIN_KERNEL": str(kernel[0]), "SUPERMIN_MODULES": str(kernel[1]), "PATH": os.environ["PATH"]}
    arguments = ("--build", "-f", "ext2", "--host-cpu", platform.machine(), "--copy-kernel", str(SUPERMIN_INPUT))
    try:
        sh.Command("supermin")(*arguments, "-o", str(output), _env=environment, _tty_out=False)
    except sh.CommandNotFound:
        raise DriverError(f"cannot {_DOING}: supermin is missing, apt-get install {_PACKAGE}") from None
    except sh.ErrorReturnCode as error:
        raise DriverError(f"cannot {_DOING}: {command.last_words(error)}") from None
