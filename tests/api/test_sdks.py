"""Both generations of the public SDK, unmodified, against a live server."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from alibabacloud_ecs20140526 import models as tea_models
from alibabacloud_ecs20140526.client import Client as TeaClient
from alibabacloud_tea_openapi.models import Config as TeaConfig
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest, RpcRequest
from aliyunsdkecs.request.v20140526.DeleteInstanceRequest import DeleteInstanceRequest
from aliyunsdkecs.request.v20140526.DescribeInstancesRequest import DescribeInstancesRequest
from aliyunsdkecs.request.v20140526.RunInstancesRequest import RunInstancesRequest
from darabonba.exceptions import DaraException

from tests.api.live import KEY, OLD_KEY, SECRET, Edge
from tests.api.wire import send, signed_target


def first_generation(edge: Edge, key: str = KEY, secret: str = SECRET) -> Callable[[RpcRequest], bytes]:
    """A function that sends a request of aliyun-python-sdk-core."""
    client = AcsClient(key, secret, "local", timeout=20, auto_retry=False)

    def send(request: RpcRequest) -> bytes:
        request.set_endpoint(edge.address)
        answer: bytes = client.do_action_with_exception(request)
        return answer

    return send


def second_generation(edge: Edge, key: str = KEY, secret: str = SECRET, **more: str) -> TeaClient:
    return TeaClient(
        TeaConfig(
            access_key_id=key,
            access_key_secret=secret,
            endpoint=edge.address,
            protocol="http",
            region_id="local",
            read_timeout=20000,
            **more,
        )
    )


def run_request(**values: object) -> RunInstancesRequest:
    request = RunInstancesRequest()
    request.set_ImageId("debian_12_x64")
    request.set_InstanceName("名前 ~*+%&=")
    request.set_Amount(2)
    request.set_DataDisks([{"Size": 40, "Category": "cloud_ssd"}, {"Size": 50}])
    request.set_Tags([{"Key": "a", "Value": ""}, {"Key": "b c", "Value": "d"}])
    request.set_SecurityGroupIdss(["sg-1", "sg-2"])
    request.set_DeletionProtection(True)
    for name, value in values.items():
        request.add_query_param(name, value)
    return request


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_first_generation_json(edge: Edge, method: str) -> None:
    send = first_generation(edge)
    request = run_request()
    request.set_method(method)
    answer = json.loads(send(request))
    assert len(answer["InstanceIdSets"]["InstanceIdSet"]) == 2
    assert "TradePrice" not in answer
    assert answer["RequestId"].isupper()
    seen = edge.sample.seen[-1]
    assert seen.instance_name == "名前 ~*+%&="
    assert [(disk.size, disk.category) for disk in seen.data_disk] == [(40, "cloud_ssd"), (50, "cloud")]
    assert [(tag.key, tag.value) for tag in seen.tag] == [("a", ""), ("b c", "d")]
    assert seen.security_group_ids == ["sg-1", "sg-2"]
    assert seen.deletion_protection is True
    assert edge.sample.hooks == [answer["RequestId"]]


def test_first_generation_reads_back(edge: Edge) -> None:
    send = first_generation(edge)
    ids = json.loads(send(run_request()))["InstanceIdSets"]["InstanceIdSet"]
    request = DescribeInstancesRequest()
    request.set_InstanceIds(json.dumps(ids[:1]))
    answer = json.loads(send(request))
    assert [item["InstanceId"] for item in answer["Instances"]["Instance"]] == ids[:1]
    assert (answer["TotalCount"], answer["PageNumber"], answer["PageSize"]) == (1, 1, 10)


def test_xml_is_the_default(edge: Edge) -> None:
    first_generation(edge)(run_request())
    answer = send(edge, signed_target("DescribeInstances", accept=None))
    assert answer.headers["content-type"].startswith("text/xml")
    root = answer.xml
    assert root.tag == "DescribeInstancesResponse"
    assert len(root.findall("Instances/Instance")) == 2
    first = root.find("Instances/Instance")
    assert first is not None
    assert [item.text for item in first.findall("SecurityGroupIds/SecurityGroupId")] == ["sg-1", "sg-2"]
    assert first.findtext("DeletionProtection") == "false"
    assert first.find("Description") is None
    assert first.findtext("InstanceName") in ("名前 ~*+%&=0", "名前 ~*+%&=1")
    assert root.findtext("TotalCount") == "2"


def test_characters_that_xml_cannot_hold(edge: Edge) -> None:
    root = send(edge, signed_target("DescribeRegions", accept="XML")).xml
    assert root.findtext("Regions/Region/LocalName") == "一 <&> \ufffd \ufffd"
    answer = send(edge, signed_target("DescribeRegions", accept="JSON")).json
    assert answer["Regions"]["Region"][0]["LocalName"] == "一 <&> \x01 \ufffd"


def test_first_generation_with_a_form_and_a_query(edge: Edge) -> None:
    request = CommonRequest(domain=edge.address, version="2014-05-26", action_name="RunInstances")
    request.set_method("POST")
    request.add_query_param("ImageId", "tiny_x64")
    request.add_query_param("RegionId", "local")
    request.add_body_params("InstanceName", "by form + more")
    request.add_body_params("UserData", "A" * 22000)
    client = AcsClient(KEY, SECRET, "local", auto_retry=False)
    client.do_action_with_exception(request)
    assert edge.sample.seen[-1].instance_name == "by form + more"
    assert len(edge.sample.seen[-1].user_data) == 22000


def test_large_user_data_in_the_query(edge: Edge) -> None:
    first_generation(edge)(run_request(UserData="A/+=" * 5600))
    assert edge.sample.seen[-1].user_data == "A/+=" * 5600


def test_first_generation_errors(edge: Edge) -> None:
    request = DeleteInstanceRequest()
    request.set_InstanceId("i-none")
    with pytest.raises(ServerException) as caught:
        first_generation(edge)(request)
    error = caught.value
    assert (error.get_http_status(), error.get_error_code()) == (404, "InvalidInstanceId.NotFound")
    assert '"i-none"' in error.get_error_msg()
    assert error.get_request_id()


def test_first_generation_knows_a_wrong_secret_by_the_string_to_sign(edge: Edge) -> None:
    # The SDK compares the server's string to sign with its own: only when they are equal is it the secret.
    with pytest.raises(ServerException) as caught:
        first_generation(edge, secret="wrong")(run_request())
    assert caught.value.get_error_code() == "InvalidAccessKeySecret"
    assert caught.value.get_http_status() == 400


def test_first_generation_unknown_and_disabled_keys(edge: Edge) -> None:
    with pytest.raises(ServerException) as caught:
        first_generation(edge, key="LTAInobody")(run_request())
    assert (caught.value.get_http_status(), caught.value.get_error_code()) == (404, "InvalidAccessKeyId.NotFound")
    with pytest.raises(ServerException) as caught:
        first_generation(edge, key=OLD_KEY)(run_request())
    assert caught.value.get_error_code() == "InvalidAccessKeyId.Inactive"


def test_second_generation(edge: Edge) -> None:
    client = second_generation(edge)
    answer = client.run_instances(
        tea_models.RunInstancesRequest(
            region_id="local",
            image_id="debian_12_x64",
            instance_name="名前 ~*+%&=",
            amount=3,
            data_disk=[tea_models.RunInstancesRequestDataDisk(size=40, category="cloud_ssd")],
            tag=[tea_models.RunInstancesRequestTag(key="a", value="")],
            security_group_ids=["sg-1"],
            deletion_protection=False,
        )
    ).body
    ids = answer.instance_id_sets.instance_id_set
    assert len(ids) == 3
    seen = edge.sample.seen[-1]
    assert (seen.instance_name, seen.deletion_protection) == ("名前 ~*+%&=", False)
    assert [(tag.key, tag.value) for tag in seen.tag] == [("a", "")]
    listed = client.describe_instances(
        tea_models.DescribeInstancesRequest(region_id="local", instance_ids=json.dumps(ids), max_results=2)
    ).body
    assert [i.instance_id for i in listed.instances.instance] == sorted(ids)[:2]
    assert listed.total_count == 3
    rest = client.describe_instances(
        tea_models.DescribeInstancesRequest(
            region_id="local", instance_ids=json.dumps(ids), max_results=2, next_token=listed.next_token
        )
    ).body
    assert [i.instance_id for i in rest.instances.instance] == sorted(ids)[2:]
    assert rest.next_token == ""


@pytest.mark.parametrize(
    ("key", "secret", "status", "code"),
    [
        (KEY, "wrong", 400, "SignatureDoesNotMatch"),
        ("LTAInobody", SECRET, 404, "InvalidAccessKeyId.NotFound"),
        (OLD_KEY, SECRET, 400, "InvalidAccessKeyId.Inactive"),
    ],
)
def test_second_generation_refused(edge: Edge, key: str, secret: str, status: int, code: str) -> None:
    client = second_generation(edge, key, secret)
    with pytest.raises(DaraException) as caught:
        client.describe_regions(tea_models.DescribeRegionsRequest())
    assert caught.value.code == code
    assert caught.value.status_code == status


def test_second_generation_errors(edge: Edge) -> None:
    client = second_generation(edge)
    with pytest.raises(DaraException) as caught:
        client.delete_instance(tea_models.DeleteInstanceRequest(instance_id="i-none"))
    assert caught.value.code == "InvalidInstanceId.NotFound"
    with pytest.raises(DaraException) as caught:
        client.run_instances(tea_models.RunInstancesRequest(region_id="elsewhere", image_id="x"))
    assert caught.value.code == "InvalidRegionId.NotFound"
    with pytest.raises(DaraException) as caught:
        client.run_instances(tea_models.RunInstancesRequest(region_id="local", image_id="x", dry_run=True))
    assert caught.value.code == "DryRunOperation"


def test_a_security_token_of_nobody(edge: Edge) -> None:
    client = second_generation(edge, security_token="made-up")
    with pytest.raises(DaraException) as caught:
        client.describe_regions(tea_models.DescribeRegionsRequest())
    assert caught.value.code == "InvalidSecurityToken.Malformed"
