"""`ecsctl security-group rule`."""

from __future__ import annotations

import re
from typing import Any

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import Client, Json, client_token, unwrap
from ecsctl.completion import names
from ecsctl.errors import NotFound, UsageFault
from ecsctl.output import Column, Row, View
from ecsctl.resolve import SECURITY_GROUP, find_id

SERVICES = {
    "ssh": 22,
    "telnet": 23,
    "http": 80,
    "https": 443,
    "mssql": 1433,
    "oracle": 1521,
    "mysql": 3306,
    "rdp": 3389,
    "postgresql": 5432,
    "redis": 6379,
}
ANYWHERE = "0.0.0.0/0"
INTRANET, INTERNET = "intranet", "internet"
_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}(/\d{1,2})?\Z")
_RULE_ID = re.compile(r"sgr-[a-z0-9]{20}\Z")


def peer_of(item: Row) -> object:
    """Whom a rule is about, as people read it."""
    side = "Dest" if item.get("Direction") == "egress" else "Source"
    if name := item.get(f"{side}CidrIp") or item.get(f"{side}GroupName"):
        return name
    owner, group = item.get(f"{side}GroupOwnerAccount"), item.get(f"{side}GroupId")
    return f"{group} of {owner}" if owner else group


RULES = View(
    columns=(
        Column("DIRECTION", "Direction"),
        Column("POLICY", "Policy"),
        Column("PROTOCOL", "IpProtocol"),
        Column("PORTS", "PortRange"),
        Column("PEER", peer_of),
        Column("PRIORITY", "Priority"),
        Column("DESCRIPTION", "Description"),
        Column("ID", "SecurityGroupRuleId", wide=True),
        Column("NIC TYPE", "NicType", wide=True),
        Column("CREATED", "CreateTime", wide=True),
    ),
    name=("SecurityGroupRuleId",),
)


def view_of(rules: list[Json]) -> View:
    """How these are shown: with their NIC types where they differ, in the classic network."""
    if all(rule.get("NicType") != INTERNET for rule in rules):
        return RULES
    columns = [Column(one.title, one.value) if one.title == "NIC TYPE" else one for one in RULES.columns]
    return View(columns, RULES.name)


def _rule_options(function: Any) -> Any:
    for option in reversed(
        [
            click.option("--egress", is_flag=True, help="A rule for what goes out (default: what comes in)."),
            click.option("--protocol", type=click.Choice(["tcp", "udp", "icmp", "gre", "all"], case_sensitive=False)),
            click.option("--port", metavar="PORT[-PORT]", help="1-65535; for tcp and udp."),
            click.option("--from", "source", metavar="PEER", help="CIDR or security group; default: anywhere."),
            click.option("--to", "destination", metavar="PEER", help="The same with --egress."),
            click.option("--owner", metavar="ACCOUNT", help="Whose group the PEER is; classic network only."),
            click.option(
                "--nic",
                type=click.Choice([INTRANET, INTERNET]),
                help="Classic network only. Default: internet, of groups as peers intranet.",
            ),
            click.option("--policy", type=click.Choice(["accept", "drop"]), default="accept", show_default=True),
        ]
    ):
        function = option(function)
    return function


_service = click.argument(
    "service",
    metavar="[SERVICE]",
    required=False,
    shell_complete=lambda ctx, param, incomplete: [s for s in SERVICES if s.startswith(incomplete)],
)


@command("add", epilog=f"SERVICE is one of {', '.join(SERVICES)}.")
@click.argument("group", shell_complete=names("security-group"))
@_service
@_rule_options
@click.option("--priority", type=click.IntRange(1, 100), default=1, show_default=True)
@click.option("--description", metavar="TEXT")
def add(app: App, group: str, service: str | None, description: str | None, **given: Any) -> None:
    """Add a rule: a SERVICE, or --protocol and --port."""
    group_id = find_id(app.client, SECURITY_GROUP, group)
    parameters = _rule(app.client, group_id, service, given)
    app.client.regional(
        "AuthorizeSecurityGroupEgress" if given["egress"] else "AuthorizeSecurityGroup",
        SecurityGroupId=group_id,
        Description=description,
        ClientToken=client_token(),
        **parameters,
    )


@command("rm")
@click.argument("group", shell_complete=names("security-group"))
@_service
@_rule_options
@click.option("--priority", type=click.IntRange(1, 100), help="Default: whatever it is.")
def rm(app: App, group: str, service: str | None, **given: Any) -> None:
    """Remove a rule, described as for `add` or by its id (`rule ls -o wide`)."""
    group_id = find_id(app.client, SECURITY_GROUP, group)
    outwards = given["egress"]
    if service and _RULE_ID.match(service):
        outwards = rule_of_id(app.client, group, group_id, service)["Direction"] == "egress"
        parameters: dict[str, Any] = {"SecurityGroupRuleId": [service]}
    else:
        parameters = _rule(app.client, group_id, service, given)
    app.client.regional(
        "RevokeSecurityGroupEgress" if outwards else "RevokeSecurityGroup", SecurityGroupId=group_id, **parameters
    )


