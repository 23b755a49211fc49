"""`ecsctl security-group rule set`."""

from __future__ import annotations

from typing import Any

import click

from ecsctl.cli import App, command
from ecsctl.client import client_token
from ecsctl.commands.security_group_rule import INTERNET, INTRANET, peer_parameters, port_range, rule_of_id
from ecsctl.completion import names
from ecsctl.errors import UsageFault
from ecsctl.resolve import SECURITY_GROUP, find_id


@command("set")
@click.argument("group", shell_complete=names("security-group"))
@click.argument("rule", metavar="RULE")
@click.option("--protocol", type=click.Choice(["tcp", "udp", "icmp", "gre", "all"], case_sensitive=False))
@click.option("--port", metavar="PORT[-PORT]", help="1-65535; for tcp and udp.")
@click.option("--from", "--to", "peer", metavar="PEER", help="CIDR or security group.")
@click.option("--owner", metavar="ACCOUNT", help="Whose group the PEER is; classic network only.")
@click.option("--nic", type=click.Choice([INTRANET, INTERNET]), help="Classic network only.")
@click.option("--policy", type=click.Choice(["accept", "drop"]))
@click.option("--priority", type=click.IntRange(1, 100))
@click.option("--description", metavar="TEXT", help="'' for none.")
def set_(app: App, group: str, rule: str, peer: str | None, **given: Any) -> None:
    """Change the rule of this id (`rule ls -o wide`) in what is given; in force at one moment."""
    group_id = find_id(app.client, SECURITY_GROUP, group)
    if peer is None and all(value is None for value in given.values()):
        raise UsageFault("nothing to change: give at least one option (see --help)")
    outwards = rule_of_id(app.client, group, group_id, rule)["Direction"] == "egress"
    changes = {
        "IpProtocol": given["protocol"],
        "PortRange": port_range(given["port"]) if given["port"] else None,
        "NicType": given["nic"],
        "Policy": given["policy"],
        "Priority": given["priority"],
        "Description": given["description"],
        **(peer_parameters(app.client, group_id, "Dest" if outwards else "Source", peer, given) if peer else {}),
    }
    app.client.regional(
        "ModifySecurityGroupEgressRule" if outwards else "ModifySecurityGroupRule",
        SecurityGroupId=group_id,
        SecurityGroupRuleId=rule,
        ClientToken=client_token(),
        **changes,
    )
