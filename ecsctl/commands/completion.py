"""`ecsctl completion`."""

from __future__ import annotations

import click

from ecsctl.cli import App, command

_HELP = """Print the completion script of a shell.

\b
bash: ecsctl completion bash > ~/.local/share/bash-completion/completions/ecsctl
zsh:  ecsctl completion zsh > a file `_ecsctl` in a directory of $fpath
fish: ecsctl completion fish > ~/.config/fish/completions/ecsctl.fish
"""


@command("completion", help=_HELP)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(app: App, shell: str) -> None:
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    root = click.get_current_context().find_root().command
    assert kind is not None, "the shells of the choice are the ones click knows"
    generator = kind(root, {}, "ecsctl", "_ECSCTL_COMPLETE")
    # not generator.source(): for bash that runs the bash of this machine only to look at its version
    click.echo(generator.source_template % generator.source_vars())
