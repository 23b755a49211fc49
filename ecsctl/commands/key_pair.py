"""`ecsctl key-pair`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ecsctl import keys
from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import unwrap
from ecsctl.commands.common import read_text, tag_values
from ecsctl.commands.instance_change import report_pending
from ecsctl.commands.key_pair_ppk import check_absent, write_ppk
from ecsctl.completion import names
from ecsctl.errors import CliError, NotFound, UsageFault
from ecsctl.output import Column, Row, View
from ecsctl.resolve import INSTANCE, KEY_PAIR, describe, find_ids


def _held(item: Row) -> str:
    path = keys.key_file(item["KeyPairName"])
    return str(path) if path.exists() else ""


VIEW = View(
    columns=(
        Column("NAME", "KeyPairName"),
        Column("FINGERPRINT", "KeyPairFingerPrint"),
        Column("CREATED", "CreationTime"),
        Column("PRIVATE KEY", _held),
    ),
    name=("KeyPairName",),
)


_pair = click.argument("pair", metavar="KEY", shell_complete=names("key-pair"))
_instances = click.argument("instances", metavar="NAME...", nargs=-1, required=True, shell_complete=names("instance"))


@command("create")
@click.argument("name")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where to write the private key (default: ~/.ecsctl/keys)."
)
@click.option("--ppk", is_flag=True, help="Beside it also as .ppk, for PuTTY.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE")
def create(app: App, name: str, out: Path | None, ppk: bool, tags: tuple[str, ...]) -> None:
    """Create a key pair; the private key is written with mode 0400 and exists nowhere else."""
    target = out or keys.key_file(name)
    if target.exists():
        raise UsageFault(f"{target} exists: move it away or choose another file with --out")
    if out is not None and not out.parent.is_dir():
        raise UsageFault(f"there is no directory {out.parent} for the private key")
    if ppk:
        check_absent(target.with_suffix(".ppk"))
    answer = app.client.regional("CreateKeyPair", KeyPairName=name, Tag=tag_values(tags))
    body = answer.pop("PrivateKeyBody")
    written = keys.keep(name, body if body.endswith("\n") else body + "\n", out)
    for_putty = write_ppk(written, written.with_suffix(".ppk"), name) if ppk else None
    if app.output or app.query:
        app.emit_item(answer, VIEW)
        return
    click.echo(str(written))
    if for_putty:
        click.echo(str(for_putty))


@command("import")
@click.argument("name")
@click.argument("public_key", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--private-key", type=click.Path(path_type=Path), help="Its private key, for `instance ssh`.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE")
def import_(app: App, name: str, public_key: Path, private_key: Path | None, tags: tuple[str, ...]) -> None:
    """Import a public key in OpenSSH's format (FILE '-': stdin)."""
    text = read_text(public_key, "a key in text form")
    if "PRIVATE KEY" in text:
        raise UsageFault(f"{public_key} is a private key: give the public one, mostly {public_key}.pub")
    private = read_text(private_key, "a key in text form") if private_key else ""
    answer = app.client.regional("ImportKeyPair", KeyPairName=name, PublicKeyBody=text.strip(), Tag=tag_values(tags))
    if private:
        keys.keep(name, private)
    if app.output or app.query:
        app.emit_item(answer, VIEW)


@command("ls")
def ls(app: App) -> None:
    """List key pairs and which private keys are held here."""
    app.emit_list(describe(app.client, KEY_PAIR), VIEW)


@command("show")
@click.argument("name", shell_complete=names("key-pair"))
def show(app: App, name: str) -> None:
    """Show one key pair."""
    found = [item for item in describe(app.client, KEY_PAIR, KeyPairName=name) if item["KeyPairName"] == name]
    if not found:
        raise NotFound(f"there is no key pair named {name!r}")
    app.emit_item(found[0], VIEW)


@command("delete")
@click.argument("pairs", metavar="NAME...", nargs=-1, required=True, shell_complete=names("key-pair"))
def delete(app: App, pairs: tuple[str, ...]) -> None:
    """Delete key pairs; instances that use them are unaffected. Private keys held here are kept."""
    there = {item["KeyPairName"] for item in describe(app.client, KEY_PAIR)}
    for name in pairs:
        if name not in there:
            raise NotFound(f"there is no key pair named {name!r}")
    app.client.regional("DeleteKeyPairs", KeyPairNames=json.dumps(list(pairs)))
    for name in pairs:
        if keys.key_file(name).exists():
            click.echo(f"the private key stays in {keys.key_file(name)}", err=True)


@command("attach")
@_pair
@_instances
def attach(app: App, pair: str, instances: tuple[str, ...]) -> None:
    """Bind a key pair to Linux instances, in place of the one they have. Password login is switched off.

    It takes effect at the next console restart (`ecsctl instance reboot NAME`), not before and not by a restart inside
    the guest.
    """
    _bind(app, "AttachKeyPair", pair, instances, f"the key pair {pair}", f"key pair {pair} was not bound")


@command("detach")
@_pair
@_instances
def detach(app: App, pair: str, instances: tuple[str, ...]) -> None:
    """Unbind a key pair. To log in afterwards, reset the password (`ecsctl instance password NAME`).

    It takes effect at the next console restart (`ecsctl instance reboot NAME`), not before and not by a restart inside
    the guest.
    """
    _bind(app, "DetachKeyPair", pair, instances, f"the end of the key pair {pair}", f"key pair {pair} stays bound")


def _bind(app: App, action: str, pair: str, instances: tuple[str, ...], what: str, failure: str) -> None:
    """Call for all instances; CliError when it was not possible for some."""
    ids = find_ids(app.client, INSTANCE, instances)
    answer = app.client.regional(action, KeyPairName=pair, InstanceIds=json.dumps(ids))
    results = unwrap(answer, "Results.Result")
    failed = [result for result in results if str(result.get("Success")).lower() != "true"]
    refused = {result["InstanceId"] for result in failed}
    report_pending(app, [one for one in ids if one not in refused], what)
    if failed:
        reasons = "; ".join(f"{one['InstanceId']}: {one.get('Code')}: {one.get('Message')}" for one in failed)
        raise CliError(f"{failure}: {reasons}")


key_pair = LazyGroup(
    "key-pair",
    help="SSH key pairs of instances.",
    lazy={
        "create": (__name__, "create", "Create a key pair and keep its private key."),
        "import": (__name__, "import_", "Import a public key."),
        "ppk": ("ecsctl.commands.key_pair_ppk", "ppk", "Write a private key for PuTTY."),
        "ls": (__name__, "ls", "List key pairs."),
        "show": (__name__, "show", "Show one key pair."),
        "attach": (__name__, "attach", "Bind a key pair to instances."),
        "detach": (__name__, "detach", "Unbind a key pair from instances."),
        "delete": (__name__, "delete", "Delete key pairs."),
    },
)
