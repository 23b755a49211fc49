"""`ecsctl port-forward`: ports of the host that lead to instances."""

from __future__ import annotations

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import OWN, Client, Json, client_token
from ecsctl.completion import from_agent, names
from ecsctl.errors import CliError, NotFound, UsageFault
from ecsctl.output import Column, Row, View
from ecsctl.resolve import INSTANCE, PORT_FORWARD, describe, find_id


def on_host(item: Row) -> str:
    """`8080`, `192.168.1.4:8080` or, of udp, `53/udp`: as `delete` takes it."""
    address = f"{item['HostAddress']}:" if item.get("HostAddress") else ""
    protocol = "" if item.get("Protocol") == "tcp" else f"/{item.get('Protocol')}"
    return f"{address}{item['HostPort']}{protocol}"


VIEW = View(
    columns=(
        Column("HOST", on_host),
        Column("ID", "PortForwardId"),
        Column("INSTANCE", "InstanceId"),
        Column("ADDRESS", "PrivateIpAddress"),
        Column("PORT", "Port"),
        Column("DESCRIPTION", "Description"),
        Column("CREATED", "CreationTime", wide=True),
    ),
    name=("PortForwardId",),
)


def _all(client: Client) -> list[str]:
    return [on_host(item) for item in describe(client, PORT_FORWARD)]


@command("create")
@click.argument("instance", shell_complete=names("instance"))
@click.argument("ports", metavar="HOST_PORT[:PORT]")
@click.option("--protocol", type=click.Choice(["tcp", "udp"]), default="tcp", show_default=True)
@click.option("--address", metavar="ADDRESS", help="Of the host, such as 127.0.0.1. Default: all it has.")
@click.option("--description", metavar="TEXT")
def create(app: App, instance: str, ports: str, protocol: str, address: str | None, description: str | None) -> None:
    """Lead a port of the host to a port of an instance, as `port-forward create web 8080:80`. Prints its id.

    The instance's security groups have to let it in, as for anybody outside of its VPC.
    """
    host_port, port = _parse(ports)
    answer = app.client.regional(
        "CreatePortForward",
        OWN,
        InstanceId=find_id(app.client, INSTANCE, instance),
        HostPort=host_port,
        Port=port,
        Protocol=protocol,
        HostAddress=address,
        Description=description,
        ClientToken=client_token(),
    )
    if app.output or app.query:
        app.emit_list(describe(app.client, PORT_FORWARD, PortForwardId=[answer["PortForwardId"]]), VIEW)
    else:
        click.echo(answer["PortForwardId"])


def _parse(ports: str) -> tuple[int, int]:
    host_port, _, port = ports.partition(":")
    try:
        return int(host_port), int(port or host_port)
    except ValueError:
        raise UsageFault(f"{ports!r} must be HOST_PORT or HOST_PORT:PORT, such as 8080:80") from None


@command("ls")
@click.option("--instance", metavar="NAME", help="Only of this instance.", shell_complete=names("instance"))
def ls(app: App, instance: str | None) -> None:
    """List port forwards."""
    of = instance and find_id(app.client, INSTANCE, instance)
    app.emit_list(describe(app.client, PORT_FORWARD, InstanceId=of), VIEW)


@command("delete")
@click.argument(
    "forwards", metavar="HOST_PORT|ID...", nargs=-1, required=True, shell_complete=from_agent("port-forward", _all)
)
def delete(app: App, forwards: tuple[str, ...]) -> None:
    """Give ports back to the host, named as `ls` shows them."""
    for forward_id in [_find(app.client, text) for text in forwards]:
        app.client.regional("DeletePortForward", OWN, PortForwardId=forward_id)


def _find(client: Client, text: str) -> str:
    if PORT_FORWARD.is_id(text):
        return text
    found: list[Json] = [
        item for item in describe(client, PORT_FORWARD) if text in (on_host(item), str(item["HostPort"]))
    ]
    exact = [item for item in found if on_host(item) == text] or found
    if not exact:
        raise NotFound(f"there is no port forward {text}")
    if len(exact) > 1:
        raise CliError(f"{text} names several port forwards: {', '.join(map(on_host, exact))}")
    return str(exact[0]["PortForwardId"])


port_forward = LazyGroup(
    "port-forward",
    help="Ports of the host that lead to instances.",
    lazy={
        "create": (__name__, "create", "Lead a port of the host to an instance."),
        "ls": (__name__, "ls", "List port forwards."),
        "delete": (__name__, "delete", "Give ports back to the host."),
    },
)
