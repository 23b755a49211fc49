"""The accounts of the host: made and deleted by its owner, each a world of its own."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agent.api.edge.registry import ECS, HOST, VPC
from agent.core.errors import ApiError
from agent.services import account_admin
from agent.services.account import AccessKeys
from agent.store.schema import Account, Base, Bucket, Disk, ImageShare
from tests.support.cloud import Cloud
from tests.support.stored_disks import system_disk
from tests.support.timetable import take


def own(cloud: Cloud, action: str, account_id: str = "", **params: object) -> dict[str, Any]:
    return cloud.call(action, dict(params), version=HOST, account_id=account_id)


def code(cloud: Cloud, action: str, account_id: str = "", **params: object) -> str:
    with pytest.raises(ApiError) as caught:
        own(cloud, action, account_id, **params)
    return caught.value.code


@pytest.fixture
def lena(cloud: Cloud) -> str:
    cloud.default_vswitch()
    return str(own(cloud, "CreateAccount", AccountName="lena")["Account"]["AccountId"])


def test_an_account_begins_with_a_key_and_a_network(cloud: Cloud) -> None:
    cloud.default_vswitch()
    cloud.clock.advance(1)
    made = own(cloud, "CreateAccount", AccountName="lena")
    account_id, key = made["Account"]["AccountId"], made["AccessKey"]
    assert re.fullmatch(r"[1-9][0-9]{15}", account_id)
    found = AccessKeys(cloud.store, cloud.services.sealer).find(key["AccessKeyId"], "")
    assert found is not None
    assert (found.account_id, found.secret, found.administrator) == (account_id, key["AccessKeySecret"], True)
    [vpc] = cloud.call("DescribeVpcs", version=VPC, account_id=account_id)["Vpcs"]["Vpc"]
    [mine] = cloud.call("DescribeVpcs", version=VPC)["Vpcs"]["Vpc"]
    assert (vpc["CidrBlock"], vpc["IsDefault"]) == (mine["CidrBlock"], True)
    assert vpc["VpcId"] != mine["VpcId"]
    cloud.clock.advance(1)
    other = own(cloud, "CreateAccountAccessKey", AccountId=account_id)["AccessKey"]["AccessKeyId"]
    shown = own(cloud, "DescribeAccounts", AccountName="lena")["Accounts"]["Account"]
    assert [(one["AccountId"], one["IsDefault"], one["Owns"]["Item"]) for one in shown] == [(account_id, False, [])]
    assert shown[0]["AccessKeyIds"]["AccessKeyId"] == [key["AccessKeyId"], other]
    own(cloud, "ModifyAccount", AccountId=account_id, AccountName="nora")
    names = [one["AccountName"] for one in own(cloud, "DescribeAccounts")["Accounts"]["Account"]]
    assert names == ["default", "nora"]


def test_nothing_of_another_account_is_seen(cloud: Cloud, lena: str) -> None:
    cloud.add_image()
    instance = cloud.add_instance(cloud.default_vswitch()[1], [])
    disk = system_disk(cloud, instance)
    snapshot = take(cloud, disk)
    image = cloud.call("CreateImage", {"SnapshotId": snapshot})["ImageId"]
    for action, wrapper in (
        ("DescribeInstances", "Instances"),
        ("DescribeDisks", "Disks"),
        ("DescribeSnapshots", "Snapshots"),
        ("DescribeKeyPairs", "KeyPairs"),
    ):
        assert cloud.call(action, account_id=lena)["TotalCount"] == 0, wrapper
    assert [one["ImageId"] for one in cloud.call("DescribeImages", account_id=lena)["Images"]["Image"]] == ["tiny_x64"]
    for action, params in (
        ("CreateImage", {"InstanceId": instance}),
        ("CreateImage", {"SnapshotId": snapshot}),
        ("DeleteImage", {"ImageId": image}),
        ("CreateSnapshot", {"DiskId": disk}),
        ("StopInstance", {"InstanceId": instance}),
    ):
        with pytest.raises(ApiError) as caught:
            cloud.call(action, params, account_id=lena, version=ECS)
        assert caught.value.status == 404, action
    assert own(cloud, "DescribeJobs", lena)["TotalCount"] == 0


def test_only_the_hosts_owner_deals_with_accounts_and_the_host(cloud: Cloud, lena: str) -> None:
    for action, params in (
        ("CreateAccount", {"AccountName": "nora"}),
        ("CreateAccountAccessKey", {"AccountId": cloud.account_id}),
        ("DescribeAccounts", {}),
        ("ModifyAccount", {"AccountId": lena, "AccountName": "nora"}),
        ("DeleteAccount", {"AccountId": lena}),
        ("StopHostInstances", {}),
        ("BuildImage", {"ImageId": "tiny_x64"}),
    ):
        assert code(cloud, action, lena, **params) == "Forbidden.RAM", action


def test_what_is_wrong_is_refused(cloud: Cloud, lena: str) -> None:
    assert code(cloud, "CreateAccount", AccountName="lena") == "EntityAlreadyExists.Account"
    assert code(cloud, "CreateAccount", AccountName="1") == "InvalidParameter.AccountName.InvalidChars"
    assert code(cloud, "ModifyAccount", AccountId=lena, AccountName="default") == "EntityAlreadyExists.Account"
    for action in ("DeleteAccount", "CreateAccountAccessKey"):
        assert code(cloud, action, AccountId="1000000000000009") == "EntityNotExist.Account"
    assert code(cloud, "DeleteAccount", AccountId=cloud.account_id) == "DeleteConflict.Account.Default"


def test_an_account_goes_when_it_owns_nothing_and_what_was_shared_with_it_too(cloud: Cloud, lena: str) -> None:
    cloud.add_image()
    instance = cloud.add_instance(cloud.default_vswitch()[1], [])
    image = cloud.call("CreateImage", {"SnapshotId": take(cloud, system_disk(cloud, instance))})["ImageId"]
    cloud.call("ModifyImageSharePermission", {"ImageId": image, "AddAccount.1": lena})
    cloud.call("CreateKeyPair", {"KeyPairName": "hers"}, account_id=lena)
    zone = {"ZoneId": "local-a", "DiskCategory": "cloud", "Size": 5, "Tag.1.Key": "k"}
    disk = cloud.call("CreateDisk", zone, account_id=lena)["DiskId"]
    sent = own(cloud, "CreateUpload", account_id=lena, Object="only to be imported", Size=1)
    own(cloud, "AbortUpload", account_id=lena, UploadId=sent["UploadId"])
    with pytest.raises(ApiError) as caught:
        own(cloud, "DeleteAccount", AccountId=lena)
    assert caught.value.code == "DeleteConflict.Account.Resources"
    assert "disks (1), key pairs (1)" in caught.value.message
    cloud.call("DeleteKeyPairs", {"KeyPairNames": '["hers"]'}, account_id=lena)
    with cloud.store.write() as session:
        session.get_one(Disk, disk).status = "Available"
        for job in cloud.jobs("disk.create"):
            session.merge(job).state = "succeeded"
    cloud.call("DeleteDisk", {"DiskId": disk}, account_id=lena)
    own(cloud, "DeleteAccount", AccountId=lena)
    assert code(cloud, "DeleteAccount", AccountId=lena) == "EntityNotExist.Account"
    assert cloud.call("DescribeImageSharePermission", {"ImageId": image})["TotalCount"] == 0
    assert len(cloud.jobs("vpc.remove")) == 1
    with cloud.store.read() as session:
        assert session.query(ImageShare).count() == 0
        assert session.query(Bucket).count() == 0
        assert [one.name for one in session.query(Account)] == ["default"]


def test_every_table_with_an_owner_is_known() -> None:
    """A noun that is added must not be lost, nor keep its account for ever."""
    owned = {mapper.class_ for mapper in Base.registry.mappers if "account_id" in mapper.columns}
    known = {*account_admin.OWNED, *account_admin.GOING}
    assert {table.__name__ for table in owned - known} == {"Job"}  # the journal keeps what happened
