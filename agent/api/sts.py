"""Temporary credentials, and who is calling (STS)."""

from __future__ import annotations

from typing import Any

from agent.api.caller import caller
from agent.api.common import refuse
from agent.api.edge.call import Call
from agent.api.edge.params import Params
from agent.api.edge.registry import STS, action
from agent.core.clock import iso_seconds
from agent.services import role as roles
from agent.services import sts as service


class AssumeRoleParams(Params):
    role_arn: str
    role_session_name: str
    duration_seconds: int = service.DEFAULT_SECONDS
    policy: str = ""
    external_id: str = ""
    source_identity: str = ""


# Not idempotent by token: the answer holds the secret, which is shown only once.
@action("AssumeRole", version=STS, params=AssumeRoleParams, resource="{role_arn}", access="read")
def assume_role(call: Call, p: AssumeRoleParams) -> dict[str, Any]:
    refuse("AssumeRole", SourceIdentity=p.source_identity)
    wanted = service.Assumption(p.role_arn, p.role_session_name, p.duration_seconds, p.policy, p.external_id)
    role, made = service.assume(caller(call), call.identity, wanted)
    return {
        "Credentials": {
            "AccessKeyId": made.access_key_id,
            "AccessKeySecret": made.secret,
            "SecurityToken": made.token,
            "Expiration": iso_seconds(made.expires_at),
        },
        "AssumedRoleUser": {
            "Arn": f"{roles.arn(role)}/{p.role_session_name}",
            "AssumedRoleId": f"{role.id}:{p.role_session_name}",
        },
    }


@action("GetCallerIdentity", version=STS, params=Params, resource="*", access="read")
def get_caller_identity(call: Call, p: Params) -> dict[str, Any]:
    """Everybody may ask this, whatever policies say."""
    identity = call.identity
    found = {"AccountId": identity.account_id, "Arn": identity.arn, "UserId": "", "RoleId": ""}
    if identity.session:
        principal = f"{identity.session.role_id}:{identity.session.name}"
        return found | {
            "IdentityType": "AssumedRoleUser",
            "PrincipalId": principal,
            "RoleId": identity.session.role_id,
        }
    return found | {"IdentityType": "Account", "PrincipalId": identity.account_id, "UserId": identity.account_id}
