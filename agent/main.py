"""`ecs-agent`: the commands of the agent's process. People use `ecsctl`; units and scripts use this."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import click

from agent.config import DEFAULT_PATH, Config, ConfigError, load

option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_PATH,
    show_default=True,
    help="The configuration file.",
)


def _load(path: Path) -> Config:
    try:
        return load(path)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None


@click.group()
@click.version_option(package_name="ecsctl")
def main() -> None:
    """The agent of a host: serves the ECS API and drives libvirt."""


@main.command()
@option
def run(path: Path) -> None:
    """Serve until SIGTERM. Guests go on running when the agent stops."""
    # What starting makes stays: looking through it for garbage again and again would take a fifth of that time.
    gc.disable()
    from agent.app import serve

    sys.exit(serve(_load(path)))


@main.command()
@option
def supervise(path: Path) -> None:
    """Run the agent and start it again when it dies, where no systemd does."""
    from agent.supervise import supervise as keep_running

    _load(path)
    sys.exit(keep_running(path))


@main.command("stop-guests")
@option
@click.option("--grace", type=int, default=None, help="Seconds a guest may take, in place of the configured ones.")
def stop_guests(path: Path, grace: int | None) -> None:
    """Stop all guests in order, because the host goes down; they start again with it."""
    from agent.local import stop_guests as stop

    sys.exit(stop(_load(path).socket, grace))


@main.command()
@option
def remove(path: Path) -> None:
    """Take away all domains, taps, namespaces and tables of this agent; it must not be running. Data stays."""
    from agent.app import remove_all

    for line in remove_all(_load(path)):
        click.echo(line)


if __name__ == "__main__":
    main()
