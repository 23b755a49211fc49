"""What all commands share: options accepted at any place, lazily loaded groups, errors turned into exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from ecsctl import errors
from ecsctl.config import ConfigFile, Settings, resolve
from ecsctl.output import FORMATS, Row, View, emit_item, emit_list

if TYPE_CHECKING:
    from ecsctl.client import Client


class App:
    """The state of one run: flags as given, and what follows from them, made when first needed."""

    def __init__(self) -> None:
        self.flags: dict[str, str | None] = {}
        self.output = ""
        self.query: str | None = None

    @cached_property
    def file(self) -> ConfigFile:
        loaded = ConfigFile.load()
        if loaded.warning:
            click.echo(f"Warning: {loaded.warning}", err=True)
        return loaded

    @cached_property
    def settings(self) -> Settings:
        return resolve(self.flags, self.file, os.environ)

    @cached_property
    def client(self) -> Client:
        from ecsctl.client import Client

        return Client(self.settings)

    def emit_list(self, items: list[Row], view: View) -> None:
        emit_list(items, view, self.output, self.query)

    def emit_item(self, item: Row, view: View) -> None:
        emit_item(item, view, self.output, self.query)

    def flag_arguments(self) -> list[str]:
        """The flags that make another ecsctl reach the same agent."""
        return [part for key, value in self.flags.items() if value for part in (f"--{key}", value)]


def app_of(ctx: click.Context) -> App:
    return ctx.find_root().ensure_object(App)


def pass_app(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the App as its first argument."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(app_of(click.get_current_context()), *args, **kwargs)

    call.__name__, call.__doc__ = function.__name__, function.__doc__
    call.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    return call


# --------------------------------------------------------------------------------------------- options


def _keep_flag(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value and param.name:
        app_of(ctx).flags[param.name] = value


def _keep_output(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value:
        app_of(ctx).output = value


def _keep_query(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value:
        app_of(ctx).query = value


def _complete_profiles(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    try:
        return [name for name in ConfigFile.load().profiles if name.startswith(incomplete)]
    except errors.CliError:
        return []


def common_options(hidden: bool) -> list[click.Parameter]:
    """The options every command takes, before or after its own."""
    shared: dict[str, Any] = {"expose_value": False, "hidden": hidden}
    return [
        click.Option(
            ["--profile"],
            help="Profile of the configuration.",
            callback=_keep_flag,
            shell_complete=_complete_profiles,
            metavar="NAME",
            **shared,
        ),
        click.Option(
            ["--endpoint"],
            help="unix:///PATH, http://HOST:PORT, https://HOST:PORT or ssh://USER@HOST.",
            callback=_keep_flag,
            metavar="URL",
            **shared,
        ),
        click.Option(["--region"], help="Region id.", callback=_keep_flag, metavar="ID", **shared),
        click.Option(["--ca"], help="CA file of an https endpoint.", callback=_keep_flag, metavar="FILE", **shared),
        click.Option(
            ["-o", "--output"], type=click.Choice(FORMATS), help="Output format.", callback=_keep_output, **shared
        ),
        click.Option(["--query"], help="JMESPath of what to print.", callback=_keep_query, metavar="EXPR", **shared),
    ]


class Command(click.Command):
    """A command that takes the common options too (shown in the help of ecsctl itself)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        taken = {name for param in self.params for name in param.opts}
        self.params += [p for p in common_options(hidden=True) if not taken.intersection(p.opts)]


def command(*args: Any, **kwargs: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """`click.command` for commands of ecsctl: common options, and `App` as the first argument."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        made: click.Command = click.command(*args, cls=kwargs.pop("cls", Command), **kwargs)(pass_app(function))
        return made

    return decorate


# ---------------------------------------------------------------------------------------------- groups


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not to print a help text.

    `lazy` maps a command's name to (module, attribute, one line of help); no help line: a hidden command.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return None
        module, attribute, _ = self.lazy[cmd_name]
        found = getattr(import_module(module), attribute)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.lazy[name][2]) for name in self.list_commands(ctx) if self.lazy[name][2]])


class Root(LazyGroup):
    """The outermost group: whatever goes wrong becomes one line on stderr and an exit code."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **kwargs: Any
    ) -> Any:
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **kwargs)
        try:
            status = super().main(args, standalone_mode=False, **kwargs)
            sys.stdout.flush()
        except Exception as error:
            status = _explain(error)
        except KeyboardInterrupt:
            status = _say("interrupted", errors.INTERRUPTED)
        sys.exit(status if isinstance(status, int) else errors.OK)


def _explain(error: Exception) -> int:
    if os.environ.get("ECSCTL_DEBUG"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, errors.CliError):
        return _say(str(error), error.exit_code)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return errors.USAGE
    if isinstance(error, click.UsageError):
        where = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        return _say(error.format_message() + where, errors.USAGE)
    if isinstance(error, click.ClickException):
        return _say(error.format_message(), errors.FAILED)
    if isinstance(error, click.Abort):
        return _say("interrupted", errors.INTERRUPTED)
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return errors.OK
    return _say(f"{type(error).__name__}: {error}; ECSCTL_DEBUG=1 shows where, please report it", errors.FAILED)


def _say(message: str, status: int) -> int:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    return status
