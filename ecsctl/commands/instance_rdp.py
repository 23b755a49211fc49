"""`ecsctl instance rdp`: the remote desktop of a Windows instance (SPEC L2)."""

from __future__ import annotations

from pathlib import Path

import click

from ecsctl.cli import App, command
from ecsctl.client import Client, Json
from ecsctl.commands.instance_login import running
from ecsctl.completion import names
from ecsctl.errors import CliError, UsageFault

PORT = 3389
USER = "Administrator"


@command("rdp")
@click.option("--file", type=click.Path(path_type=Path), metavar="FILE.rdp", help="Write a file for the RDP client.")
@click.option("--forward", is_flag=True, help="Forward a local port through the agent, until Ctrl+C.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="PORT", help="The local port.  [default: a free one]")
@click.argument("name", shell_complete=names("instance"))
def rdp(app: App, file: Path | None, forward: bool, port: int | None, name: str) -> None:
    """Print where the remote desktop of a Windows instance is; the user is Administrator.

    With --forward the client connects to this machine and needs no way to the instance's own address.
    """
    if port is not None and not forward:
        raise UsageFault("--port is the local port of --forward: give both")
    instance = running(app.client, name)
    if str(instance.get("OSType", "")).lower() != "windows":
        raise UsageFault(f"{name} is {instance.get('OSName') or 'not Windows'}: `ecsctl instance ssh {name}` logs in")
    if forward:
        _forward(app.client, instance, port or 0, file)
        return
    address = f"{_address(instance)}:{PORT}"
    _write(file, address)
    click.echo(address)


def _forward(client: Client, instance: Json, port: int, file: Path | None) -> None:
    from ecsctl.forward import Forwarder

    with Forwarder(client, str(instance["InstanceId"]), PORT, port) as forwarder:
        address = f"127.0.0.1:{forwarder.port}"
        _write(file, address)
        click.echo(address)
        click.echo("forwarding; Ctrl+C ends it", err=True)
        forwarder.serve()


def _address(instance: Json) -> str:
    """The address that reaches farthest."""
    public = [*instance["PublicIpAddress"]["IpAddress"], instance["EipAddress"].get("IpAddress", "")]
    private = instance["VpcAttributes"]["PrivateIpAddress"]["IpAddress"]
    found = next(filter(None, [*public, *private]), "")
    if not found:
        raise CliError(f"instance {instance['InstanceId']} has no address")
    return str(found)


def _write(file: Path | None, address: str) -> None:
    if file is None:
        return
    try:
        file.write_text(rdp_file(address), newline="")
    except OSError as error:
        raise CliError(f"cannot write {file}: {error.strerror}") from None


def rdp_file(address: str) -> str:
    """A connection for the client of Windows, FreeRDP and others: `name:type:value`, ended as Windows does."""
    lines = (
        f"full address:s:{address}",
        f"username:s:{USER}",
        "prompt for credentials:i:1",
        "administrative session:i:0",
        "screen mode id:i:2",
        "dynamic resolution:i:1",
        "redirectclipboard:i:1",
        # The guest has a certificate of its own making: warn, but connect.
        "authentication level:i:2",
    )
    return "".join(line + "\r\n" for line in lines)
