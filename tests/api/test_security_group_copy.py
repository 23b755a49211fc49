"""Cloning and restoring security groups (SPEC F8, F9), as far as one agent goes."""

from __future__ import annotations

from typing import Any

import pytest

from agent.config import Config
from agent.core.errors import ApiError, DriverError
from agent.jobs import regions
from tests.support.cloud import Cloud

HOST = "2026-11-01"
THERE = {"endpoint": "https://there.example:8443", "access_key_id": "LTAI1", "secret_file": "/etc/ecs/there"}
NEW = "sg-aaaaaaaaaaaaaaaaaaaa"


class Lab:
    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.vpc_id, self.vswitch_id = cloud.default_vswitch()
        self.group, self.peer = self.create("web"), self.create("db")
        self.allow(self.group, "tcp", "80/80", "0.0.0.0/0", Description="the world")
        self.allow(self.group, "tcp", "22/22", "10.1.2.3", Priority=7)
        self.allow(self.group, "all", "-1/-1", "10.9.0.0/16", way="Egress", Policy="drop")
        self.allow(self.group, "udp", "53/53", self.peer)

    def create(self, name: str, **where: object) -> str:
        params = {"SecurityGroupName": name, "VpcId": self.vpc_id, **where}
        return str(self.cloud.call("CreateSecurityGroup", params)["SecurityGroupId"])

    def allow(self, group: str, protocol: str, ports: str, peer: str, way: str = "", **more: object) -> None:
        name = ("Dest" if way else "Source") + ("GroupId" if peer.startswith("sg-") else "CidrIp")
        params = {"SecurityGroupId": group, "IpProtocol": protocol, "PortRange": ports, name: peer, **more}
        self.cloud.call(f"AuthorizeSecurityGroup{way}", params)

    def do(self, action: str, **params: object) -> dict[str, Any]:
        return self.cloud.call(action, params, version=HOST)

    def refused(self, action: str, **params: object) -> str:
        with pytest.raises(ApiError) as caught:
            self.do(action, **params)
        return caught.value.code

    def rules(self, group: str) -> list[str]:
        answer = self.cloud.call("DescribeSecurityGroupAttribute", {"SecurityGroupId": group})
        return sorted(map(line, answer["Permissions"]["Permission"]))


def line(rule: dict[str, str]) -> str:
    """`in internet tcp 22/22 10.0.0.0/8 accept 1`."""
    side = "Source" if rule["Direction"] == "ingress" else "Dest"
    peer = rule[f"{side}CidrIp"] or rule[f"{side}GroupId"]
    way = rule["Direction"].removesuffix("gress")
    return " ".join(
        (way, rule["NicType"], rule["IpProtocol"], rule["PortRange"], peer, rule["Policy"], rule["Priority"])
    )


@pytest.fixture
def lab(make_cloud: Any) -> Lab:
    return Lab(make_cloud(regions={"there": THERE}))


# ------------------------------------------------------------------------------ cloning


def test_a_clone_in_the_same_vpc_has_everything(lab: Lab) -> None:
    lab.cloud.call("ModifySecurityGroupPolicy", {"SecurityGroupId": lab.group, "InnerAccessPolicy": "Drop"})
    params = {"SecurityGroupId": lab.group, "ClientToken": "once", "Tag.1.Key": "k", "Tag.1.Value": "v"}
    answer = lab.do("CloneSecurityGroup", **params)
    assert lab.do("CloneSecurityGroup", **params) == answer
    assert (answer["RegionId"], answer["JobId"], answer["LeftOut"]["Permission"]) == ("local", "", [])
    made = str(answer["SecurityGroupId"])
    assert lab.rules(made) == lab.rules(lab.group)
    shown = lab.cloud.call("DescribeSecurityGroupAttribute", {"SecurityGroupId": made})
    assert (shown["SecurityGroupName"], shown["VpcId"], shown["InnerAccessPolicy"]) == ("web", lab.vpc_id, "Drop")
    assert "the world" in {one["Description"] for one in shown["Permissions"]["Permission"]}


def test_another_vpc_does_not_know_its_peers(lab: Lab) -> None:
    elsewhere = lab.cloud.call("CreateVpc")["VpcId"]
    answer = lab.do("CloneSecurityGroup", SecurityGroupId=lab.group, VpcId=elsewhere, SecurityGroupName="copy")
    assert len(lab.rules(answer["SecurityGroupId"])) == 3
    [left] = answer["LeftOut"]["Permission"]
    assert (left["SourceGroupId"], left["PortRange"]) == (lab.peer, "53/53")
    assert left["Reason"] == f'it names a security group of the VPC "{lab.vpc_id}"'


