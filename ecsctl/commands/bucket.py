"""`ecsctl bucket`."""

from __future__ import annotations

from pathlib import Path

import click

from ecsctl import objects
from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import OWN, Client
from ecsctl.commands.common import confirm
from ecsctl.completion import from_agent
from ecsctl.errors import UsageFault
from ecsctl.output import Column, Row, View
from ecsctl.progress import Progress


def _size(item: Row) -> str:
    count = float(item.get("Size", 0))
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return ""


_BUCKETS = View(
    columns=(
        Column("NAME", "Bucket"),
        Column("KIND", "Kind"),
        Column("CREATED", "CreationTime"),
        Column("ENDPOINT", "Endpoint"),
    ),
    name=("Bucket",),
)
_OBJECTS = View(
    columns=(Column("OBJECT", "Object"), Column("SIZE", _size), Column("MODIFIED", "LastModified")),
    name=("Object",),
)


def _buckets(client: Client) -> list[str]:
    return [str(item["Bucket"]) for item in client.items("DescribeBuckets", "Buckets.Bucket", OWN)]


_complete = from_agent("bucket", _buckets)


@command("ls")
@click.argument("address", metavar="[BUCKET[/PREFIX]]", default="", shell_complete=_complete)
def ls(app: App, address: str) -> None:
    """List buckets, or the objects of one."""
    if not address:
        app.emit_list(list(app.client.items("DescribeBuckets", "Buckets.Bucket", OWN)), _BUCKETS)
        return
    bucket, prefix = objects.parse_address(address)
    found = app.client.items("DescribeObjects", "Objects.Object", OWN, Bucket=bucket, Prefix=prefix)
    app.emit_list(list(found), _OBJECTS)


@command("create")
@click.argument("name")
def create(app: App, name: str) -> None:
    """Make a bucket on the host. Its files are objects: the host's owner finds it below the data directory."""
    click.echo(app.client.call("CreateBucket", OWN, Bucket=name)["Bucket"])


@command("rm")
@click.argument("addresses", metavar="BUCKET[/OBJECT]...", nargs=-1, required=True, shell_complete=_complete)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def rm(app: App, addresses: tuple[str, ...], yes: bool) -> None:
    """Delete objects, or empty buckets."""
    parsed = [objects.parse_address(address) for address in addresses]
    confirm(f"Delete {', '.join(addresses)}?", yes=yes)
    for bucket, key in parsed:
        if key:
            app.client.call("DeleteObject", OWN, Bucket=bucket, Object=key)
        else:
            app.client.call("DeleteBucket", OWN, Bucket=bucket)


@command("put")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("address", metavar="BUCKET[/OBJECT]", shell_complete=_complete)
def put(app: App, file: Path, address: str) -> None:
    """Send a file. After a break, the same command goes on. Prints the object's address."""
    bucket, key = objects.parse_address(address)
    if not key or key.endswith("/"):
        key += file.name
    with Progress() as progress:
        objects.send(app.client, file, bucket, key, progress)
    click.echo(f"oss://{bucket}/{key}")


@command("get")
@click.argument("address", metavar="BUCKET/OBJECT", shell_complete=_complete)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def get(app: App, address: str, file: Path | None, force: bool) -> None:
    """Fetch an object as a file. After a break, the same command goes on."""
    bucket, key = objects.parse_address(address)
    if not key:
        raise UsageFault(f"{address!r} names no object: BUCKET/OBJECT")
    name = key.rsplit("/", 1)[-1]
    target = file / name if file and file.is_dir() else file or Path(name)
    check_new(target, force=force)
    with Progress() as progress:
        objects.fetch(app.client, bucket, key, target, progress)


def check_new(target: Path, *, force: bool) -> None:
    """UsageFault when something is there already, unless it may be replaced."""
    if target.exists() and not force:
        raise UsageFault(f"{target} exists already: --force replaces it")


bucket = LazyGroup(
    "bucket",
    help="Buckets: where images are imported from and exported to.",
    lazy={
        "ls": (__name__, "ls", "List buckets, or the objects of one."),
        "create": (__name__, "create", "Make a bucket on the host."),
        "rm": (__name__, "rm", "Delete objects, or empty buckets."),
        "put": (__name__, "put", "Send a file."),
        "get": (__name__, "get", "Fetch an object as a file."),
    },
)
