"""`ecsctl instance create`.

Works for a caller who may only describe, create, start, stop and delete instances (SPEC R4): defaults that cannot
be looked up are left to the agent, and without the right to RunInstances it is CreateInstance and StartInstance.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ecsctl.cli import App, command
from ecsctl.client import Client, Json, client_token
from ecsctl.commands.common import tag_values, wait_options
from ecsctl.commands.disk_create import data_disk
from ecsctl.commands.instance_defaults import fill_defaults
from ecsctl.commands.instance_input import password_of, password_options, user_data_of
from ecsctl.commands.instance_list import VIEW
from ecsctl.completion import names, values
from ecsctl.errors import ApiError, UsageFault
from ecsctl.output import name_of
from ecsctl.ram import role_names
from ecsctl.waiting import describe_ids, state_goal, wait_instances

DEFAULT_IMAGE, DEFAULT_TYPE = "debian_12_x64", "ecs.s1.small"
_TIMEOUT = 900


@command("create")
@click.argument("name")
@click.option("--image", default=DEFAULT_IMAGE, show_default=True, metavar="NAME", shell_complete=names("image"))
@click.option(
    "--type",
    "instance_type",
    default=DEFAULT_TYPE,
    show_default=True,
    metavar="TYPE",
    shell_complete=values("DescribeInstanceTypes", "InstanceTypes.InstanceType", "InstanceTypeId"),
)
@click.option("--key-pair", metavar="NAME", help="Who may log in as root.", shell_complete=names("key-pair"))
@click.option("--password", "ask_password", is_flag=True, help="Ask for a root password.")
@password_options
@click.option("--vpc", metavar="NAME", help="Default: the default VPC.", shell_complete=names("vpc"))
@click.option(
    "--vswitch", metavar="NAME", help="Default: the default one, or the only one.", shell_complete=names("vswitch")
)
@click.option("--classic", is_flag=True, help="In the classic network instead of a VPC.")
@click.option(
    "--security-group",
    "security_groups",
    multiple=True,
    metavar="NAME",
    help="Default: the VPC's default one, or the only one. Up to 5.",
    shell_complete=names("security-group"),
)
@click.option("--zone", metavar="ID", shell_complete=values("DescribeZones", "Zones.Zone", "ZoneId"))
@click.option("--private-ip", metavar="ADDRESS", help="Default: a free one of the VSwitch.")
@click.option(
    "--bandwidth", type=click.IntRange(min=1), metavar="MBIT/S", help="A public address, with so much to the outside."
)
@click.option("--bandwidth-in", type=click.IntRange(min=1), metavar="MBIT/S", help="From the outside. Default: 10.")
@click.option("--host-name", metavar="TEXT", help="Default: made from the name.")
@click.option("--description", metavar="TEXT")
@click.option("--system-disk-size", type=click.IntRange(min=1), metavar="GIB")
@click.option("--system-disk-category", metavar="CATEGORY")
@click.option(
    "--data-disk",
    "data_disks",
    multiple=True,
    metavar="GIB[,KEY=VALUE]...",
    help="One more disk, as 40,category=cloud_ssd; also snapshot, name, device, description, delete-with-instance.",
)
@click.option(
    "--user-data", type=click.Path(path_type=Path), metavar="FILE", help="Script or cloud-config ('-': stdin)."
)
@click.option("--role", metavar="NAME", help="RAM role that programs in it act as.", shell_complete=role_names())
@click.option("--metadata-tokens", type=click.Choice(["optional", "required"]), help="`required`: the hardened mode.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE")
@click.option("--amount", type=click.IntRange(1, 100), default=1, show_default=True)
@click.option("--start/--no-start", default=True, show_default=True)
@click.option("--client-token", metavar="TEXT", help="The same token makes no second instance.")
@click.option("--dry-run", is_flag=True, help="Only check whether it would work.")
@wait_options(_TIMEOUT)
def create(app: App, name: str, start: bool, amount: int, wait: bool, timeout: float, **given: Any) -> None:
    """Create instances called NAME and start them. Prints their ids."""
    password = password_of(given)
    parameters = _parameters(name, given)
    parameters["DataDisk"] = [data_disk(app.client, text) for text in given["data_disks"]]
    parameters |= {"Password": password} if password else {}
    fill_defaults(app, given, parameters)
    if given["dry_run"]:
        _dry_run(app.client, parameters, amount)
        return
    timeout = timeout if wait else 0
    if start:
        ids = _run(app.client, parameters, amount, timeout)
    else:
        ids = _create_stopped(app.client, parameters, amount, timeout)
    _report(app, ids)


def _parameters(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """What the options say, defaults apart."""
    disk = {"Size": given["system_disk_size"], "Category": given["system_disk_category"]}
    if given["classic"] and (given["vpc"] or given["vswitch"]):
        raise UsageFault("an instance is in a VPC or in the classic network: give --classic alone")
    return {
        "InstanceNetworkType": "classic" if given["classic"] else None,
        "InstanceName": name,
        "InstanceType": given["instance_type"],
        "ZoneId": given["zone"],
        "PrivateIpAddress": given["private_ip"],
        "InternetMaxBandwidthOut": given["bandwidth"],
        "InternetMaxBandwidthIn": given["bandwidth_in"],
        "HostName": given["host_name"],
        "Description": given["description"],
        "SystemDisk": disk,
        "UserData": user_data_of(given["user_data"]),
        "RamRoleName": given["role"],
        "HttpTokens": given["metadata_tokens"],
        "Tag": tag_values(given["tags"]),
        "ClientToken": given["client_token"] or client_token(),
    }


def _dry_run(client: Client, parameters: dict[str, Any], amount: int) -> None:
    if not _would_work(client, "RunInstances", {**parameters, "Amount": amount}):
        _would_work(client, "CreateInstance", _for_create_instance(parameters), or_raise=True)
    click.echo("it would work: nothing was created", err=True)


def _would_work(client: Client, action: str, parameters: dict[str, Any], *, or_raise: bool = False) -> bool:
    """False when the caller may not call the action; any other refusal is raised."""
    try:
        client.regional(action, **parameters, DryRun=True)
    except ApiError as error:
        if error.forbidden and not or_raise:
            return False
        if error.code != "DryRunOperation":
            raise
    return True


def _for_create_instance(parameters: dict[str, Any]) -> dict[str, Any]:
    """CreateInstance knows one security group only."""
    if "SecurityGroupIds" in parameters:
        raise UsageFault("CreateInstance, used here, takes one security group: join the others afterwards")
    return dict(parameters)


def _run(client: Client, parameters: dict[str, Any], amount: int, timeout: float) -> list[str]:
    try:
        answer = client.regional("RunInstances", **parameters, Amount=amount)
    except ApiError as error:
        if not error.forbidden:
            raise
        return _create_and_start(client, parameters, amount, timeout)
    ids = [str(one) for one in answer["InstanceIdSets"]["InstanceIdSet"]]
    if timeout:
        _wait(client, ids, "Running", answer, timeout)
    return ids


def _create_and_start(client: Client, parameters: dict[str, Any], amount: int, timeout: float) -> list[str]:
    """The same with CreateInstance and StartInstance; it has to wait for Stopped in between whatever is asked."""
    ids = _create_stopped(client, parameters, amount, timeout or _TIMEOUT)
    answers = {one: client.call("StartInstance", InstanceId=one) for one in ids}
    if timeout:
        for one, answer in answers.items():
            _wait(client, [one], "Running", answer, timeout, "start")
    return ids


def _create_stopped(client: Client, parameters: dict[str, Any], amount: int, timeout: float) -> list[str]:
    parameters = _for_create_instance(parameters)
    token = parameters.pop("ClientToken")
    answers = []
    for number in range(amount):
        own = token if amount == 1 else f"{token[:60]}-{number}"
        answers.append(client.regional("CreateInstance", **parameters, ClientToken=own))
    if timeout:
        for answer in answers:
            _wait(client, [str(answer["InstanceId"])], "Stopped", answer, timeout)
    return [str(answer["InstanceId"]) for answer in answers]


def _wait(client: Client, ids: list[str], state: str, answer: Json, timeout: float, doing: str = "create") -> None:
    request_id = str(answer.get("RequestId", ""))
    wait_instances(client, ids, state_goal(state), doing, request_id=request_id, timeout=timeout)


def _report(app: App, ids: list[str]) -> None:
    if app.output in ("", "name") and not app.query:
        found = {item["InstanceId"]: item for item in describe_ids(app.client, ids)} if app.output else {}
        for one in ids:
            click.echo(name_of(found[one], VIEW) if one in found else one)
        return
    app.emit_list(describe_ids(app.client, ids), VIEW)