def test_to_the_classic_network_and_back(lab: Lab) -> None:
    lab.allow(lab.group, "icmp", "-1/-1", "10.0.0.0/8")
    answer = lab.do("CloneSecurityGroup", SecurityGroupId=lab.group, NetworkType="classic")
    made = answer["SecurityGroupId"]
    assert lab.rules(made) == [
        "e internet ALL -1/-1 10.9.0.0/16 Drop 1",
        "e intranet ALL -1/-1 10.9.0.0/16 Drop 1",
        "in internet ICMP -1/-1 10.0.0.0/8 Accept 1",
        "in internet TCP 22/22 10.1.2.3 Accept 7",
        "in internet TCP 80/80 0.0.0.0/0 Accept 1",
        "in intranet TCP 22/22 10.1.2.3 Accept 7",
    ]
    left = {(one["NicType"], one["PortRange"]) for one in answer["LeftOut"]["Permission"]}
    assert left == {("intranet", "53/53"), ("intranet", "80/80"), ("intranet", "-1/-1")}
    back = lab.do("CloneSecurityGroup", SecurityGroupId=made, NetworkType="vpc")
    assert back["LeftOut"]["Permission"] == []
    assert lab.rules(back["SecurityGroupId"]) == [
        "e intranet ALL -1/-1 10.9.0.0/16 Drop 1",
        "in intranet ICMP -1/-1 10.0.0.0/8 Accept 1",
        "in intranet TCP 22/22 10.1.2.3 Accept 7",
        "in intranet TCP 80/80 0.0.0.0/0 Accept 1",
    ]


def test_the_systems_group_can_be_cloned_with_its_rules(lab: Lab) -> None:
    [system] = lab.cloud.call("DescribeSecurityGroups", {"SecurityGroupName": "default"})["SecurityGroups"][
        "SecurityGroup"
    ]
    made = lab.do("CloneSecurityGroup", SecurityGroupId=system["SecurityGroupId"])["SecurityGroupId"]
    assert lab.rules(made) == lab.rules(system["SecurityGroupId"])
    lab.cloud.call("DeleteSecurityGroup", {"SecurityGroupId": made})


def test_another_region_is_told_by_a_job(lab: Lab) -> None:
    def clone(**more: object) -> dict[str, Any]:
        return lab.do("CloneSecurityGroup", SecurityGroupId=lab.group, DestinationRegionId="there", **more)

    answer = clone(**{"VpcId": "vpc-there", "Tag.1.Key": "k", "Tag.1.Value": "v"})
    [job] = lab.cloud.jobs("security-group.clone")
    assert (answer["JobId"], answer["RegionId"], job.resource_id, job.lock) == (
        job.id,
        "there",
        lab.group,
        answer["SecurityGroupId"],
    )
    assert [one["SourceGroupId"] for one in answer["LeftOut"]["Permission"]] == [lab.peer]
    told = job.data["group"]
    assert (told["VpcId"], told["NetworkType"], told["SecurityGroupName"], told["Tag.1.Key"]) == (
        "vpc-there",
        "vpc",
        "web",
        "k",
    )
    assert "secret" not in str(job.data)
    assert clone(NetworkType="classic")["SecurityGroupId"] != answer["SecurityGroupId"]
    assert lab.cloud.jobs("security-group.clone")[1].data["group"]["NetworkType"] == "classic"


def test_what_cannot_be_cloned(lab: Lab) -> None:
    def code(**params: object) -> str:
        return lab.refused("CloneSecurityGroup", **{"SecurityGroupId": lab.group, **params})

    assert code(SecurityGroupId="sg-none") == "InvalidSecurityGroupId.NotFound"
    assert code(VpcId="vpc-none") == "InvalidVpcId.NotFound"
    assert code(VpcId=lab.vpc_id, NetworkType="classic") == "InvalidParameter.Conflict"
    assert code(SecurityGroupName="1") == "InvalidSecurityGroupName.Malformed"
    assert code(DryRun="true") == "DryRunOperation"
    assert code(DestinationRegionId="nowhere") == "InvalidRegionId.NotFound"
    assert code(DestinationRegionId="there", SecurityGroupName="1") == "InvalidSecurityGroupName.Malformed"
    other = lab.cloud.add_account()
    lab.cloud.call("CreateVpc", account_id=other)
    with pytest.raises(ApiError) as caught:
        params: dict[str, object] = {"SecurityGroupId": lab.group, "DestinationRegionId": "there"}
        lab.cloud.call("CloneSecurityGroup", params, version=HOST, account_id=other)
    assert caught.value.code == "InvalidSecurityGroupId.NotFound"
    assert lab.cloud.jobs("security-group.clone") == []
    many = {f"Permissions.{n}.{k}": v for n in range(1, 61) for k, v in _port(n).items()}
    lab.cloud.call("AuthorizeSecurityGroup", {"SecurityGroupId": lab.peer, **many})
    full = lab.refused("CloneSecurityGroup", SecurityGroupId=lab.peer, NetworkType="classic")
    assert full == "AuthorizationLimitExceed"  # 60 rules would be 120
    assert lab.cloud.call("DescribeSecurityGroups")["TotalCount"] == 3


