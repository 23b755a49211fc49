"""`ecsctl security-group explain`."""

from __future__ import annotations

import ipaddress
from typing import Any

import click

from ecsctl.cli import App, command
from ecsctl.client import OWN, Client, Json, unwrap
from ecsctl.commands.security_group_rule import SERVICES
from ecsctl.completion import names
from ecsctl.errors import UsageFault
from ecsctl.output import Column, Row, View
from ecsctl.resolve import INSTANCE, find_id

ANY = "any"
_PROTOCOLS = ("tcp", "udp", "icmp", "gre")
_MOST = 3  # networks that a line of a table names

_WHY = Column("BECAUSE", "Because")
_SIDES = View(
    columns=(
        Column("SIDE", "Role"),
        Column("INSTANCE", lambda side: side.get("InstanceName") or side.get("InstanceId") or "(not yours)"),
        Column("ADDRESS", "Address"),
        Column("VERDICT", "Verdict"),
        _WHY,
        Column("RULE ID", "SecurityGroupRuleId", wide=True),
    ),
    name=("SecurityGroupRuleId",),
)
_SOURCES = View(
    columns=(Column("FROM", "From"), Column("VERDICT", "Verdict"), _WHY, Column("RULE ID", "RuleId", wide=True)),
    name=("RuleId",),
)


@command("explain")
@click.option(
    "--from",
    "source",
    default=ANY,
    metavar="WHO",
    help="INSTANCE, ADDRESS, or any (the default): anybody outside.",
    shell_complete=names("instance"),
)
@click.option("--as", "address", metavar="ADDRESS", help="The address that the instance --from sends with.")
@click.option(
    "--to", "destination", required=True, metavar="WHO", help="INSTANCE or ADDRESS.", shell_complete=names("instance")
)
@click.option("--protocol", type=click.Choice(_PROTOCOLS, case_sensitive=False), default="tcp", show_default=True)
@click.option("--port", metavar="PORT", help=f"Of the receiver: 1-65535, or {', '.join(SERVICES)}.")
@click.option("--trail", is_flag=True, help="Also the way through the compiled rules.")
def explain(app: App, source: str, address: str | None, destination: str, trail: bool, **given: Any) -> None:
    """Say which rule of which group decides whether a connection comes about."""
    protocol = given["protocol"].lower()
    port = _port(protocol, given["port"])
    answer = app.client.regional(
        "ExplainSecurityGroups",
        OWN,
        **_end(app.client, "Source", source, address),
        **_end(app.client, "Dest", destination, None),
        IpProtocol=protocol,
        Port=port,
    )
    answer.pop("RequestId", None)
    if app.output in ("json", "yaml") or app.query:
        app.emit_item(answer, _SIDES)
        return
    _show(app, answer, f"{protocol}{f' {port}' if port else ''}")
    if trail:
        _show_trail(answer)


def _port(protocol: str, text: str | None) -> int | None:
    if protocol not in ("tcp", "udp"):
        if text:
            raise UsageFault(f"{protocol} has no ports: leave --port out")
        return None
    if not text:
        raise UsageFault(f"{protocol} needs --port")
    port = SERVICES.get(text.lower()) or (int(text) if text.isascii() and text.isdigit() else 0)
    if not 1 <= port <= 65535:
        raise UsageFault(f"--port {text!r} must be 1-65535 or one of {', '.join(SERVICES)}")
    return port


def _end(client: Client, side: str, text: str, address: str | None) -> dict[str, str | None]:
    """The parameters that say who is meant."""
    is_address = _is_address(text)
    if (side == "Source" and text == ANY) or is_address:
        if address:
            raise UsageFault("--as needs an instance in --from")
        return {f"{side}Ip": text if is_address else None}
    return {f"{side}InstanceId": find_id(client, INSTANCE, text), f"{side}Ip": address}


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


# ------------------------------------------------------------------------------ showing


def _show(app: App, answer: Json, what: str) -> None:
    found = unwrap(answer, "Explanations.Explanation")
    if len(found) == 1:
        [only] = found
        if app.output != "name":
            click.echo(f"{what}: {only['Verdict']}\n")
        app.emit_list(unwrap(only, "Sides.Side"), _SIDES)
    else:
        if app.output != "name":
            click.echo(f"{what}, by where it comes from:\n")
        app.emit_list([_line(one) for one in found], _SOURCES)
    for note in unwrap(answer, "Notes.Note") if app.output != "name" else ():
        click.echo(f"\nNote: {note}")


def _line(one: Json) -> Row:
    """An explanation by its receiver, or by a sender that forbids it already."""
    sides = unwrap(one, "Sides.Side")
    deciding = next((side for side in sides if side["Verdict"] == "Drop"), sides[-1])
    networks = [str(network) for network in unwrap(one, "Sources.Source")]
    more = f" and {len(networks) - _MOST} more" if len(networks) > _MOST else ""
    return {
        "From": f"{', '.join(networks[:_MOST])}{more}" if networks else "all others",
        "Verdict": one["Verdict"],
        "Because": deciding["Because"],
        "RuleId": deciding["SecurityGroupRuleId"],
    }


def _show_trail(answer: Json) -> None:
    for one in unwrap(answer, "Explanations.Explanation"):
        for side in unwrap(one, "Sides.Side"):
            click.echo(f"\n{side['Role']} {side['Address']}:")
            for step in unwrap(side, "Trail.Step"):
                click.echo(f"  {step}")
