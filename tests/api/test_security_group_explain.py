"""Which rule decides about a flow, over the API (SPEC F2-F5)."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import pytest

from agent.api.edge.registry import HOST
from agent.core.errors import ApiError
from agent.core.protocols import Network
from agent.core.specs import FlowDecision, FlowSpec
from agent.drivers.network.explain import explain
from agent.drivers.network.filter import translate
from agent.jobs.translate_filter import FilterSpecs
from agent.store.schema import Instance, NetworkInterface, PublicAddress, SecurityGroup, SecurityGroupRule, Vpc
from tests.support.cloud import START, Cloud

WEB_IP, DB_IP, PUBLIC = "172.16.0.10", "172.16.0.20", "100.125.0.7"


class Filtering:
    """The network as far as its filter: what the store wants is in force."""

    def __init__(self, cloud: Cloud) -> None:
        self._store, self._config = cloud.store, cloud.services.config

    def explain(self, vpc_id: str, flow: FlowSpec) -> list[FlowDecision]:
        with self._store.read() as session:
            return explain(translate(FilterSpecs().read(session, vpc_id, self._config))[0], flow, "up0")


@dataclasses.dataclass
class Site:
    cloud: Cloud
    web: str
    db: str
    web_group: str
    db_group: str

    def ask(self, **params: object) -> dict[str, Any]:
        return self.cloud.call("ExplainSecurityGroups", params, version=HOST)

    def sides(self, **params: object) -> list[tuple[str, str, str]]:
        """(role, verdict, because) where there is one answer for all sources."""
        [one] = self.ask(**params)["Explanations"]["Explanation"]
        return [(side["Role"], side["Verdict"], side["Because"]) for side in one["Sides"]["Side"]]

    def authorize(self, group: str, way: str = "", **params: object) -> None:
        self.cloud.call(f"AuthorizeSecurityGroup{way}", {"SecurityGroupId": group, **params})

    def code_of(self, **params: object) -> tuple[str, str]:
        with pytest.raises(ApiError) as caught:
            self.ask(**params)
        return caught.value.code, caught.value.message

    def bind(self, ip: str, instance_id: str) -> None:
        with self.cloud.caller() as caller:
            [interface] = caller.session.get_one(Instance, instance_id).interfaces
            row = PublicAddress(id=f"eip-{ip}", kind="eip", ip=ip, bandwidth_mbps=5, created_at=START)
            row.account_id, row.interface_id, row.private_ip = caller.account_id, interface.id, None
            caller.session.add(row)


@pytest.fixture
def site(cloud: Cloud) -> Site:
    """Two instances of one VPC, each in a group without rules."""
    vpc_id, vswitch_id = cloud.default_vswitch()
    groups = [
        cloud.call("CreateSecurityGroup", {"VpcId": vpc_id, "SecurityGroupName": name})["SecurityGroupId"]
        for name in ("web", "db")
    ]
    cloud.services = dataclasses.replace(cloud.services, network=cast(Network, Filtering(cloud)))
    web, db = (
        cloud.add_instance(vswitch_id, [group], ip=ip) for group, ip in zip(groups, (WEB_IP, DB_IP), strict=True)
    )
    return Site(cloud, web, db, *groups)


def test_both_sides_are_told_with_the_rule_that_decides(site: Site) -> None:
    asked: dict[str, object] = {"SourceInstanceId": site.web, "DestInstanceId": site.db, "Port": 3306}
    out = ("sender", "Accept", "no rule of its groups forbids it")
    assert site.sides(**asked) == [out, ("receiver", "Drop", "no rule of its groups lets it in")]
    rule = {"IpProtocol": "tcp", "PortRange": "3306/3310", "Priority": 4}
    site.authorize(site.db_group, **rule, SourceGroupId=site.web_group)
    because = 'rule of "db" at priority 4: Accept TCP 3306/3310 from "web"'
    assert site.sides(**asked) == [out, ("receiver", "Accept", because)]
    by_address = {"SourceIp": WEB_IP, "DestIp": DB_IP, "Port": 3306}
    assert site.ask(**by_address) == site.ask(**asked)
    site.authorize(site.db_group, **rule, SourceCidrIp=f"{WEB_IP}/32", Policy="drop")
    [one] = site.ask(**asked)["Explanations"]["Explanation"]
    receiver = one["Sides"]["Side"][1]
    assert (one["Verdict"], one["Sources"]["Source"]) == ("Drop", [WEB_IP])
    known = site.cloud.call("DescribeSecurityGroupAttribute", {"SecurityGroupId": site.db_group})
    [drop] = [one for one in known["Permissions"]["Permission"] if one["Policy"] == "Drop"]
    assert receiver.pop("Trail")["Step"][-1].startswith(f"s_{site.db_group}_i_4_drop 1: ")
    assert receiver == {
        "Role": "receiver",
        "Address": DB_IP,
        "InstanceId": site.db,
        "InstanceName": "test",
        "NicType": "intranet",
        "SecurityGroupIds": {"SecurityGroupId": [site.db_group]},
        "Verdict": "Drop",
        "Reason": "rule",
        "Because": f'rule of "db" at priority 4: Drop TCP 3306/3310 from {WEB_IP}/32',
        "SecurityGroupId": site.db_group,
        "SecurityGroupName": "db",
        "SecurityGroupRuleId": drop["SecurityGroupRuleId"],
        "Priority": "4",
    }


def test_from_and_to_outside(site: Site) -> None:
    site.authorize(site.db_group, IpProtocol="icmp", PortRange="-1/-1", SourceCidrIp="198.51.100.0/24")
    answer = site.ask(DestInstanceId=site.db, IpProtocol="ICMP")
    found = answer["Explanations"]["Explanation"]
    assert [(one["Sources"]["Source"], one["Verdict"]) for one in found] == [
        (["198.51.100.0/24"], "Accept"),
        ([], "Drop"),
    ]
    assert "only a forwarded port leads there" in answer["Notes"]["Note"][0]
    site.bind(PUBLIC, site.db)
    answer = site.ask(SourceIp="198.51.100.7", DestIp=PUBLIC, IpProtocol="icmp")
    assert [one["Verdict"] for one in answer["Explanations"]["Explanation"]] == ["Accept"]
    assert answer["Notes"]["Note"] == []
    site.authorize(site.web_group, "Egress", IpProtocol="all", PortRange="-1/-1", DestCidrIp="8.8.8.8", Policy="drop")
    refused = ("sender", "Drop", 'rule of "web" at priority 1: Drop ALL to 8.8.8.8')
    assert site.sides(SourceInstanceId=site.web, DestIp="8.8.8.8", Port=53) == [refused]
    mail = ("sender", "Drop", "mail to the outside (tcp 25) is off on this host")
    assert site.sides(SourceInstanceId=site.web, DestIp="8.8.4.4", Port=25) == [mail]
    [forged, _] = site.sides(SourceInstanceId=site.web, SourceIp="8.8.4.4", DestInstanceId=site.db, Port=25)
    assert forged == ("sender", "Drop", "that is not an address of the instance")


def test_from_one_vpc_to_another_it_goes_by_public_addresses(site: Site) -> None:
    cloud = site.cloud
    vpc_id = cloud.call("CreateVpc", {"CidrBlock": "172.16.0.0/16"})["VpcId"]
    where = {"VpcId": vpc_id, "CidrBlock": "172.16.0.0/24", "ZoneId": "local-a"}
    group = cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"]
    far = cloud.add_instance(cloud.call("CreateVSwitch", where)["VSwitchId"], [group], ip=DB_IP)
    site.authorize(group, IpProtocol="tcp", PortRange="80/80", SourceCidrIp=f"{PUBLIC}/32")
    asked: dict[str, object] = {"SourceInstanceId": site.web, "DestInstanceId": far, "Port": 80}
    answer = site.ask(**asked)  # as whatever the host makes of it
    assert [one["Verdict"] for one in answer["Explanations"]["Explanation"]] == ["Accept", "Drop"]
    assert answer["Explanations"]["Explanation"][0]["Sources"]["Source"] == [PUBLIC]
    site.bind(PUBLIC, site.web)
    assert [side[:2] for side in site.sides(**asked)] == [("sender", "Accept"), ("receiver", "Accept")]
    assert site.code_of(DestIp=DB_IP, Port=80)[0] == "InvalidParameter"  # in both VPCs
    near = site.ask(SourceInstanceId=site.web, DestIp=DB_IP, Port=80)["Explanations"]["Explanation"]
    assert near[0]["Sides"]["Side"][1]["InstanceId"] == site.db


def test_in_the_classic_network_other_accounts_groups_stay_theirs(site: Site) -> None:
    vpc_id, _ = site.cloud.default_vswitch()
    other = site.cloud.add_account()
    with site.cloud.store.write() as session:
        session.get_one(Vpc, vpc_id).is_classic = True
        session.get_one(Instance, site.db).account_id = other
        session.get_one(SecurityGroup, site.db_group).account_id = other
        session.query(NetworkInterface).filter_by(instance_id=site.db).one().account_id = other
    asked: dict[str, object] = {"SourceInstanceId": site.web, "DestIp": DB_IP, "Port": 80}
    [one] = site.ask(**asked)["Explanations"]["Explanation"]
    receiver = one["Sides"]["Side"][1]
    assert (one["Verdict"], receiver["Because"]) == ("Unknown", "another account's groups decide")
    assert not any(receiver[name] for name in ("InstanceId", "InstanceName", "SecurityGroupId", "SecurityGroupName"))
    assert (receiver["SecurityGroupIds"], receiver["Trail"]) == ({"SecurityGroupId": []}, {"Step": []})
    rule = SecurityGroupRule(
        id="sgr-1",
        group_id=site.web_group,
        direction="ingress",
        policy="Accept",
        protocol="ALL",
        port_range="-1/-1",
        peer_cidr=None,
        peer_group_id=site.db_group,
        nic_type="intranet",
        priority=1,
        created_at=START,
    )
    with site.cloud.store.write() as session:
        session.add(rule)
    [one] = site.ask(SourceIp=DB_IP, DestInstanceId=site.web, Port=80)["Explanations"]["Explanation"]
    because = f'rule of "web" at priority 1: Accept ALL from {site.db_group}'
    assert [side["Because"] for side in one["Sides"]["Side"]] == ["another account's groups decide", because]


def test_what_cannot_be_asked(site: Site) -> None:
    foreign = site.cloud.add_account()
    with pytest.raises(ApiError) as caught:
        site.cloud.call(
            "ExplainSecurityGroups", {"DestInstanceId": site.db, "Port": 1}, version=HOST, account_id=foreign
        )
    assert caught.value.code == "InvalidInstanceId.NotFound"
    for params, code, why in (
        ({"Port": 1}, "InvalidParameter", "give DestInstanceId or DestIp"),
        ({"DestInstanceId": site.db}, "InvalidParameter", "1 to 65535"),
        ({"DestInstanceId": site.db, "Port": 65536}, "InvalidParameter", "1 to 65535"),
        ({"DestInstanceId": site.db, "IpProtocol": "gre", "Port": 1}, "InvalidParameter", "gre has no ports"),
        ({"DestInstanceId": site.db, "IpProtocol": "all"}, "InvalidIpProtocol.ValueNotSupported", "tcp, udp"),
        ({"DestIp": "1.2.3", "Port": 1}, "InvalidIpAddress.Malformed", "1.2.3"),
        ({"SourceIp": "8.8.8.8", "DestIp": "9.9.9.9", "Port": 1}, "InvalidParameter", "of an instance of yours"),
        ({"SourceIp": DB_IP, "DestInstanceId": site.db, "Port": 1}, "InvalidParameter", "reaches itself"),
    ):
        found = site.code_of(**cast(dict[str, object], params))
        assert found[0] == code
        assert why in found[1]
