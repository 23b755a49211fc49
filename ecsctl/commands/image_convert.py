"""`ecsctl image convert`: disk images from one format to another (SPEC M10)."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import click

from ecsctl import objects
from ecsctl.cli import App, command
from ecsctl.client import OWN, Client
from ecsctl.commands.bucket import check_new
from ecsctl.commands.common import timeout_option
from ecsctl.errors import CliError, Interrupted, UsageFault
from ecsctl.files import file_door, is_local, opened
from ecsctl.progress import Progress
from ecsctl.tasks import wait_task
from ecsctl.waiting import wait_job

FORMATS = ("raw", "vhd", "vhdx", "vmdk", "vdi", "qcow", "qcow2", "qed")
_SUFFIXES = {f".{name}": name for name in FORMATS} | {".img": "raw", ".vpc": "vhd"}
_TIMEOUT = 86400
_CANCELLED = "the conversion was cancelled, nothing was written"


@command("convert")
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.argument("target", metavar="DST", type=click.Path(path_type=Path))
@click.option("-f", "source_format", type=click.Choice(FORMATS), help="What SRC is, if it shall be nothing else.")
@click.option("-O", "target_format", type=click.Choice(FORMATS), help="What DST shall be; else its name says it.")
@click.option("--force", is_flag=True, help="Replace DST if it is there.")
@timeout_option(_TIMEOUT)
def convert(
    app: App,
    source: Path,
    target: Path,
    source_format: str | None,
    target_format: str | None,
    force: bool,
    timeout: float,
) -> None:
    """Convert a disk image to another format, as DST.

    The formats are raw, vhd, vhdx, vmdk, vdi, qcow, qcow2 and qed; SRC's is found out. The agent reads SRC in a jail,
    so an image from anywhere can do no harm. To an agent elsewhere SRC is sent, and what it makes of it is fetched.
    """
    wanted = target_format or _SUFFIXES.get(target.suffix.lower())
    if wanted is None:
        raise UsageFault(f"the name {target.name!r} does not say a format: add -O with one of {', '.join(FORMATS)}")
    formats = {"SourceFormat": source_format, "TargetFormat": wanted}
    if is_local(app.client):
        _hand_over(app.client, source, target, formats, force=force, timeout=timeout)
    else:
        _send(app.client, source, target, formats, force=force, timeout=timeout)


def _hand_over(
    client: Client, source: Path, target: Path, formats: dict[str, str | None], *, force: bool, timeout: float
) -> None:
    with file_door(client) as door, opened(source) as reading, _new_file(target, replace=force) as writing:
        answer = client.call(
            "ConvertImageFile",
            OWN,
            Source=door.hand_over(reading, source.name),
            Target=door.hand_over(writing, target.name),
            **formats,
        )
        try:
            wait_job(client, str(answer["JobId"]), f"conversion of {source.name}", timeout)
        except Interrupted:
            raise Interrupted(_CANCELLED) from None


def _send(
    client: Client, source: Path, target: Path, formats: dict[str, str | None], *, force: bool, timeout: float
) -> None:
    check_new(target, force=force)
    with Progress() as progress:
        bucket, key = objects.send(client, source, "", "", progress)
    answer = client.call("ConvertImageObject", OWN, OSSBucket=bucket, OSSObject=key, **formats)
    made = {"Bucket": str(answer["Bucket"]), "Object": str(answer["Object"])}
    try:
        wait_task(client, str(answer["TaskId"]), f"conversion of {source.name}", timeout)
    except Interrupted:
        client.regional("CancelTask", TaskId=answer["TaskId"])
        raise Interrupted(_CANCELLED) from None
    try:
        with Progress() as progress:
            objects.fetch(client, made["Bucket"], made["Object"], target, progress)
    finally:
        client.call("DeleteObject", OWN, **made)


@contextlib.contextmanager
def _new_file(target: Path, *, replace: bool) -> Iterator[int]:
    """A new file that becomes `target` when all went well, and is gone otherwise: also after a SIGKILL, on file systems
    that have files without names."""
    if target.is_dir() or (target.exists() and not replace):
        raise CliError(f"{target} is there already" + ("" if target.is_dir() else ": --force replaces it"))
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}")
    try:
        with contextlib.ExitStack() as stack:
            descriptor = _create(temporary)
            stack.callback(os.close, descriptor)
            stack.callback(temporary.unlink, missing_ok=True)
            yield descriptor
            if not temporary.exists():
                _name(descriptor, temporary)
            temporary.rename(target)
    except OSError as error:
        raise CliError(f"cannot write {target}: {error.strerror}") from None


def _create(path: Path) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        return os.open(path.parent, flags | os.O_TMPFILE, 0o666)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)


def _name(descriptor: int, path: Path) -> None:
    """Give a file without a name one: linkat(2) of what the kernel shows of our open files."""
    own = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(str(descriptor), path, src_dir_fd=own, follow_symlinks=True)
    finally:
        os.close(own)
