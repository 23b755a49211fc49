"""`ecsctl eip bind` and `unbind`."""

from __future__ import annotations

import click

from ecsctl.cli import App, command
from ecsctl.client import VPC, Client, client_token
from ecsctl.commands.common import wait_options
from ecsctl.commands.eip import VIEW
from ecsctl.completion import names
from ecsctl.eips import describe_eip, find_eip, wait_eip
from ecsctl.errors import CliError, NotFound
from ecsctl.resolve import INSTANCE, find_id
from ecsctl.waiting import describe_ids

_TIMEOUT = 120

_eip = click.argument("name", shell_complete=names("eip"))


@command("bind")
@_eip
@click.argument("instance", shell_complete=names("instance"))
@click.option("--private-ip", metavar="ADDRESS", help="A secondary address of the instance. Default: its first one.")
@wait_options(_TIMEOUT)
def bind(app: App, name: str, instance: str, private_ip: str | None, wait: bool, timeout: float) -> None:
    """Bind an address to an instance, running or stopped. Prints the address.

    What security groups of the instance let in reaches it under that address at once.
    """
    allocation_id, instance_id = find_eip(app.client, name), find_id(app.client, INSTANCE, instance)
    to = {"InstanceId": instance_id, "InstanceType": "EcsInstance"}
    if private_ip:
        to = {"InstanceId": _interface(app.client, instance_id), "InstanceType": "NetworkInterface"}
    app.client.regional(
        "AssociateEipAddress",
        VPC,
        AllocationId=allocation_id,
        **to,
        PrivateIpAddress=private_ip,
        ClientToken=client_token(),
    )
    _finish(app, allocation_id, "bind", "InUse", timeout if wait else 0)


@command("unbind")
@_eip
@wait_options(_TIMEOUT)
def unbind(app: App, name: str, wait: bool, timeout: float) -> None:
    """Take an address away from its instance. It stays yours."""
    allocation_id = find_eip(app.client, name)
    found = describe_eip(app.client, allocation_id)
    if found is None:
        raise NotFound(f"there is no EIP {name!r}")
    if not found["InstanceId"]:
        raise CliError(f"the EIP {name} ({found['IpAddress']}) is {found['Status']}: it is bound to nothing")
    app.client.regional(
        "UnassociateEipAddress",
        VPC,
        AllocationId=allocation_id,
        InstanceId=found["InstanceId"],
        ClientToken=client_token(),
    )
    _finish(app, allocation_id, "unbind", "Available", timeout if wait else 0)


def _finish(app: App, allocation_id: str, doing: str, wanted: str, timeout: float) -> None:
    found = wait_eip(app.client, allocation_id, doing, wanted, timeout) if timeout else None
    if app.output or app.query:
        app.emit_item(found or describe_eip(app.client, allocation_id) or {}, VIEW)
    elif found and doing == "bind":
        click.echo(found["IpAddress"])


def _interface(client: Client, instance_id: str) -> str:
    for instance in describe_ids(client, [instance_id]):
        return str(instance["NetworkInterfaces"]["NetworkInterface"][0]["NetworkInterfaceId"])
    raise NotFound(f"there is no instance {instance_id}")
