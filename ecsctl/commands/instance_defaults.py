"""What `instance create` chooses when it is not told: image id, VSwitch, security group, key pair."""

from __future__ import annotations

from typing import Any

import click

from ecsctl import keys
from ecsctl.cli import App
from ecsctl.client import Client, Json
from ecsctl.errors import ApiError, CliError, UsageFault
from ecsctl.resolve import KEY_PAIR, SECURITY_GROUP, VPC_NETWORK, VSWITCH, Kind, describe, find_id, find_image

_DEFAULT_NAME = "default"  # of the security group that the agent makes for each default VPC


def fill_defaults(app: App, given: dict[str, Any], parameters: dict[str, Any]) -> None:
    """Complete the parameters of a creating call. A caller who may not look something up leaves it to the agent."""
    fill_place(app.client, given, parameters)
    fill_login(app, given, parameters)


def fill_place(client: Client, given: dict[str, Any], parameters: dict[str, Any]) -> None:
    """What it is made of and where it is."""
    parameters["ImageId"] = _image(client, given["image"])
    vswitch = {} if given.get("classic") else _vswitch(client, given)
    if vswitch:
        parameters["VSwitchId"] = vswitch["VSwitchId"]
    groups = [find_id(client, SECURITY_GROUP, text) for text in given["security_groups"]]
    groups = groups or _default_group(client, vswitch)
    if len(groups) == 1:
        parameters["SecurityGroupId"] = groups[0]
    elif groups:
        parameters["SecurityGroupIds"] = groups


def fill_login(app: App, given: dict[str, Any], parameters: dict[str, Any]) -> None:
    """Who may log in."""
    key_pair = given["key_pair"] or (None if parameters.get("Password") else _default_key_pair(app))
    if key_pair:
        parameters["KeyPairName"] = key_pair
    elif not parameters.get("Password"):
        click.echo(
            "Warning: neither key pair nor password: nobody can log in (`ecsctl key-pair create` makes a key pair)",
            err=True,
        )


def _list(client: Client, kind: Kind, **filters: object) -> list[Json] | None:
    """The resources, or None when this caller may not list them."""
    try:
        return describe(client, kind, **filters)
    except ApiError as error:
        if error.forbidden:
            return None
        raise


def _image(client: Client, text: str) -> str:
    try:
        return find_image(client, text)
    except ApiError as error:
        if error.forbidden:
            return text
        raise


def _vswitch(client: Client, given: dict[str, Any]) -> Json:
    """The VSwitch's description; `{}` leaves the choice to the agent."""
    vpc = find_id(client, VPC_NETWORK, given["vpc"]) if given["vpc"] else None
    if given["vswitch"]:
        vswitch_id = find_id(client, VSWITCH, given["vswitch"], VpcId=vpc)
        same = _list(client, VSWITCH, VSwitchId=vswitch_id) or []
        return next((item for item in same if item["VSwitchId"] == vswitch_id), {"VSwitchId": vswitch_id})
    found = _list(client, VSWITCH, VpcId=vpc, ZoneId=given["zone"])
    if found is None:
        if vpc:
            raise UsageFault(f"VSwitches cannot be listed: name one of {given['vpc']!r} with --vswitch")
        return {}
    defaults = [item for item in found if item.get("IsDefault")] or found
    if len(defaults) == 1:
        return defaults[0]
    where = f"VPC {given['vpc']!r}" if given["vpc"] else "this region"
    if not defaults:
        raise CliError(f"{where} has no VSwitch{_in_zone(given)}: make one with `ecsctl vswitch create`")
    shown = ", ".join(f"{item.get('VSwitchName') or ''} {item['VSwitchId']}".strip() for item in defaults)
    raise UsageFault(f"{where} has several VSwitches and no default one: choose with --vswitch: {shown}")


def _in_zone(given: dict[str, Any]) -> str:
    return f" in zone {given['zone']!r}" if given["zone"] else ""


def _default_group(client: Client, vswitch: Json) -> list[str]:
    """The only group of the VPC or the one named `default`; otherwise the agent decides."""
    if not vswitch.get("VpcId"):
        return []
    found = _list(client, SECURITY_GROUP, VpcId=vswitch["VpcId"]) or []
    chosen = found if len(found) == 1 else [g for g in found if g.get("SecurityGroupName") == _DEFAULT_NAME]
    return [chosen[0]["SecurityGroupId"]] if len(chosen) == 1 else []


def _default_key_pair(app: App) -> str | None:
    """The profile's, or the only one whose private key we hold, as far as it still exists."""
    if app.settings.default_key_pair:
        return app.settings.default_key_pair
    ours = keys.held()
    if not ours:
        return None
    listed = _list(app.client, KEY_PAIR)
    if listed is not None:
        there = {item["KeyPairName"] for item in listed}
        ours = [name for name in ours if name in there]
    return ours[0] if len(ours) == 1 else None