def rule_of_id(client: Client, group: str, group_id: str, rule_id: str) -> Json:
    """The rule of this id, whichever its direction; raises NotFound. `group` is how the caller calls it."""
    for one in permissions(client, group_id):
        if one["SecurityGroupRuleId"] == rule_id:
            return one
    raise NotFound(f"the security group {group} has no rule {rule_id!r}")


@command("ls")
@click.argument("group", shell_complete=names("security-group"))
@click.option("--direction", type=click.Choice(["ingress", "egress"]))
def ls(app: App, group: str, direction: str | None) -> None:
    """List the rules of a group."""
    group_id = find_id(app.client, SECURITY_GROUP, group)
    found = permissions(app.client, group_id, direction or "all")
    app.emit_list(found, view_of(found))


def permissions(client: Client, group_id: str, direction: str = "all") -> list[Json]:
    """The rules of a group, ingress first, by priority."""
    return ordered(attributes(client, group_id, direction))


def attributes(client: Client, group_id: str, direction: str = "all") -> Json:
    """What DescribeSecurityGroupAttribute says of a group, with the rules of that direction."""
    return client.regional("DescribeSecurityGroupAttribute", SecurityGroupId=group_id, Direction=direction)


def ordered(answer: Json) -> list[Json]:
    """The rules in such an answer, ingress first, by priority."""
    found = unwrap(answer, "Permissions.Permission")
    return sorted(found, key=lambda item: (item.get("Direction") != "ingress", int(item.get("Priority") or 1)))


def _rule(client: Client, group_id: str, service: str | None, given: dict[str, Any]) -> dict[str, Any]:
    protocol, ports = _protocol_and_ports(service, given["protocol"], given["port"])
    if given["egress"] and given["source"]:
        raise UsageFault("an egress rule has --to, not --from")
    if not given["egress"] and given["destination"]:
        raise UsageFault("--to needs --egress")
    side, peer = ("Dest", given["destination"]) if given["egress"] else ("Source", given["source"])
    return {
        "IpProtocol": protocol,
        "PortRange": ports,
        "Policy": given["policy"],
        "Priority": given["priority"],
        "NicType": given["nic"],
        **peer_parameters(client, group_id, side, peer or ANYWHERE, given),
    }


def peer_parameters(client: Client, group_id: str, side: str, peer: str, given: dict[str, Any]) -> dict[str, str]:
    """The parameters of a peer; a group's members are reached on the intranet."""
    if _ADDRESS.match(peer):
        if given["owner"]:
            raise UsageFault("--owner is for a security group as PEER")
        return {f"{side}CidrIp": peer}
    nic = {} if given["nic"] else {"NicType": INTRANET}
    if not given["owner"]:
        return nic | {f"{side}GroupId": _neighbour(client, group_id, peer)}
    if not SECURITY_GROUP.is_id(peer):
        raise UsageFault(f"a group of another account is named by its id: {peer!r} is none")
    return nic | {f"{side}GroupId": peer, f"{side}GroupOwnerAccount": given["owner"]}


def _neighbour(client: Client, group_id: str, peer: str) -> str:
    """A name means the group of the same network that has it: no other can be the peer."""
    if SECURITY_GROUP.is_id(peer):
        return peer
    vpc_id = attributes(client, group_id)["VpcId"]
    network = {"VpcId": vpc_id} if vpc_id else {"NetworkType": "classic"}
    return find_id(client, SECURITY_GROUP, peer, **network)


def _protocol_and_ports(service: str | None, protocol: str | None, port: str | None) -> tuple[str, str]:
    if service:
        if service not in SERVICES:
            raise UsageFault(f"service {service!r} is not known; use --protocol and --port, or {', '.join(SERVICES)}")
        if protocol or port:
            raise UsageFault(f"{service} says protocol and port already: leave --protocol and --port out")
        return "tcp", f"{SERVICES[service]}/{SERVICES[service]}"
    if not protocol:
        raise UsageFault("give a SERVICE or --protocol")
    protocol = protocol.lower()
    if protocol not in ("tcp", "udp"):
        if port:
            raise UsageFault(f"{protocol} has no ports: leave --port out")
        return protocol, "-1/-1"
    if not port:
        raise UsageFault(f"{protocol} needs --port (1-65535 for every port)")
    return protocol, port_range(port)


def port_range(port: str) -> str:
    """`22/22` for `22`; UsageFault for what is no port and no range."""
    first, _, last = port.replace("/", "-").partition("-")
    low, high = (int(text) if text.isascii() and text.isdigit() else 0 for text in (first, last or first))
    if not 1 <= low <= high <= 65535:
        raise UsageFault(f"--port {port!r} must be PORT or FROM-TO within 1-65535")
    return f"{low}/{high}"


rule = LazyGroup(
    "rule",
    help="Rules of a security group.",
    lazy={
        "add": (__name__, "add", "Add a rule."),
        "set": ("ecsctl.commands.security_group_rule_set", "set_", "Change a rule."),
        "rm": (__name__, "rm", "Remove a rule."),
        "ls": (__name__, "ls", "List rules."),
    },
)