def _port(number: int) -> dict[str, str]:
    return {"IpProtocol": "tcp", "PortRange": f"{number}/{number}", "SourceCidrIp": "10.1.2.3"}


def test_what_comes_from_another_region_is_made_once_and_checked(lab: Lab) -> None:
    coming: dict[str, object] = {
        "SecurityGroupId": NEW,
        "NetworkType": "vpc",
        "InnerAccessPolicy": "Drop",
        "SecurityGroupName": "theirs",
        **{f"Permissions.1.{k}": v for k, v in {**_port(22), "Direction": "ingress", "Priority": "110"}.items()},
        "Permissions.2.Direction": "egress",
        "Permissions.2.IpProtocol": "ALL",
        "Permissions.2.DestCidrIp": "10.0.0.0/8",
    }
    bad = {**coming, "Permissions.2.DestCidrIp": "x"}
    assert lab.refused("ReceiveSecurityGroup", **bad) == "InvalidDestCidrIp.Malformed"
    for _ in range(2):
        assert lab.do("ReceiveSecurityGroup", **coming) == {"SecurityGroupId": NEW}
    assert lab.rules(NEW) == ["e intranet ALL -1/-1 10.0.0.0/8 Accept 1", "in intranet TCP 22/22 10.1.2.3 Accept 110"]
    assert lab.refused("ReceiveSecurityGroup", **{**coming, "SecurityGroupId": "../x"}) == (
        "InvalidSecurityGroupId.Malformed"
    )
    other = lab.cloud.add_account()
    with pytest.raises(ApiError) as caught:
        lab.cloud.call("ReceiveSecurityGroup", {**coming, "NetworkType": "classic"}, version=HOST, account_id=other)
    assert caught.value.code == "InvalidSecurityGroupId.Malformed"


def test_a_region_that_is_configured_no_more() -> None:
    with pytest.raises(DriverError, match="not configured any more"):
        regions.peer_of(Config(), "there")


# ------------------------------------------------------------------------------ restoring


