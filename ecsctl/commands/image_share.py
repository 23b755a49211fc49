"""`ecsctl image share`, `unshare` and `shared`."""

from __future__ import annotations

from typing import Any

import click

from ecsctl.cli import App, command
from ecsctl.commands.account import account_names, find_account
from ecsctl.commands.image_make import own_image
from ecsctl.completion import names
from ecsctl.output import Column, View

_IN_ONE_CALL = 10
_SHARES = View(columns=(Column("ACCOUNT", "AliyunId"), Column("SINCE", "SharedTime")), name=("AliyunId",))

_name = click.argument("name", shell_complete=names("image"))
_accounts = click.argument("accounts", metavar="ACCOUNT...", nargs=-1, required=True, shell_complete=account_names())


@command("share")
@_name
@_accounts
def share(app: App, name: str, accounts: tuple[str, ...]) -> None:
    """Let other accounts use an image, and nothing else. Remove secrets from it before."""
    _change(app, name, "AddAccount", accounts)


@command("unshare")
@_name
@_accounts
def unshare(app: App, name: str, accounts: tuple[str, ...]) -> None:
    """Stop sharing an image: instances that were made of it run on, but cannot be initialised again."""
    _change(app, name, "RemoveAccount", accounts)


def _change(app: App, name: str, parameter: str, accounts: tuple[str, ...]) -> None:
    image_id = own_image(app.client, name)
    ids = list(dict.fromkeys(find_account(app.client, one) for one in accounts))
    for at in range(0, len(ids), _IN_ONE_CALL):
        part: dict[str, Any] = {parameter: ids[at : at + _IN_ONE_CALL]}
        app.client.regional("ModifyImageSharePermission", ImageId=image_id, **part)


@command("shared")
@_name
def shared(app: App, name: str) -> None:
    """List the accounts that an image is shared with; `image ls --owner others` lists what is shared with you."""
    answers = app.client.items("DescribeImageSharePermission", "Accounts.Account", ImageId=own_image(app.client, name))
    app.emit_list(list(answers), _SHARES)
