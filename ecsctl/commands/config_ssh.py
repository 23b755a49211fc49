"""`ecsctl config ssh`: an entry for ssh, so that ssh, scp, rsync and Ansible reach guests as NAME.ecs.

The entry stays the same whatever instances there are: `instance dial`, its ProxyCommand, looks the name up and
puts the instance's private key and host key where the entry points to.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ecsctl import keys, known_hosts
from ecsctl.cli import App, command
from ecsctl.commands.instance_login import DEFAULT_USER, HOST_SUFFIX, own_command
from ecsctl.config import home, make_home, write_private
from ecsctl.errors import CliError

_BEGIN = "# >>> ecsctl >>> (written by `ecsctl config ssh`)"
_END = "# <<< ecsctl <<<"


@command("ssh")
@click.option("--remove", is_flag=True, help="Take the entry away again.")
def ssh(app: App, remove: bool) -> None:
    """Make `ssh NAME.ecs` work: an Include in ~/.ssh/config of a file of ours. Running it again changes nothing."""
    user_file = Path.home() / ".ssh" / "config"
    ours = home() / "ssh_config"
    if remove:
        _put_block(user_file, "")
        ours.unlink(missing_ok=True)
        return
    make_home("ssh")
    write_private(ours, _entry(app))
    _put_block(user_file, f'{_BEGIN}\nInclude "{ours}"\n{_END}\n')
    click.echo(f"ssh {DEFAULT_USER}@NAME{HOST_SUFFIX} reaches the instance NAME", err=True)


def _entry(app: App) -> str:
    proxy = " ".join(shlex.quote(part.replace("%", "%%")) for part in [*own_command(), *app.flag_arguments()])
    lines = [
        f"ProxyCommand {proxy} instance dial --ssh-host '%n' %p",
        f"User {DEFAULT_USER}",
        f'UserKnownHostsFile "{known_hosts.path()}"',
        "HashKnownHosts no",
        "StrictHostKeyChecking accept-new",
        f'IdentityFile "{keys.link_file("%n")}"',
        *(f"IdentityFile ~/.ssh/{name}" for name in keys.USUAL),
    ]
    return "\n".join([f"Host *{HOST_SUFFIX}", *(f"    {line}" for line in lines)]) + "\n"


def _put_block(path: Path, block: str) -> None:
    """Our marked block at the top of the user's file (an Include counts for all hosts only there); '' removes it."""
    try:
        before = path.read_text() if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"cannot read {path}: {error}") from None
    rest = before
    if _BEGIN in before:
        head, _, tail = before.partition(_BEGIN)
        _, end, behind = tail.partition(_END)
        if not end:
            raise CliError(f"{path}: the block of ecsctl has no end: remove the line {_BEGIN!r} and what belongs to it")
        rest = head + behind.removeprefix("\n")
    after = block + rest
    if after == before:
        return
    target = path.resolve()  # the file may be a link into a user's collection of configuration files
    target.parent.mkdir(mode=0o700, exist_ok=True)
    write_private(target, after)
