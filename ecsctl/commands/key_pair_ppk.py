"""`ecsctl key-pair ppk`, and the same for a key pair just made: private keys for PuTTY (SPEC K5)."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ecsctl import keys
from ecsctl.cli import App, command
from ecsctl.config import write_private
from ecsctl.errors import CliError, UsageFault

_MODE = 0o400


@command("ppk")
@click.argument("key", metavar="FILE.pem|NAME")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.ppk", help="Default: beside the PEM.")
@click.option("--passphrase", "ask", is_flag=True, help="Ask for a passphrase to encrypt it with.")
@click.option("--passphrase-stdin", is_flag=True, help="Read the passphrase from the first line of stdin.")
def ppk(app: App, key: str, out: Path | None, ask: bool, passphrase_stdin: bool) -> None:
    """Write a private key as PuTTY's .ppk (version 3) with mode 0400; nothing leaves this machine.

    KEY is a PEM file, or the name of a key pair whose private key is held here.
    """
    pem = Path(key) if Path(key).exists() else keys.key_file(key)
    if not pem.exists():
        raise UsageFault(f"there is no file {key}, and no private key of a key pair {key!r} in {pem.parent}")
    target = out or pem.with_suffix(".ppk")
    check_absent(target)
    click.echo(str(write_ppk(pem, target, pem.stem, _passphrase(ask, passphrase_stdin))))


def check_absent(target: Path) -> None:
    """Raises UsageFault: no private key is ever overwritten."""
    if target.exists():
        raise UsageFault(f"{target} exists: move it away or choose another file with --out")


def write_ppk(pem: Path, target: Path, comment: str, passphrase: str = "") -> Path:
    """Where it was written."""
    from ecsctl.ppk import ppk as translate

    try:
        content = pem.read_bytes()
    except OSError as error:
        raise CliError(f"cannot read {pem}: {error.strerror}") from None
    write_private(target, translate(content, comment, passphrase), _MODE)
    return target


def _passphrase(ask: bool, from_stdin: bool) -> str:
    if ask and from_stdin:
        raise UsageFault("give the passphrase in one way: --passphrase or --passphrase-stdin")
    if from_stdin:
        line = sys.stdin.readline().rstrip("\r\n")
        if not line:
            raise UsageFault("the first line of stdin is empty: it must be the passphrase")
        return line
    if not ask:
        return ""
    given: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)
    return given
