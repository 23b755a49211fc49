"""The options of an instance's metadata service, and the certificate of identity documents (SPEC I11)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent.api.caller import caller
from agent.api.common import refuse
from agent.api.edge.call import Call
from agent.api.edge.errors import UnsupportedParameter
from agent.api.edge.params import Params, RegionParams
from agent.api.edge.registry import ECS, HOST, action
from agent.services import instance as instances
from agent.services import metadata_options as service
from agent.services.metadata_options import Endpoint, Options, Tokens

HopLimit = Annotated[int, Field(ge=1, le=64)]


class ModifyMetadataOptionsParams(RegionParams):
    instance_id: str
    http_endpoint: Endpoint | None = None
    http_tokens: Tokens | None = None
    http_put_response_hop_limit: HopLimit | None = None
    instance_metadata_tags: str = ""


@action(
    "ModifyInstanceMetadataOptions",
    version=ECS,
    params=ModifyMetadataOptionsParams,
    resource="instance/{instance_id}",
    access="write",
)
def modify_instance_metadata_options(call: Call, p: ModifyMetadataOptionsParams) -> dict[str, Any]:
    check_hop_limit(p.http_put_response_hop_limit)
    if p.instance_metadata_tags != "disabled":
        refuse("ModifyInstanceMetadataOptions", InstanceMetadataTags=p.instance_metadata_tags)
    service.put(instances.get(caller(call), p.instance_id), Options(p.http_endpoint, p.http_tokens))
    return {}


@action("DescribeInstanceIdentityCertificate", version=HOST, params=Params, resource="host/*", access="read")
def describe_instance_identity_certificate(call: Call, p: Params) -> dict[str, Any]:
    """What verifies the signatures of identity documents."""
    return {"Certificate": call.services.identity.certificate()}


def check_hop_limit(given: int | None) -> None:
    """Answers reach the guest and what is behind it; to keep them from the latter is not possible here."""
    if given not in (None, service.HOP_LIMIT):
        raise UnsupportedParameter(
            f'The parameter HttpPutResponseHopLimit "{given}" is not supported here: it is always {service.HOP_LIMIT}.'
        )
