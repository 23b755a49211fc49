"""`ecsctl instance ssh`, `cp` and `dial`: the system's ssh, with our tunnel as its ProxyCommand."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

import click

from ecsctl import keys, known_hosts
from ecsctl.cli import App, Command, command
from ecsctl.client import Client, Json, unwrap
from ecsctl.completion import names
from ecsctl.errors import ApiError, CliError, NotFound, Unreachable, UsageFault
from ecsctl.resolve import INSTANCE, find_id
from ecsctl.waiting import describe_ids

HOST_SUFFIX = ".ecs"  # of the host names in the ssh configuration that `config ssh` writes
DEFAULT_USER = "root"

_identity = click.option("-i", "--identity", metavar="FILE", help="Private key (default: those we hold).")


class PassThrough(Command):
    """Everything behind NAME belongs to the remote command, dashes or not."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.allow_interspersed_args = False


@command("ssh", cls=PassThrough)
@click.option("-l", "--login", metavar="USER", help=f"Default: {DEFAULT_USER}.")
@_identity
@click.option("-L", "forwards", multiple=True, metavar="[BIND:]PORT:HOST:PORT", help="Forward a local port.")
@click.option("-t", "force_tty", is_flag=True, help="A terminal for the command.")
@click.argument("name", shell_complete=names("instance"))
@click.argument("remote", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
def ssh(
    app: App,
    login: str | None,
    identity: str | None,
    forwards: tuple[str, ...],
    force_tty: bool,
    name: str,
    remote: tuple[str, ...],
) -> None:
    """Log in to an instance, or run a command there; needs no public address. NAME or USER@NAME."""
    user, _, target = name.rpartition("@")
    login, remote = _trailing_login(login, remote)
    instance = running(app.client, target)
    arguments = [_program("ssh"), *ssh_options(app, instance, identity), "-l", login or user or DEFAULT_USER]
    arguments += [part for forward in forwards for part in ("-L", forward)]
    arguments += ["-t"] if force_tty else []
    _become([*arguments, "--", instance["InstanceId"], *remote])


@command("cp")
@click.option("-r", "--recursive", is_flag=True, help="Whole directories.")
@click.option("-O", "legacy", is_flag=True, help="The old scp protocol, for guests without sftp (dropbear).")
@click.option("-l", "--login", metavar="USER", default=DEFAULT_USER, show_default=True)
@_identity
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.argument("destination", metavar="DST")
def cp(
    app: App,
    recursive: bool,
    legacy: bool,
    login: str,
    identity: str | None,
    sources: tuple[str, ...],
    destination: str,
) -> None:
    """Copy files. NAME:PATH means a file of the instance NAME."""
    paths = [*sources, destination]
    remote = {name for path in paths if (name := _split_remote(path)[0])}
    if len(remote) != 1:
        what = "one side must be NAME:PATH" if not remote else f"only one instance, not {', '.join(sorted(remote))}"
        raise UsageFault(f"cannot copy {' '.join(paths)}: {what}")
    instance = running(app.client, remote.pop())
    arguments = [_program("scp"), *ssh_options(app, instance, identity), *(["-r"] if recursive else [])]
    arguments += ["-O"] if legacy else []
    _become([*arguments, "--", *(_scp_path(path, login, instance["InstanceId"]) for path in paths)])


@command("dial")
@click.option("--ssh-host", is_flag=True, help=f"NAME is a host of the ssh configuration: NAME{HOST_SUFFIX}.")
@click.argument("name", shell_complete=names("instance"))
@click.argument("port", type=click.IntRange(1, 65535), default=22)
def dial(app: App, ssh_host: bool, name: str, port: int) -> None:
    """Connect stdin and stdout to a port of an instance (the ProxyCommand of ssh)."""
    from ecsctl import tunnel
    from ecsctl.relay import relay

    instance_id = _claim_host(app.client, name) if ssh_host else find_id(app.client, INSTANCE, name)
    connection, stream = tunnel.dial(app.client, instance_id, port)
    with connection:
        try:
            relay(connection, stream, half_close=False)
        except OSError as error:
            raise Unreachable(f"the tunnel to {name} port {port} broke: {error.strerror or error}") from None
    if stream.failure:
        raise CliError(f"the tunnel to {name} port {port} ended: {stream.failure}")


def ssh_options(app: App, instance: Json, identity: str | None) -> list[str]:
    """Options for ssh and scp: our tunnel, our known_hosts by instance id, the private key if we hold it."""
    instance_id = str(instance["InstanceId"])
    known_hosts.claim(instance_id, instance_id, _system_disk(app.client, instance_id))
    proxy = [*own_command(), *app.flag_arguments(), "instance", "dial", instance_id, "%p"]
    quoted = " ".join(part if part == "%p" else shlex.quote(part.replace("%", "%%")) for part in proxy)
    options = [
        f"ProxyCommand={quoted}",
        f"HostKeyAlias={instance_id}",
        f'UserKnownHostsFile="{known_hosts.path()}"',
        "HashKnownHosts=no",
        "StrictHostKeyChecking=accept-new",
        "LogLevel=ERROR",  # no word on each new instance's key
    ]
    if identity and not Path(identity).exists():
        raise UsageFault(f"there is no private key {identity}")
    key_pair = str(instance.get("KeyPairName") or "")
    files = [Path(identity)] if identity else keys.candidates(key_pair)
    chosen = [part for file in files for part in ("-i", str(file))]
    # Without the right key at hand an ssh-agent may have it.
    options += ["IdentitiesOnly=yes"] if identity or keys.key_file(key_pair).exists() else []
    return [*chosen, *(part for option in options for part in ("-o", option))]


def own_command() -> list[str]:
    """How ssh can call this ecsctl again, wherever it was started from."""
    program = shutil.which(sys.argv[0]) if os.path.basename(sys.argv[0]) == "ecsctl" else None
    return [os.path.abspath(program)] if program else [sys.executable, "-m", "ecsctl"]


def _trailing_login(login: str | None, remote: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """`ssh NAME -l user` is as good as `ssh -l user NAME`; a leading `--` only ends the options."""
    if len(remote) > 1 and remote[0] in ("-l", "--login"):
        login, remote = remote[1], remote[2:]
    return login, remote[1:] if remote[:1] == ("--",) else remote


def running(client: Client, text: str) -> Json:
    """The description of an instance that can be reached; CliError saying what to do for any other."""
    instance_id = find_id(client, INSTANCE, text)
    found = describe_ids(client, [instance_id])
    if not found:
        raise NotFound(f"there is no instance {text!r}")
    if found[0].get("Status") not in ("Running", "Stopping"):
        raise CliError(f"instance {text!r} is {found[0].get('Status')}: `ecsctl instance start {text}` first")
    return found[0]


def _claim_host(client: Client, host: str) -> str:
    """The instance of a host name of the ssh configuration; its known host key and private key become current."""
    instance_id = find_id(client, INSTANCE, host.removesuffix(HOST_SUFFIX))
    known_hosts.claim(host.lower(), instance_id, _system_disk(client, instance_id))
    found = describe_ids(client, [instance_id])
    key = keys.key_file(str(found[0].get("KeyPairName") or "")) if found else None
    keys.link(host, key if key is not None and key.exists() else None)
    return instance_id


def _system_disk(client: Client, instance_id: str) -> str:
    """Its id; empty when the caller may not see it."""
    try:
        answer = client.regional("DescribeDisks", InstanceId=instance_id, DiskType="system")
    except ApiError as error:
        if not error.forbidden:
            raise
        return ""
    return next((str(disk["DiskId"]) for disk in unwrap(answer, "Disks.Disk")), "")


def _split_remote(path: str) -> tuple[str, str]:
    """(instance, path) of NAME:PATH, ('', path) of a local one: a slash before the first colon says local."""
    name, colon, rest = path.partition(":")
    return (name, rest) if colon and name and "/" not in name else ("", path)


def _scp_path(path: str, login: str, instance_id: str) -> str:
    name, rest = _split_remote(path)
    if not name:
        return path if path.startswith(("/", "./")) else f"./{path}"
    return f"{login}@{instance_id}:{rest}"


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise CliError(f"{name} is not installed here: `sudo apt-get install openssh-client`")
    return found


def _become(arguments: list[str]) -> None:
    """Replace this process, so that signals, terminal and exit status are ssh's own."""
    sys.stdout.flush()
    os.execv(arguments[0], arguments)
