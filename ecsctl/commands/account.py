"""`ecsctl account`."""

from __future__ import annotations

import click

from ecsctl.cli import App, LazyGroup, command
from ecsctl.client import OWN, Client, Json
from ecsctl.commands.common import confirm
from ecsctl.completion import Completer, from_agent
from ecsctl.errors import NotFound
from ecsctl.output import Column, Row, View


def _owns(item: Row) -> str:
    return ", ".join(item.get("Owns", {}).get("Item", []))


VIEW = View(
    columns=(
        Column("NAME", "AccountName"),
        Column("ID", "AccountId"),
        Column("DEFAULT", "IsDefault"),
        Column("OWNS", _owns),
        Column("CREATED", "CreationTime"),
        Column("ACCESS KEYS", "AccessKeyIds.AccessKeyId", wide=True),
    ),
    name=("AccountName",),
)
_KEY = View(
    columns=(
        Column("ACCOUNT", "AccountId"),
        Column("ACCESS KEY", "AccessKeyId"),
        Column("SECRET", "AccessKeySecret"),
    ),
    name=("AccountId",),
)


def _accounts(client: Client, **filters: object) -> list[Json]:
    return list(client.items("DescribeAccounts", "Accounts.Account", OWN, **filters))


def account_names() -> Completer:
    """Of the host's owner's shell: nobody else may list them."""
    return from_agent("account", lambda client: [str(one["AccountName"]) for one in _accounts(client)])


def find_account(client: Client, text: str) -> str:
    """An account's id; by name for the host's owner only."""
    if text.isdigit():
        return text
    found = _accounts(client, AccountName=text)
    if not found:
        raise NotFound(f"there is no account named {text!r}")
    return str(found[0]["AccountId"])


_name = click.argument("name", metavar="NAME|ID", shell_complete=account_names())
_profile = click.option("--profile-name", metavar="NAME", help="Write the key to this profile instead of showing it.")


@command("create")
@click.argument("name")
@_profile
def create(app: App, name: str, profile_name: str | None) -> None:
    """Create an account, with an access key and a network of its own. It sees nothing of the others."""
    answer = app.client.call("CreateAccount", OWN, AccountName=name)
    _show_key(app, str(answer["Account"]["AccountId"]), answer["AccessKey"], profile_name)


@command("new-key")
@_name
@_profile
def new_key(app: App, name: str, profile_name: str | None) -> None:
    """Make one more access key for an account whose owner has lost theirs."""
    account_id = find_account(app.client, name)
    answer = app.client.call("CreateAccountAccessKey", OWN, AccountId=account_id)
    _show_key(app, account_id, answer["AccessKey"], profile_name)


def _show_key(app: App, account_id: str, key: Json, profile_name: str | None) -> None:
    if profile_name is None:
        app.emit_item({"AccountId": account_id, **key}, _KEY)
        click.echo("the secret is shown only now", err=True)
        return
    profile = app.file.profile(profile_name)
    profile |= {"access_key_id": key["AccessKeyId"], "access_key_secret": key["AccessKeySecret"]}
    profile.setdefault("endpoint", app.settings.endpoint)
    profile.setdefault("region", app.client.region)
    app.file.save()
    click.echo(account_id)
    click.echo(f"its key is in the profile {profile_name!r}: ecsctl --profile {profile_name} ...", err=True)


@command("ls")
def ls(app: App) -> None:
    """List the accounts of the host, and how many of what they own."""
    app.emit_list(_accounts(app.client), VIEW)


@command("show")
@_name
def show(app: App, name: str) -> None:
    """Show one account."""
    found = _accounts(app.client, AccountId=find_account(app.client, name))
    if not found:
        raise NotFound(f"there is no account {name!r}")
    app.emit_item(found[0], VIEW)


@command("rename")
@_name
@click.argument("new_name")
def rename(app: App, name: str, new_name: str) -> None:
    """Give an account another name; its id stays."""
    app.client.call("ModifyAccount", OWN, AccountId=find_account(app.client, name), AccountName=new_name)


@command("delete")
@click.argument("accounts", metavar="NAME|ID...", nargs=-1, required=True, shell_complete=account_names())
@click.option("-y", "--yes", is_flag=True, help="Do not ask (asked on a terminal only).")
def delete(app: App, accounts: tuple[str, ...], yes: bool) -> None:
    """Delete accounts that own nothing any more: their keys end at once, and what was shared with them is no longer."""
    ids = list(dict.fromkeys(find_account(app.client, one) for one in accounts))
    confirm(f"Delete {', '.join(accounts)} for good?", yes=yes)
    for account_id in ids:
        app.client.call("DeleteAccount", OWN, AccountId=account_id)


account = LazyGroup(
    "account",
    help="Accounts of the host, which know nothing of each other.",
    lazy={
        "create": (__name__, "create", "Create an account with an access key."),
        "new-key": (__name__, "new_key", "Make one more access key for an account."),
        "ls": (__name__, "ls", "List accounts."),
        "show": (__name__, "show", "Show one account."),
        "rename": (__name__, "rename", "Give an account another name."),
        "delete": (__name__, "delete", "Delete accounts that own nothing."),
    },
)
