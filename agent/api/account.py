"""Access keys (RAM)."""

from __future__ import annotations

from typing import Any

from agent.api.caller import caller
from agent.api.edge.call import Call
from agent.api.edge.params import Params
from agent.api.edge.registry import RAM, action
from agent.core.clock import iso_seconds
from agent.services import account as service
from agent.store.schema import AccessKey


class UserParams(Params):
    """Without UserName the caller's own keys are meant."""

    user_name: str = ""


class AccessKeyParams(UserParams):
    user_access_key_id: str


class UpdateAccessKeyParams(AccessKeyParams):
    status: str


# Not idempotent by token: the answer holds the secret, which is shown only once.
@action("CreateAccessKey", version=RAM, params=UserParams, resource="user/{user_name}", access="write")
def create_access_key(call: Call, p: UserParams) -> dict[str, Any]:
    key, secret = service.create_access_key(caller(call), user_name=p.user_name)
    shown = _shown(key)
    return {"AccessKey": {"AccessKeyId": shown.pop("AccessKeyId"), "AccessKeySecret": secret, **shown}}


@action("ListAccessKeys", version=RAM, params=UserParams, resource="user/{user_name}", access="read")
def list_access_keys(call: Call, p: UserParams) -> dict[str, Any]:
    keys = service.list_access_keys(caller(call), user_name=p.user_name)
    return {"AccessKeys": {"AccessKey": [_shown(key) for key in keys]}}


@action("UpdateAccessKey", version=RAM, params=UpdateAccessKeyParams, resource="user/{user_name}", access="write")
def update_access_key(call: Call, p: UpdateAccessKeyParams) -> dict[str, Any]:
    service.update_access_key(caller(call), p.user_access_key_id, status=p.status, user_name=p.user_name)
    return {}


@action("DeleteAccessKey", version=RAM, params=AccessKeyParams, resource="user/{user_name}", access="write")
def delete_access_key(call: Call, p: AccessKeyParams) -> dict[str, Any]:
    service.delete_access_key(caller(call), p.user_access_key_id, user_name=p.user_name)
    return {}


def _shown(key: AccessKey) -> dict[str, Any]:
    return {
        "AccessKeyId": key.id,
        "Status": "Active" if key.active else "Inactive",
        "CreateDate": iso_seconds(key.created_at),
    }
