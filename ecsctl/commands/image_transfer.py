"""`ecsctl image import` and `ecsctl image export`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from ecsctl import files, objects
from ecsctl.cli import App, command
from ecsctl.client import OWN, Client, Json, client_token
from ecsctl.commands.bucket import check_new
from ecsctl.commands.common import tag_values, wait_options
from ecsctl.completion import names
from ecsctl.errors import UsageFault
from ecsctl.progress import Progress
from ecsctl.resolve import find_image
from ecsctl.tasks import related, wait_task

_TIMEOUT = 4 * 3600
_FORMATS = ["raw", "vhd", "qcow2", "vmdk"]
_SUFFIXES = {"img": "raw", "raw": "raw", "vhd": "vhd", "qcow2": "qcow2", "vmdk": "vmdk"}


@command("import")
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.option("--name", metavar="NAME", help="Of the image; by default its id.")
@click.option("--description", metavar="TEXT")
@click.option(
    "--platform", metavar="NAME", help="Debian, Ubuntu, …, Windows Server 2022, Customized Linux, Others Linux."
)
@click.option("--os", "os_type", type=click.Choice(["linux", "windows"]), help="By default the platform's.")
@click.option("--architecture", type=click.Choice(["x86_64", "i386"]), default="x86_64", show_default=True)
@click.option(
    "--format", "formats", multiple=True, metavar="FORMAT", help="Of each source; by default it is found out."
)
@click.option("--size", type=click.IntRange(min=1), metavar="GIB", help="Of the system disk; by default the smallest.")
@click.option(
    "--virtio/--no-virtio", default=None, help="Whether it has drivers for virtio; by default the platform's."
)
@click.option("--setup", type=click.Choice(["seed", "edit", "none"]), help="How instances get name, keys and password.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE")
@wait_options(_TIMEOUT)
def import_(app: App, sources: tuple[str, ...], wait: bool, timeout: float, **given: Any) -> None:
    """Make an image of files or objects (oss://BUCKET/OBJECT): the system disk first, then data disks.

    Files are sent to an agent elsewhere first; after a break, the same command goes on. Prints the image's id.
    """
    if len(given["formats"]) > len(sources):
        raise UsageFault(f"{len(given['formats'])} formats were given for {len(sources)} sources")
    answer = _import(app.client, sources, _parameters(given), given, wait=wait, timeout=timeout)
    click.echo(answer["ImageId"])


def _parameters(given: dict[str, Any]) -> dict[str, Any]:
    return {
        "ImageName": given["name"],
        "Description": given["description"],
        "Platform": given["platform"],
        "OSType": given["os_type"],
        "Architecture": given["architecture"],
        "Virtio": given["virtio"],
        "Setup": given["setup"],
        "Tag": tag_values(given["tags"]),
    }


def _import(
    client: Client, sources: Sequence[str], parameters: dict[str, Any], given: dict[str, Any], **waiting: Any
) -> Json:
    disks = [_disk(number, given) for number in range(len(sources))]
    # What the agent has a descriptor of it can read as long as this command goes on: who does not wait, sends it.
    if files.is_local(client) and waiting["wait"] and not any("://" in source for source in sources):
        with ExitStack() as stack:
            door = stack.enter_context(files.file_door(client))
            for disk, source in zip(disks, sources, strict=True):
                descriptor = stack.enter_context(files.opened(Path(source)))
                disk["Source"] = door.hand_over(descriptor, source)
            answer = client.call("ImportImageFile", OWN, Disk=disks, **parameters)
            return _waited(client, answer, sources[0], **waiting)
    for disk, source in zip(disks, sources, strict=True):
        disk.update(_object(client, source))
    answer = client.regional("ImportImage", DiskDeviceMapping=disks, ClientToken=client_token(), **parameters)
    return _waited(client, answer, sources[0], **waiting)


def _disk(number: int, given: dict[str, Any]) -> dict[str, object]:
    return {
        "Format": given["formats"][number] if number < len(given["formats"]) else None,
        "DiskImageSize": given["size"] if number == 0 else None,
    }


def _object(client: Client, source: str) -> dict[str, object]:
    if "://" in source:
        return {"OSSObject": source}
    with Progress() as progress:
        bucket, key = objects.send(client, Path(source), "", "", progress)
    return {"OSSBucket": bucket, "OSSObject": key}


def _waited(client: Client, answer: Json, source: str, *, wait: bool, timeout: float) -> Json:
    if wait:
        wait_task(client, str(answer["TaskId"]), f"import of {source}", timeout)
    else:
        click.echo(f"task {answer['TaskId']}", err=True)
    return answer


@command("export")
@click.argument("name", shell_complete=names("image"))
@click.argument("destination", metavar="FILE|oss://BUCKET[/PREFIX]")
@click.option("--format", "file_format", type=click.Choice(_FORMATS), help="By default the file's suffix, or raw.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@wait_options(_TIMEOUT)
def export(
    app: App, name: str, destination: str, file_format: str | None, force: bool, wait: bool, timeout: float
) -> None:
    """Write a custom image to a file, or to an object of a bucket. Prints where it is."""
    image_id = find_image(app.client, name)
    if "://" in destination:
        bucket, prefix = objects.parse_address(destination)
        _export(app.client, image_id, bucket, prefix, file_format, wait=wait, timeout=timeout)
        return
    if not wait:
        raise UsageFault("a file is there only after the export: say oss://BUCKET, or leave --no-wait out")
    target = Path(destination)
    check_new(target, force=force)
    file_format = file_format or _SUFFIXES.get(target.suffix.lower().removeprefix("."), "raw")
    answer = app.client.call("ExportImageFile", OWN, ImageId=image_id, ImageFormat=file_format)
    where = {"Bucket": answer["Bucket"], "Object": answer["Object"]}
    wait_task(app.client, str(answer["TaskId"]), f"export of {name}", timeout)
    try:
        with Progress() as progress:
            objects.fetch(app.client, str(answer["Bucket"]), str(answer["Object"]), target, progress)
    finally:
        app.client.call("DeleteObject", OWN, **where)
    click.echo(str(target))


def _export(
    client: Client, image_id: str, bucket: str, prefix: str, file_format: str | None, *, wait: bool, timeout: float
) -> None:
    parameters: dict[str, Any] = {"OSSBucket": bucket, "OSSPrefix": prefix or None, "ImageFormat": file_format}
    task_id = str(client.regional("ExportImage", ImageId=image_id, **parameters)["TaskId"])
    if not wait:
        click.echo(task_id)
        return
    found = related(wait_task(client, task_id, f"export of {image_id}", timeout))
    click.echo(f"oss://{found['OSSBucket']}/{found['OSSObject']}")
