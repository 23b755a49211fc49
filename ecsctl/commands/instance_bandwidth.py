"""`ecsctl instance set-bandwidth`."""

from __future__ import annotations

import click

from ecsctl.cli import App, command
from ecsctl.client import client_token
from ecsctl.commands.instance_list import VIEW
from ecsctl.completion import names
from ecsctl.resolve import INSTANCE, find_id
from ecsctl.waiting import describe_ids


@command("set-bandwidth")
@click.argument("name", shell_complete=names("instance"))
@click.argument("mbps", metavar="MBIT/S", type=click.IntRange(min=0))
@click.option("--in", "inbound", type=click.IntRange(min=1), metavar="MBIT/S", help="Towards the instance.")
@click.option("--public-ip", is_flag=True, help="Get it a public address of its own, if it has none.")
@click.option("--charge-type", type=click.Choice(["PayByTraffic", "PayByBandwidth"]))
def set_bandwidth(
    app: App, name: str, mbps: int, inbound: int | None, public_ip: bool, charge_type: str | None
) -> None:
    """Change the bandwidth of an instance's own public address, at once; 0 takes the address away. Prints the address.

    EIPs have a bandwidth of their own: `ecsctl eip set`.
    """
    instance_id = find_id(app.client, INSTANCE, name)
    app.client.call(
        "ModifyInstanceNetworkSpec",
        InstanceId=instance_id,
        InternetMaxBandwidthOut=mbps,
        InternetMaxBandwidthIn=inbound,
        AllocatePublicIp=public_ip or None,
        NetworkChargeType=charge_type,
        ClientToken=client_token(),
    )
    [changed] = describe_ids(app.client, [instance_id])
    own = changed["PublicIpAddress"]["IpAddress"]
    if app.output or app.query:
        app.emit_item(changed, VIEW)
    elif own:
        click.echo(own[0])
    elif mbps:
        click.echo(f"{name} has no public address of its own: --public-ip gets it one", err=True)