def changed(answer: dict[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """What was added, removed, left out."""
    added, removed, left = (sorted(map(line, answer[name]["Permission"])) for name in ("Added", "Removed", "LeftOut"))
    return added, removed, left


def test_a_backup_is_restored_fully(lab: Lab) -> None:
    before = lab.rules(lab.group)
    backup = lab.do("CloneSecurityGroup", SecurityGroupId=lab.group)["SecurityGroupId"]
    lab.cloud.call(
        "RevokeSecurityGroup",
        {"SecurityGroupId": lab.group, "IpProtocol": "tcp", "PortRange": "80/80", "SourceCidrIp": "0.0.0.0/0"},
    )
    lab.allow(lab.group, "tcp", "3306/3306", "0.0.0.0/0")
    params: dict[str, object] = {"SecurityGroupId": lab.group, "SourceSecurityGroupId": backup}
    preview = lab.do("DescribeSecurityGroupRestoration", **params)
    assert changed(preview) == (
        ["in intranet TCP 80/80 0.0.0.0/0 Accept 1"],
        ["in intranet TCP 3306/3306 0.0.0.0/0 Accept 1"],
        [],
    )
    assert "in intranet TCP 3306/3306 0.0.0.0/0 Accept 1" in lab.rules(lab.group)
    assert changed(lab.do("RestoreSecurityGroup", **params)) == changed(preview)
    assert lab.cloud.runner.waited[-1] == lab.cloud.jobs("vpc.filter")[-1].id
    assert lab.rules(lab.group) == before
    assert changed(lab.do("DescribeSecurityGroupRestoration", **params)) == ([], [], [])


def test_partially_nothing_is_lost(lab: Lab) -> None:
    backup = lab.create("backup")
    lab.allow(backup, "tcp", "443/443", "0.0.0.0/0")
    lab.allow(backup, "tcp", "80/80", "0.0.0.0/0", Description="the same rule")
    params = {"SecurityGroupId": lab.group, "SourceSecurityGroupId": backup, "RestoreType": "Partial"}
    assert changed(lab.do("RestoreSecurityGroup", **params)) == (
        ["in intranet TCP 443/443 0.0.0.0/0 Accept 1"],
        [],
        [],
    )
    assert len(lab.rules(lab.group)) == 5
    full = changed(lab.do("RestoreSecurityGroup", **{**params, "RestoreType": "Full"}))
    assert full[0] == ["in intranet TCP 80/80 0.0.0.0/0 Accept 1"]  # with the other's description
    assert lab.rules(lab.group) == lab.rules(backup)
    shown = lab.cloud.call("DescribeSecurityGroupAttribute", {"SecurityGroupId": lab.group})["Permissions"]
    assert {one["Description"] for one in shown["Permission"]} == {"", "the same rule"}


def test_the_systems_rules_are_removed_but_never_made(lab: Lab) -> None:
    [system] = lab.cloud.call("DescribeSecurityGroups", {"SecurityGroupName": "default"})["SecurityGroups"][
        "SecurityGroup"
    ]
    default = system["SecurityGroupId"]
    there: dict[str, object] = {"SecurityGroupId": lab.group, "SourceSecurityGroupId": default}
    added, removed, left = changed(lab.do("DescribeSecurityGroupRestoration", **there))
    assert (added, removed, len(left)) == ([], lab.rules(lab.group), 5)
    back: dict[str, object] = {"SecurityGroupId": default, "SourceSecurityGroupId": lab.group}
    lab.do("RestoreSecurityGroup", **back)
    assert lab.rules(default) == lab.rules(lab.group)
    clone = lab.do("CloneSecurityGroup", SecurityGroupId=default)["SecurityGroupId"]
    assert changed(lab.do("RestoreSecurityGroup", SecurityGroupId=default, SourceSecurityGroupId=clone)) == ([], [], [])


def test_what_a_group_cannot_have_is_left_out(lab: Lab) -> None:
    backup = lab.create("backup")
    lab.allow(backup, "all", "-1/-1", lab.group)
    left = lab.do(
        "RestoreSecurityGroup", SecurityGroupId=lab.group, SourceSecurityGroupId=backup, RestoreType="Partial"
    )
    assert "members reach each other" in left["LeftOut"]["Permission"][0]["Reason"]
    elsewhere = lab.create("elsewhere", VpcId=lab.cloud.call("CreateVpc")["VpcId"])
    left = lab.do("RestoreSecurityGroup", SecurityGroupId=elsewhere, SourceSecurityGroupId=lab.group)
    assert [one["SourceGroupId"] for one in left["LeftOut"]["Permission"]] == [lab.peer]
    assert len(lab.rules(elsewhere)) == 3


def test_what_cannot_be_restored(lab: Lab) -> None:
    def code(source: str, **more: object) -> str:
        params = {"SecurityGroupId": lab.group, "SourceSecurityGroupId": source, **more}
        found = lab.refused("RestoreSecurityGroup", **params)
        assert "DryRun" in more or found == lab.refused("DescribeSecurityGroupRestoration", **params)
        return found

    before = lab.rules(lab.group)
    classic = lab.create("classic", VpcId="", NetworkType="classic")
    assert code(lab.group) == "InvalidParameter"
    assert code("sg-none") == "InvalidSecurityGroupId.NotFound"
    assert code(classic) == "InvalidSecurityGroup.InvalidNetworkType"
    assert code(lab.peer, RestoreType="Half") == "InvalidParameter"
    assert code(lab.peer, DryRun="true") == "DryRunOperation"
    other = lab.cloud.add_account()
    for action in ("RestoreSecurityGroup", "DescribeSecurityGroupRestoration"):
        with pytest.raises(ApiError) as caught:
            params: dict[str, object] = {"SecurityGroupId": lab.group, "SourceSecurityGroupId": lab.peer}
            lab.cloud.call(action, params, version=HOST, account_id=other)
        assert caught.value.code == "InvalidSecurityGroupId.NotFound"
    many = {f"Permissions.{n}.{k}": v for n in range(1, 98) for k, v in _port(n).items()}
    lab.cloud.call("AuthorizeSecurityGroup", {"SecurityGroupId": lab.peer, **many})
    assert code(lab.peer, RestoreType="Partial") == "AuthorizationLimitExceed"
    assert lab.rules(lab.group) == before
