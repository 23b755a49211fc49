"""`ecsctl image adopt`, `ecsctl instance adopt` and `ecsctl host guests`: what others ran on this host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ecsctl.cli import App, command
from ecsctl.client import OWN, Client, Json, client_token, unwrap
from ecsctl.commands.common import wait_options
from ecsctl.commands.instance_defaults import fill_login, fill_place
from ecsctl.commands.instance_input import password_of, password_options
from ecsctl.completion import from_agent, names
from ecsctl.errors import ApiError, CliError, UsageFault
from ecsctl.output import Column, View
from ecsctl.waiting import state_goal, wait_instances, wait_job

_TIMEOUT = 4 * 3600  # a large disk takes its time

GUESTS = View(
    columns=(
        Column("NAME", "Name"),
        Column("STATUS", "Status"),
        Column("CPU", "Cpu"),
        Column("MIB", "Memory"),
        Column("OS", "OSType"),
        Column("DISKS", lambda item: ", ".join(disk["Path"] for disk in unwrap(item, "Disks.Disk"))),
        Column("PROBLEM", "Problem"),
        Column("MAC", lambda item: ", ".join(item["MacAddresses"]["MacAddress"]), wide=True),
    ),
    name=("Name",),
)


def _listed(client: Client) -> list[str]:
    return [str(one["Name"]) for one in unwrap(client.call("DescribeForeignGuests", OWN), "Guests.Guest")]


def _source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option("--description", metavar="TEXT")(function)
    function = click.option("--platform", metavar="NAME", help="Debian, Ubuntu, Windows Server 2019, …")(function)
    function = click.option("--os-type", type=click.Choice(["linux", "windows"]))(function)
    function = click.option(
        "--setup",
        type=click.Choice(["none", "seed", "edit"]),
        default="none",
        show_default=True,
        help="How it gets a host name, keys and password: not at all, by cloud-init, by changed files.",
    )(function)
    function = click.option("--virtio/--no-virtio", default=None, help="Whether it has drivers for virtio.")(function)
    return click.argument(
        "source", metavar="GUEST|FILE...", nargs=-1, required=True, shell_complete=from_agent("foreign-guests", _listed)
    )(function)


@command("guests")
def guests(app: App) -> None:
    """List the guests of this host's libvirt that are no instances."""
    app.emit_list(unwrap(app.client.call("DescribeForeignGuests", OWN), "Guests.Guest"), GUESTS)


@command("adopt")
@_source_options
@click.option("--name", metavar="TEXT", help="Default: that of the guest.")
@wait_options(_TIMEOUT)
def adopt_image(app: App, source: tuple[str, ...], name: str | None, wait: bool, timeout: float, **given: Any) -> None:
    """Make an image of a guest that others ran on this host. Prints its id.

    GUEST is the name of one of libvirt's, shut off. Paths are a Proxmox configuration (…/100.conf), or the disks of a
    machine, the system's first, in one of the directories that the host's owner configured (import_dirs). What is
    adopted stays as it is.
    """
    answer = _adopt(app.client, source, name, given)
    if wait:
        wait_job(app.client, str(answer["JobId"]), f"adoption of {source[0]}", timeout)
    click.echo(answer["ImageId"])


