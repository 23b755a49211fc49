"""Our own actions for the accounts of the host (SPEC M6): for its owner only, as `host:` says."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from agent.api.caller import caller
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import NumberedPages
from agent.api.edge.params import CommaList, Params
from agent.api.edge.registry import HOST, action
from agent.core.clock import iso_seconds
from agent.services import account_admin as service
from agent.store.schema import AccessKey, Account

ONE = "account/{account_id}"


class CreateAccountParams(Params):
    account_name: str


class AccountParams(Params):
    account_id: str


class ModifyAccountParams(AccountParams):
    account_name: str


class DescribeAccountsParams(NumberedPages):
    account_id: CommaList = []
    account_name: str = ""


# Not idempotent by token: the answer holds the secret, which is shown only once.
@action(
    "CreateAccount",
    version=HOST,
    params=CreateAccountParams,
    resource="account/*",
    access="write",
    ram="host:CreateAccount",
)
def create_account(call: Call, p: CreateAccountParams) -> dict[str, Any]:
    made, key, secret = service.create(caller(call), p.account_name)
    call.after_commit(call.services.runner.wake)
    return {"Account": _shown(call, made), "AccessKey": _key(key, secret)}


@action(
    "CreateAccountAccessKey",
    version=HOST,
    params=AccountParams,
    resource=ONE,
    access="write",
    ram="host:CreateAccountAccessKey",
)
def create_account_access_key(call: Call, p: AccountParams) -> dict[str, Any]:
    key, secret = service.create_key(caller(call), p.account_id)
    return {"AccessKey": _key(key, secret)}


@action(
    "DescribeAccounts",
    version=HOST,
    params=DescribeAccountsParams,
    resource=ONE,
    access="read",
    ram="host:DescribeAccounts",
)
def describe_accounts(call: Call, p: DescribeAccountsParams) -> dict[str, Any]:
    page = paging.page(call.session, service.find(caller(call), ids=p.account_id, name=p.account_name), p)
    return {"Accounts": {"Account": [_shown(call, one) for one in page.items]}, **page.fields()}


@action(
    "ModifyAccount", version=HOST, params=ModifyAccountParams, resource=ONE, access="write", ram="host:ModifyAccount"
)
def modify_account(call: Call, p: ModifyAccountParams) -> dict[str, Any]:
    service.rename(caller(call), p.account_id, p.account_name)
    return {}


@action("DeleteAccount", version=HOST, params=AccountParams, resource=ONE, access="write", ram="host:DeleteAccount")
def delete_account(call: Call, p: AccountParams) -> dict[str, Any]:
    service.remove(caller(call), p.account_id)
    call.after_commit(call.services.runner.wake)
    return {}


def _shown(call: Call, account: Account) -> dict[str, Any]:
    """Owns: how many of what, as `owns` says it. What these are is the account's own business."""
    keys = select(AccessKey.id).where(AccessKey.account_id == account.id, AccessKey.user_name.is_(None))
    owned = service.owns(caller(call), account.id)
    return {
        "AccountId": account.id,
        "AccountName": account.name,
        "IsDefault": account.is_default,
        "AccessKeyIds": {"AccessKeyId": list(call.session.scalars(keys.order_by(AccessKey.created_at, AccessKey.id)))},
        "Owns": {"Item": [f"{count} {what}" for what, count in owned.items()]},
        "CreationTime": iso_seconds(account.created_at),
    }


def _key(key: AccessKey, secret: str) -> dict[str, Any]:
    return {"AccessKeyId": key.id, "AccessKeySecret": secret, "CreateDate": iso_seconds(key.created_at)}
