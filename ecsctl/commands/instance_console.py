"""`ecsctl instance console` and `screenshot`."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecsctl.cli import App, command
from ecsctl.client import OWN, Client
from ecsctl.commands.instance_login import running
from ecsctl.completion import names
from ecsctl.errors import CliError, Unreachable, UsageFault
from ecsctl.resolve import INSTANCE, find_id

if TYPE_CHECKING:
    from ecsctl.websocket import Tunnel

STOPPED = "the instance has stopped"  # the agent's words for the natural end of a console


@command("console")
@click.option("--force", is_flag=True, help="Take it over from whoever uses it.")
@click.option("--escape", default="^]", show_default=True, metavar="KEY", help="Key of the menu, or `none`.")
@click.option("--lines", type=click.IntRange(0, 1000), metavar="N", help="Earlier lines to show.  [default: 10]")
@click.option(
    "--idle",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="When stdin is no terminal: leave after its end and so much silence; 0: never.",
)
@click.option("--web", is_flag=True, help="Print the address of a page with the console instead; it opens once.")
@click.argument("name", shell_complete=names("instance"))
def console(app: App, force: bool, escape: str, lines: int | None, idle: float, web: bool, name: str) -> None:
    """Attach to the serial console, whatever the instance's network does.

    The keyboard goes to the instance, Ctrl+C included, but for the escape key: Ctrl+] and then q leaves, s types
    an stty command that tells the guest the size of your window (a serial line cannot), Ctrl+] sends Ctrl+].
    One user at a time.
    """
    from ecsctl import tunnel
    from ecsctl.console import parse_escape

    if web:
        _print_address(app, name)
        return
    interactive = os.isatty(0)
    key = parse_escape(escape) if interactive else b""
    instance = running(app.client, name)
    instance_id = str(instance["InstanceId"])
    path = str(app.client.call("OpenConsole", OWN, InstanceId=instance_id, Force=force)["Path"])
    connection, stream = tunnel.connect(app.client, path)
    with connection:
        count = lines if lines is not None else 10 if interactive and os.isatty(1) else 0
        earlier = _earlier(app.client, instance_id, count) if count else b""
        _attach(name, connection, stream, key, earlier, interactive, idle)


def _print_address(app: App, name: str) -> None:
    from ecsctl.commands.vnc import forward_hint

    instance_id = find_id(app.client, INSTANCE, name)
    url = str(app.client.call("DescribeInstanceConsoleUrl", OWN, InstanceId=instance_id)["ConsoleUrl"])
    click.echo(url)
    forward = forward_hint(app.settings.endpoint, url)
    if forward:
        click.echo(f"the page is on the agent's host: run `{forward}` here first", err=True)


def _attach(
    name: str, connection: socket.socket, stream: Tunnel, key: bytes, earlier: bytes, interactive: bool, idle: float
) -> None:
    """Relay until either side ends, then say how it ended."""
    from ecsctl import terminal
    from ecsctl.console import Keyboard, key_name
    from ecsctl.relay import relay

    def show(line: str) -> None:
        sys.stderr.write(f"\r\n[{line}]\r\n")
        sys.stderr.flush()

    keyboard = Keyboard(stream, key, show, terminal.size)
    with terminal.raw() if interactive else contextlib.nullcontext():
        if interactive:
            show(f"serial console of {name}" + (f"; {key_name(key)} q leaves" if key else ""))
        try:
            os.write(1, earlier)
            relay(connection, keyboard, half_close=False, idle_seconds=idle or None)
        except OSError as error:
            raise Unreachable(f"the console of {name} broke: {error.strerror or error}") from None
        finally:
            if interactive:
                sys.stderr.write("\r\n")
    _explain_end(name, keyboard.left, stream)


def _explain_end(name: str, left: bool, stream: Tunnel) -> None:
    if left or not stream.finished:
        return
    if stream.failure == STOPPED:
        click.echo(f"{name} has stopped", err=True)
    elif stream.failure:
        raise CliError(f"the console of {name} ended: {stream.failure}")
    elif stream.broken:
        raise Unreachable(f"the agent is gone, and with it the console of {name}; the instance itself runs on")


def _earlier(client: Client, instance_id: str, count: int) -> bytes:
    from ecsctl.console import last_lines

    answer = client.regional("GetInstanceConsoleOutput", InstanceId=instance_id)
    return last_lines(base64.b64decode(str(answer.get("ConsoleOutput", ""))), count)


@command("screenshot")
@click.option("--wake", is_flag=True, help="Press a harmless key first: a blank screen comes back.")
@click.argument("name", shell_complete=names("instance"))
@click.argument("file", metavar="[FILE.png]", type=click.Path(path_type=Path), required=False)
def screenshot(app: App, wake: bool, name: str, file: Path | None) -> None:
    """Write a picture of the screen (default file: NAME.png; '-': stdout)."""
    target = file or Path(f"{name}.png")
    if str(target) == "-" and sys.stdout.isatty():
        raise UsageFault("a picture is nothing for a terminal: name a file, or redirect the output")
    instance_id = find_id(app.client, INSTANCE, name)
    answer = app.client.regional("GetInstanceScreenshot", InstanceId=instance_id, WakeUp=wake)
    picture = base64.b64decode(str(answer["Screenshot"]))
    if str(target) == "-":
        sys.stdout.buffer.write(picture)
        return
    try:
        target.write_bytes(picture)
    except OSError as error:
        raise CliError(f"cannot write {target}: {error.strerror}") from None
    click.echo(str(target))
