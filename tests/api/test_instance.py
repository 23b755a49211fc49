"""Instance actions as far as the store goes: choices, refusals, states, batches, pages (SPEC I1-I4, G1-G6)."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest
from sqlalchemy import func, select

from agent.core.errors import ApiError
from agent.core.ids import is_id
from agent.store.schema import Disk, Instance, NetworkInterface
from tests.support.agent import flat
from tests.support.cloud import Cloud

SMALL = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small"}


@pytest.fixture
def ready(make_cloud: Any) -> Cloud:
    """A cloud with the default network and one image of 1 GiB."""
    cloud = make_cloud(minimum_disk_gib={"system": 1})
    cloud.default_vswitch()
    cloud.add_image()
    return cloud


def run(cloud: Cloud, **params: object) -> list[str]:
    answer = cloud.call("RunInstances", dict(flat({**SMALL, **params})))
    return answer["InstanceIdSets"]["InstanceIdSet"]


def shown(cloud: Cloud, instance_id: str) -> dict[str, Any]:
    [found] = cloud.call("DescribeInstances", {"InstanceIds": json.dumps([instance_id])})["Instances"]["Instance"]
    return found


def code(cloud: Cloud, action: str, **params: object) -> str:
    with pytest.raises(ApiError) as refused:
        cloud.call(action, dict(flat(params)))
    return refused.value.code


def set_status(cloud: Cloud, instance_id: str, status: str) -> None:
    with cloud.store.write() as session:
        session.get_one(Instance, instance_id).status = status


def count(cloud: Cloud, table: type) -> int:
    with cloud.store.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_what_is_not_said_is_chosen(ready: Cloud) -> None:
    [instance_id] = run(ready)
    found = shown(ready, instance_id)
    assert is_id("instance", instance_id)
    assert (found["Status"], found["InstanceName"], found["HostName"]) == ("Pending", instance_id, instance_id)
    assert found["VpcAttributes"]["PrivateIpAddress"]["IpAddress"] == ["172.16.0.1"]
    assert len(found["SecurityGroupIds"]["SecurityGroupId"]) == 1
    assert (found["Cpu"], found["Memory"], found["CreationTime"]) == (1, 1024, "2026-11-23T07:35Z")
    [job] = ready.jobs("instance.run")
    assert (job.resource_id, ready.runner.wakes) == (instance_id, 1)


def test_what_is_said_is_kept(ready: Cloud) -> None:
    [instance_id] = run(
        ready,
        InstanceName="web",
        HostName="web-host",
        Description="the web",
        PrivateIpAddress="172.16.0.77",
        SystemDisk={"Size": 30, "Category": "cloud_ssd", "DiskName": "root-disk"},
        UserData=base64.b64encode(b"#!/bin/sh\n").decode(),
        Tag=[{"Key": "Role", "Value": "web"}],
        DeletionProtection="true",
    )
    found = shown(ready, instance_id)
    assert (found["InstanceName"], found["HostName"], found["Description"]) == ("web", "web-host", "the web")
    assert found["VpcAttributes"]["PrivateIpAddress"]["IpAddress"] == ["172.16.0.77"]
    assert found["Tags"]["Tag"] == [{"TagKey": "Role", "TagValue": "web"}]
    assert found["DeletionProtection"] is True
    [disk] = ready.call("DescribeDisks", {"InstanceId": instance_id})["Disks"]["Disk"]
    assert (disk["Size"], disk["Category"], disk["DiskName"], disk["Type"]) == (30, "cloud_ssd", "root-disk", "system")
    with ready.store.read() as session:
        assert session.get_one(Instance, instance_id).user_data == b"#!/bin/sh\n"


def test_a_password_is_kept_as_a_hash_only_and_a_key_pair_goes_before_it(ready: Cloud) -> None:
    ready.call("CreateKeyPair", {"KeyPairName": "mine"})
    [by_password] = run(ready, Password="Passw0rd!x")
    [by_key] = run(ready, Password="Passw0rd!x", KeyPairName="mine")
    with ready.store.read() as session:
        assert session.get_one(Instance, by_password).password_hash == "$6$stand-in"
        assert session.get_one(Instance, by_key).password_hash is None


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"ImageId": "nope"}, "InvalidImageId.NotFound"),
        ({"ImageId": "debian_12_x64"}, "InvalidImageId.NotReady"),
        ({"InstanceType": "ecs.none"}, "InvalidInstanceType.ValueNotSupported"),
        ({"InstanceName": "1"}, "InvalidInstanceName.Malformed"),
        ({"HostName": "-x-"}, "InvalidHostName.Malformed"),
        ({"Description": "http://x"}, "InvalidDescription.Malformed"),
        ({"Password": "short"}, "InvalidPassword.Malformed"),
        ({"KeyPairName": "nope"}, "InvalidKeyPair.NotFound"),
        ({"VSwitchId": "vsw-nope"}, "InvalidVSwitchId.NotFound"),
        ({"SecurityGroupId": "sg-nope"}, "InvalidSecurityGroupId.NotFound"),
        ({"PrivateIpAddress": "10.9.9.9"}, "InvalidPrivateIpAddress"),
        ({"SystemDisk": {"Size": 501}}, "InvalidSystemDiskSize.ValueNotSupported"),
        ({"SystemDisk": {"Category": "tape"}}, "InvalidSystemDiskCategory.ValueNotSupported"),
        ({"UserData": "%%%"}, "InvalidUserData.Base64FormatInvalid"),
        ({"UserData": base64.b64encode(bytes(16385)).decode()}, "InvalidUserData.SizeExceeded"),
        ({"Amount": 101}, "InvalidAmount.NotSupported"),
        ({"Amount": 11}, "QuotaExceed.ElasticQuota"),
        ({"ZoneId": "elsewhere"}, "InvalidZoneId.NotFound"),
        ({"RegionId": "elsewhere"}, "InvalidRegionId.NotFound"),
        ({"InstanceChargeType": "PrePaid"}, "UnsupportedParameter"),
        ({"InternetMaxBandwidthOut": 201}, "InvalidInternetMaxBandwidthOut.ValueNotSupported"),
        ({"InternetMaxBandwidthIn": 0}, "InvalidInternetMaxBandwidthIn.ValueNotSupported"),
        ({"InternetChargeType": "PayByDay"}, "InvalidInternetChargeType.ValueNotSupported"),
        ({"InstanceType": "ecs.m1.medium"}, "OperationDenied.NoStock"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_left(ready: Cloud, params: dict[str, object], expected: str) -> None:
    assert code(ready, "RunInstances", **{**SMALL, **params}) == expected
    assert (count(ready, Instance), count(ready, Disk), count(ready, NetworkInterface)) == (0, 0, 0)
    assert ready.jobs("instance.run") == []


def test_names_of_many_are_numbered_on_demand(ready: Cloud) -> None:
    def names(**params: object) -> list[str]:
        ids = run(ready, Amount=2, **params)
        return [shown(ready, i)["InstanceName"] for i in ids]

    assert names(InstanceName="web-[7,2]-lab") == ["web-07-lab", "web-08-lab"]
    assert names(InstanceName="web", UniqueSuffix="true") == ["web001", "web002"]
    assert names(InstanceName="web") == ["web", "web"]


def test_a_dry_run_changes_nothing(ready: Cloud) -> None:
    assert code(ready, "RunInstances", **SMALL, DryRun="true") == "DryRunOperation"
    assert count(ready, Instance) == 0


def test_the_same_token_makes_no_second_instance(ready: Cloud) -> None:
    first = run(ready, ClientToken="once")
    assert run(ready, ClientToken="once") == first
    assert code(ready, "RunInstances", **SMALL, Amount=2, ClientToken="once") == "IdempotentParameterMismatch"
    assert count(ready, Instance) == 1


def test_parallel_calls_do_not_overshoot_the_quota(make_cloud: Any, ready: Cloud) -> None:
    refused: list[str] = []

    def attempt() -> None:
        try:
            # Created, not run: 4 vCPUs and 8 GiB hold no more than the quota anyway.
            ready.call("CreateInstance", dict(SMALL))
        except ApiError as error:
            refused.append(error.code)

    threads = [threading.Thread(target=attempt) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(ready, Instance) == 10
    assert refused == ["QuotaExceed.ElasticQuota"] * 6
    addresses = [one.ip for one in ready.interfaces()]
    assert len(set(addresses)) == 10


def test_the_hosts_memory_is_not_promised_twice(ready: Cloud) -> None:
    run(ready, InstanceType="ecs.s2.large")  # 4 of 8 GiB
    assert code(ready, "RunInstances", **{**SMALL, "InstanceType": "ecs.s3.large"}) == "OperationDenied.NoStock"
    run(ready, InstanceType="ecs.s3.medium")
    assert code(ready, "RunInstances", **SMALL) == "OperationDenied.NoStock"


@pytest.mark.parametrize(
    ("action", "from_state", "to_state", "kind"),
    [
        ("StartInstance", "Stopped", "Starting", "instance.start"),
        ("StopInstance", "Running", "Stopping", "instance.stop"),
        ("RebootInstance", "Running", "Stopping", "instance.reboot"),
    ],
)
def test_states_and_their_operations(ready: Cloud, action: str, from_state: str, to_state: str, kind: str) -> None:
    [instance_id] = run(ready)
    for state in ("Pending", "Starting", "Running", "Stopping", "Stopped"):
        set_status(ready, instance_id, state)
        if state != from_state:
            assert code(ready, action, InstanceId=instance_id) == "IncorrectInstanceStatus"
    set_status(ready, instance_id, from_state)
    assert code(ready, action, InstanceId=instance_id, DryRun="true") == "DryRunOperation"
    ready.call(action, {"InstanceId": instance_id})
    assert shown(ready, instance_id)["Status"] == to_state
    assert [job.resource_id for job in ready.jobs(kind)] == [instance_id]


def test_a_running_one_is_released_by_force_only_and_is_gone_at_once(ready: Cloud) -> None:
    [instance_id] = run(ready)
    set_status(ready, instance_id, "Running")
    assert code(ready, "DeleteInstance", InstanceId=instance_id) == "IncorrectInstanceStatus"
    ready.call("ModifyInstanceAttribute", {"InstanceId": instance_id, "DeletionProtection": "true"})
    assert code(ready, "DeleteInstance", InstanceId=instance_id, Force="true") == "InvalidOperation.DeletionProtection"
    ready.call("ModifyInstanceAttribute", {"InstanceId": instance_id, "DeletionProtection": "false"})
    ready.call("DeleteInstance", {"InstanceId": instance_id, "Force": "true"})
    assert code(ready, "DescribeInstanceAttribute", InstanceId=instance_id) == "InvalidInstanceId.NotFound"
    assert ready.call("DescribeInstances")["TotalCount"] == 0
    assert [job.resource_id for job in ready.jobs("instance.release")] == [instance_id]


def test_a_mixed_batch(ready: Cloud) -> None:
    one, two = run(ready, Amount=2)
    set_status(ready, one, "Running")
    set_status(ready, two, "Stopped")
    assert code(ready, "StopInstances", InstanceId=[one, two]) == "IncorrectInstanceStatus"
    assert shown(ready, one)["Status"] == "Running"
    answer = ready.call(
        "StopInstances", {"InstanceId.1": one, "InstanceId.2": two, "BatchOptimization": "SuccessFirst"}
    )
    outcomes = {r["InstanceId"]: r for r in answer["InstanceResponses"]["InstanceResponse"]}
    assert (outcomes[one]["PreviousStatus"], outcomes[one]["CurrentStatus"]) == ("Running", "Stopping")
    assert outcomes[two]["Code"] == "IncorrectInstanceStatus"
    assert code(ready, "StopInstances", InstanceId=["i-none"]) == "InvalidInstanceId.NotFound"
    assert code(ready, "StopInstances", InstanceId=[one], BatchOptimization="x") == "InvalidParameter"


def test_other_accounts_see_and_touch_nothing(ready: Cloud) -> None:
    [instance_id] = run(ready)
    other = ready.add_account()
    assert ready.call("DescribeInstances", account_id=other)["TotalCount"] == 0
    for action in ("DescribeInstanceAttribute", "StopInstance", "DeleteInstance", "GetInstanceConsoleOutput"):
        with pytest.raises(ApiError) as refused:
            ready.call(action, {"InstanceId": instance_id}, account_id=other)
        assert refused.value.code == "InvalidInstanceId.NotFound"


def test_filters_and_pages(ready: Cloud) -> None:
    ids = [*run(ready, InstanceName="web-a", Tag=[{"Key": "k", "Value": "1"}]), *run(ready, InstanceName="db-a")]
    set_status(ready, ids[1], "Running")

    def found(**params: object) -> list[str]:
        return [i["InstanceId"] for i in ready.call("DescribeInstances", dict(flat(params)))["Instances"]["Instance"]]

    assert found(InstanceName="web*") == [ids[0]]
    assert found(InstanceName="web_a") == []
    assert found(Status="Running") == [ids[1]]
    assert found(Tag=[{"Key": "K"}]) == [ids[0]]
    assert found(Tag=[{"Key": "k", "Value": "2"}]) == []
    assert found(PrivateIpAddresses=json.dumps(["172.16.0.2"])) == [ids[1]]
    assert found(InstanceTypeFamily="ecs.t1") != []
    assert found(InstanceIds="[]") == []
    first = ready.call("DescribeInstances", {"PageSize": 1})
    second = ready.call("DescribeInstances", {"PageSize": 1, "PageNumber": 2})
    assert first["TotalCount"] == second["TotalCount"] == 2
    both = [page["Instances"]["Instance"][0]["InstanceId"] for page in (first, second)]
    assert sorted(both) == sorted(ids)
    by_token = ready.call("DescribeInstances", {"MaxResults": 1})
    rest = ready.call("DescribeInstances", {"MaxResults": 1, "NextToken": by_token["NextToken"]})
    assert rest["NextToken"] == ""
    statuses = ready.call("DescribeInstanceStatus")["InstanceStatuses"]["InstanceStatus"]
    assert {s["InstanceId"]: s["Status"] for s in statuses} == {ids[0]: "Pending", ids[1]: "Running"}


def test_changing_what_can_be_changed(ready: Cloud) -> None:
    [instance_id] = run(ready)
    ready.call("ModifyInstanceAttribute", {"InstanceId": instance_id, "InstanceName": "new", "Description": "also new"})
    found = ready.call("DescribeInstanceAttribute", {"InstanceId": instance_id})
    assert (found["InstanceName"], found["Description"]) == ("new", "also new")
    assert code(ready, "ModifyInstanceAttribute", InstanceId=instance_id, InstanceName="1") == (
        "InvalidInstanceName.Malformed"
    )
