"""Key pair actions (SPEC K1-K4)."""

from __future__ import annotations

from typing import Annotated, Any

from agent.api.caller import caller
from agent.api.common import ecs_tags, given_tags, tag_filters
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import NumberedPagesOf50
from agent.api.edge.params import ErrorCode, JsonList, RegionParams, Tag
from agent.api.edge.registry import ECS, action
from agent.core.clock import iso_minutes
from agent.services import instance_login, tag
from agent.services import key_pair as service
from agent.store.schema import KeyPair

_IGNORED = ("ResourceGroupId",)
_BINDING = ("instance/{instance_ids}", "keypair/{key_pair_name}")


class CreateKeyPairParams(RegionParams):
    key_pair_name: str
    tag: list[Tag] = []


class ImportKeyPairParams(CreateKeyPairParams):
    public_key_body: str


class DescribeKeyPairsParams(RegionParams, NumberedPagesOf50):
    key_pair_name: str = ""
    key_pair_finger_print: str = ""
    include_public_key: bool = False
    tag: list[Tag] = []


class BindingParams(RegionParams):
    key_pair_name: str
    instance_ids: Annotated[JsonList, ErrorCode("InvalidInstanceIds.ValueNotSupported")]


class DeleteKeyPairsParams(RegionParams):
    key_pair_names: JsonList


# Not idempotent by token: the answer holds the private key, which is never stored.
@action(
    "CreateKeyPair",
    version=ECS,
    params=CreateKeyPairParams,
    resource="keypair/{key_pair_name}",
    access="write",
    ignored=_IGNORED,
)
def create_key_pair(call: Call, p: CreateKeyPairParams) -> dict[str, Any]:
    pair, private_key = service.create_key_pair(caller(call), name=p.key_pair_name, tags=given_tags(p.tag))
    return {
        "KeyPairId": pair.id,
        "KeyPairName": pair.name,
        "KeyPairFingerPrint": pair.fingerprint,
        "PrivateKeyBody": private_key,
    }


@action(
    "ImportKeyPair",
    version=ECS,
    params=ImportKeyPairParams,
    resource="keypair/{key_pair_name}",
    access="write",
    ignored=_IGNORED,
)
def import_key_pair(call: Call, p: ImportKeyPairParams) -> dict[str, Any]:
    pair = service.import_key_pair(
        caller(call), name=p.key_pair_name, public_key=p.public_key_body, tags=given_tags(p.tag)
    )
    return {"KeyPairId": pair.id, "KeyPairName": pair.name, "KeyPairFingerPrint": pair.fingerprint}


@action(
    "DescribeKeyPairs",
    version=ECS,
    params=DescribeKeyPairsParams,
    resource="keypair/{key_pair_name}",
    access="read",
    ignored=_IGNORED,
)
def describe_key_pairs(call: Call, p: DescribeKeyPairsParams) -> dict[str, Any]:
    found = service.find_key_pairs(
        caller(call), name=p.key_pair_name, fingerprint=p.key_pair_finger_print, tags=tag_filters(p.tag)
    )
    page = paging.page(call.session, found, p)
    tags = tag.tags_of(call.session, "keypair", [pair.id for pair in page.items])

    def shown(pair: KeyPair) -> dict[str, Any]:
        return {
            "KeyPairId": pair.id,
            "KeyPairName": pair.name,
            "KeyPairFingerPrint": pair.fingerprint,
            "PublicKey": pair.public_key if p.include_public_key else None,
            "CreationTime": iso_minutes(pair.created_at),
            "ResourceGroupId": "",
            "Tags": ecs_tags(tags[pair.id]),
        }

    return {"KeyPairs": {"KeyPair": [shown(pair) for pair in page.items]}, **page.fields()}


@action("DeleteKeyPairs", version=ECS, params=DeleteKeyPairsParams, resource="keypair/{key_pair_names}", access="write")
def delete_key_pairs(call: Call, p: DeleteKeyPairsParams) -> dict[str, Any]:
    service.delete_key_pairs(caller(call), p.key_pair_names)
    return {}


@action("AttachKeyPair", version=ECS, params=BindingParams, resource=_BINDING, access="write")
def attach_key_pair(call: Call, p: BindingParams) -> dict[str, Any]:
    return _results(p, instance_login.attach_key_pair(caller(call), p.key_pair_name, p.instance_ids))


@action("DetachKeyPair", version=ECS, params=BindingParams, resource=_BINDING, access="write")
def detach_key_pair(call: Call, p: BindingParams) -> dict[str, Any]:
    return _results(p, instance_login.detach_key_pair(caller(call), p.key_pair_name, p.instance_ids))


def _results(p: BindingParams, outcomes: list[instance_login.Outcome]) -> dict[str, Any]:
    """Numbers and truth values are strings here, as the public SDKs expect them."""
    results = [
        {
            "InstanceId": outcome.instance_id,
            "Code": outcome.error.code if outcome.error else "200",
            "Message": outcome.error.message if outcome.error else "successful",
            "Success": "false" if outcome.error else "true",
        }
        for outcome in outcomes
    ]
    failed = sum(outcome.error is not None for outcome in outcomes)
    return {
        "KeyPairName": p.key_pair_name,
        "TotalCount": str(len(outcomes)),
        "FailCount": str(failed),
        "Results": {"Result": results},
    }