@command("adopt")
@_source_options
@click.option("--name", metavar="TEXT", help="Default: that of the guest.")
@click.option("--type", "instance_type", metavar="TYPE", help="Default: the smallest one that it fits into.")
@click.option("--key-pair", metavar="NAME", help="With --setup seed or edit.", shell_complete=names("key-pair"))
@click.option("--password", "ask_password", is_flag=True, help="With --setup seed or edit: ask for one.")
@password_options
@click.option("--vpc", metavar="NAME", shell_complete=names("vpc"))
@click.option("--vswitch", metavar="NAME", shell_complete=names("vswitch"))
@click.option(
    "--security-group", "security_groups", multiple=True, metavar="NAME", shell_complete=names("security-group")
)
@click.option("--keep-mac/--new-mac", default=True, show_default=True, help="The address of its first network card.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=_TIMEOUT, metavar="SECONDS")
def adopt_instance(app: App, source: tuple[str, ...], name: str | None, timeout: float, **given: Any) -> None:
    """Make a stopped instance of a guest that others ran on this host, with all its disks. Prints its id.

    The sources are those of `ecsctl image adopt`. What is adopted stays as it is: do not let both run.
    """
    client, password = app.client, password_of(given)
    guest = _guest(client, source)
    instance_type = given["instance_type"] or _type_for(client, guest)
    answer = _adopt(client, source, name, given)
    image_id = str(answer["ImageId"])
    wait_job(client, str(answer["JobId"]), f"adoption of {source[0]}", timeout)
    parameters = {"InstanceName": name or guest["Name"], "InstanceType": instance_type, "ClientToken": client_token()}
    parameters |= {"Password": password} if password else {}
    try:
        instance_id = _create(app, parameters, {**given, "image": image_id, "zone": None}, timeout)
    except CliError:
        click.echo(f"The image is made: `ecsctl instance create --image {image_id}` makes the instance.", err=True)
        raise
    if given["keep_mac"]:
        _keep_mac(client, instance_id, guest)
    client.call("DeleteImage", RegionId=client.region, ImageId=image_id, Force=True)
    click.echo(instance_id)


def _source(texts: tuple[str, ...]) -> dict[str, object]:
    """A configuration or files when they are paths, else the name of a guest."""
    if "/" in texts[0]:
        return {"ConfigFile": texts[0]} if len(texts) == 1 and texts[0].endswith(".conf") else {"File": list(texts)}
    if len(texts) > 1:
        raise UsageFault("give one guest, or the paths of one machine's disks")
    return {"Guest": texts[0]}


def _guest(client: Client, source: tuple[str, ...]) -> Json:
    return unwrap(client.call("DescribeForeignGuests", OWN, **_source(source)), "Guests.Guest")[0]


def _adopt(client: Client, source: tuple[str, ...], name: str | None, given: dict[str, Any]) -> Json:
    return client.regional(
        "AdoptGuest",
        OWN,
        **_source(source),
        ImageName=name,
        Description=given["description"],
        Platform=given["platform"],
        OSType=given["os_type"],
        Setup=given["setup"],
        Virtio=given["virtio"],
    )


def _type_for(client: Client, guest: Json) -> str:
    """The smallest type that has the guest's processors and memory."""
    types = unwrap(client.regional("DescribeInstanceTypes"), "InstanceTypes.InstanceType")
    fitting = [
        (one["CpuCoreCount"], one["MemorySize"], one["InstanceTypeId"])
        for one in types
        if one["CpuCoreCount"] >= guest["Cpu"] and one["MemorySize"] * 1024 >= guest["Memory"]
    ]
    if not fitting:
        raise UsageFault(f"no type has {guest['Cpu']} processors and {guest['Memory']} MiB: choose one with --type")
    return str(min(fitting)[2])


def _create(app: App, parameters: dict[str, Any], given: dict[str, Any], timeout: float) -> str:
    fill_place(app.client, given, parameters)
    if given["setup"] != "none":  # else it has the logins that it had
        fill_login(app, given, parameters)
    answer = app.client.regional("CreateInstance", **parameters)
    instance_id = str(answer["InstanceId"])
    request_id = str(answer.get("RequestId", ""))
    wait_instances(app.client, [instance_id], state_goal("Stopped"), "create", request_id=request_id, timeout=timeout)
    return instance_id


def _keep_mac(client: Client, instance_id: str, guest: Json) -> None:
    """Of several network cards the first; a taken or impossible address is no reason to fail."""
    for mac in guest["MacAddresses"]["MacAddress"][:1]:
        try:
            client.call("SetMacAddress", OWN, InstanceId=instance_id, MacAddress=mac)
        except ApiError as error:
            if not error.code.startswith("InvalidMacAddress"):
                raise
            click.echo(f"Warning: the instance has a new MAC address: {error}", err=True)
