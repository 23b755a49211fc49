"""`ecsctl vnc`: the management terminal in the browser, and its password."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.completion import names
from ecsctl.errors import CliError, UsageFault
from ecsctl.output import Column, View
from ecsctl.resolve import INSTANCE, find_id

VIEW = View(columns=(Column("URL", "VncUrl"), Column("PASSWORD", "VncPasswd")), name=("VncUrl",))


class VncGroup(LazyGroup):
    """`vnc NAME` is `vnc open NAME`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.lazy, "-h", "--help"):
            args = ["open", *args]
        return super().parse_args(ctx, args)


@command("open")
@click.option("--open", "browse", is_flag=True, help="Open the page in this machine's browser.")
@click.option("--password", is_flag=True, help="Print the generated VNC password too, if nobody has seen it yet.")
@click.argument("name", shell_complete=names("instance"))
def open_(app: App, browse: bool, password: bool, name: str) -> None:
    """Print the address of an instance's screen in the browser.

    It opens once, within two minutes. The page asks for the VNC password; at the first connection it shows it.
    """
    instance_id = find_id(app.client, INSTANCE, name)
    answer = {}
    if password:
        answer["VncPasswd"] = app.client.regional("DescribeInstanceVncPasswd", InstanceId=instance_id)["VncPasswd"]
    answer["VncUrl"] = url = app.client.regional("DescribeInstanceVncUrl", InstanceId=instance_id)["VncUrl"]
    if app.output or app.query:
        app.emit_item(answer, VIEW)
    else:
        click.echo(url)
        if password:
            click.echo(f"VNC password, shown this once: {answer['VncPasswd']}")
    forward = forward_hint(app.settings.endpoint, url)
    if forward:
        click.echo(f"the page is on the agent's host: run `{forward}` here first", err=True)
    if browse:
        browse_to(url)


@command("password")
@click.option("--password-stdin", is_flag=True, help="Read the new password from stdin instead of asking.")
@click.argument("name", shell_complete=names("instance"))
def password(app: App, password_stdin: bool, name: str) -> None:
    """Change the VNC password: 6 characters of a-z, A-Z, 0-9. In effect from the next console restart on."""
    instance_id = find_id(app.client, INSTANCE, name)
    new = sys.stdin.readline().rstrip("\r\n") if password_stdin else _ask()
    app.client.regional("ModifyInstanceVncPasswd", InstanceId=instance_id, VncPassword=new)
    click.echo(
        f"in effect from the next console restart on (`ecsctl instance reboot {name}`); until then the present "
        "password is asked for",
        err=True,
    )


def _ask() -> str:
    if not sys.stdin.isatty():
        raise UsageFault("there is no terminal to ask for the password: give it with --password-stdin")
    new: str = click.prompt("New VNC password", hide_input=True, confirmation_prompt=True, err=True)
    return new


def forward_hint(endpoint: str, url: str) -> str:
    """The ssh command that brings a page of a host reached by ssh to this machine; empty if it needs none."""
    way, page = urlsplit(endpoint), urlsplit(url)
    if way.scheme != "ssh" or page.hostname not in ("127.0.0.1", "::1", "localhost"):
        return ""
    host = f"[{page.hostname}]" if ":" in page.hostname else page.hostname
    port = page.port or (443 if page.scheme == "https" else 80)
    target = f"{way.username}@{way.hostname}" if way.username else way.hostname
    return f"ssh -N -L {port}:{host}:{port} {f'-p {way.port} ' if way.port else ''}{target}"


def browse_to(url: str) -> None:
    import webbrowser

    if not webbrowser.open(url):
        raise CliError("no browser could be started here: open the address yourself")


vnc = VncGroup(
    "vnc",
    help="The management terminal: an instance's screen in the browser. `ecsctl vnc NAME` prints its address.",
    lazy={
        "open": (__name__, "open_", "Print the page's address; `vnc NAME` for short."),
        "password": (__name__, "password", "Change the VNC password."),
    },
)
