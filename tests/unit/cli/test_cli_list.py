"""Listing, showing, names where ids are expected, output formats."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.support import cli_answers as recorded
from tests.support.cli_peer import FORBIDDEN, Peer, error, listing


@pytest.fixture
def three(peer: Peer) -> Peer:
    found = [
        recorded.instance(recorded.WEB, "web"),
        recorded.instance(recorded.DATABASE, "データベース", "Stopped", Description="two\nlines\x1b[2J"),
        recorded.instance(recorded.TWIN, "web", "Pending", KeyPairName=""),
    ]
    peer.answers["DescribeInstances"] = listing("Instances.Instance", found)
    return peer


@pytest.mark.parametrize(
    "arguments",
    [["instance", "ls"], ["instance", "ls", "-o", "wide"], ["-o", "json", "instance", "ls", recorded.WEB]],
    ids=["instance-ls", "instance-ls-wide", "instance-ls-json"],
)
def test_lists_look_as_recorded(three: Peer, ecsctl, golden, request, arguments: list[str]) -> None:
    golden(request.node.callspec.id, ecsctl(*arguments).stdout)


def test_names_one_a_line(three: Peer, ecsctl) -> None:
    assert ecsctl("instance", "ls", "-o", "name").stdout == "web\nデータベース\nweb\n"


def test_yaml_is_the_same_data_as_json(three: Peer, ecsctl) -> None:
    as_json = json.loads(ecsctl("instance", "ls", "-o", "json").stdout)
    assert yaml.safe_load(ecsctl("instance", "ls", "-o", "yaml").stdout) == as_json


def test_query_prints_scalars_bare_and_the_rest_as_json(three: Peer, ecsctl) -> None:
    bare = ecsctl("instance", "ls", "--query", "[?Status=='Running'].InstanceId").stdout
    assert bare == recorded.WEB + "\n"
    nested = ecsctl("instance", "ls", "--query", "[].{id: InstanceId}").stdout
    assert json.loads(nested)[1] == {"id": recorded.DATABASE}
    assert json.loads(ecsctl("instance", "ls", "-o", "json", "--query", "length(@)").stdout) == 3


def test_a_wrong_query_is_a_usage_error(three: Peer, ecsctl) -> None:
    assert "--query" in ecsctl("instance", "ls", "--query", "[", status=2).stderr


def test_all_pages_are_read(peer: Peer, ecsctl) -> None:
    many = [recorded.instance(f"i-{number:020d}", f"vm-{number}") for number in range(250)]
    peer.answers["DescribeInstances"] = listing("Instances.Instance", many)
    assert len(ecsctl("instance", "ls", "-o", "name").stdout.splitlines()) == 250
    assert peer.actions().count("DescribeInstances") == 5


def test_an_ambiguous_name_lists_the_candidates(three: Peer, ecsctl) -> None:
    said = ecsctl("instance", "start", "web", status=1).stderr
    assert recorded.WEB in said
    assert recorded.TWIN in said
    assert "StartInstance" not in three.actions()


def test_a_name_nobody_has(three: Peer, ecsctl) -> None:
    assert "'nobody'" in ecsctl("instance", "show", "nobody", status=3).stderr


def test_an_id_is_taken_as_it_is(peer: Peer, ecsctl) -> None:
    peer.answers["StopInstance"] = {}
    ecsctl("instance", "stop", "--no-wait", recorded.WEB)
    assert peer.actions() == ["StopInstance"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (FORBIDDEN, 4),
        (error(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found."), 4),
        (error(404, "InvalidInstanceId.NotFound", "The specified InstanceId does not exist."), 3),
        (error(404, "InvalidAction.NotFound", "no such action"), 1),
        (error(403, "IncorrectInstanceStatus", "must be Running"), 1),
        (error(500, "InternalError", "broken"), 1),
    ],
)
def test_error_answers_become_exit_codes(peer: Peer, ecsctl, answer: tuple[int, dict], status: int) -> None:
    peer.answers["StopInstance"] = answer
    said = ecsctl("instance", "stop", "--no-wait", recorded.WEB, status=status).stderr
    assert said.startswith("Error: " + answer[1]["Code"])
    assert answer[1]["RequestId"] in said
    assert said.count("\n") == 1


def test_no_agent(ecsctl) -> None:
    said = ecsctl("instance", "ls", status=5).stderr
    assert "agent.sock" in said
    assert said.count("\n") == 1


def test_an_agent_that_is_none(peer: Peer, ecsctl, setting) -> None:
    peer.start(port=0)
    said = ecsctl("instance", "ls", "--endpoint", f"http://127.0.0.1:{peer.port}", status=4).stderr
    assert "access key" in said


@pytest.mark.parametrize("endpoint", ["nonsense", "unix://relative", "http://:99999", "ftp://host", "http://h:99999"])
def test_endpoints_that_are_none(ecsctl, endpoint: str) -> None:
    assert repr(endpoint) in ecsctl("instance", "ls", "--endpoint", endpoint, status=1).stderr


def test_usage_errors_name_the_help(ecsctl) -> None:
    assert "--help" in ecsctl("instance", "ls", "--nonsense", status=2).stderr
    assert "No such command" in ecsctl("instance", "fly", status=2).stderr


def test_other_nouns_list(peer: Peer, ecsctl) -> None:
    peer.answers |= {
        "DescribeVpcs": listing("Vpcs.Vpc", [{"VpcId": recorded.VPC_ID, "VpcName": "main", "IsDefault": True}]),
        "DescribeVSwitches": listing("VSwitches.VSwitch", [recorded.vswitch()]),
        "DescribeSecurityGroups": listing("SecurityGroups.SecurityGroup", [recorded.group(recorded.GROUP_ID, "web")]),
        "DescribeZones": {"Zones": {"Zone": [{"ZoneId": "local-a", "LocalName": "A"}]}},
        "DescribeInstanceTypes": {
            "InstanceTypes": {
                "InstanceType": [{"InstanceTypeId": "ecs.s1.small", "CpuCoreCount": 1, "MemorySize": 2.0}]
            }
        },
        "DescribeDisks": listing("Disks.Disk", [{"DiskId": "d-" + "a" * 20, "Type": "system", "Size": 20}]),
        "DescribeImages": listing("Images.Image", [{"ImageId": "debian_12_x64", "Status": "Available"}]),
        "DescribeKeyPairs": listing("KeyPairs.KeyPair", [{"KeyPairName": "main"}]),
        "DescribeJobs": recorded.jobs(recorded.job("Running")),
        "ListTagResources": {"TagResources": {"TagResource": [{"TagKey": "role", "ResourceId": recorded.WEB}]}},
    }
    names = {
        noun: ecsctl(noun, "ls", "-o", "name").stdout.strip()
        for noun in ("vpc", "vswitch", "security-group", "zone", "type", "disk", "image", "key-pair", "job")
    }
    assert names == {
        "vpc": "main",
        "vswitch": "default",
        "security-group": "web",
        "zone": "local-a",
        "type": "ecs.s1.small",
        "disk": "d-" + "a" * 20,
        "image": "debian_12_x64",
        "key-pair": "main",
        "job": "j-1",
    }
    assert ecsctl("region", "ls", "-o", "name").stdout == "local\n"
    assert ecsctl("tag", "ls", recorded.WEB, "-o", "name").stdout == "role\n"
    assert peer.versions["DescribeVpcs"] == "2016-04-28"
    assert peer.versions["DescribeJobs"] == "2026-11-01"


def test_host_check_says_what_helps_and_fails_with_a_problem(peer: Peer, ecsctl) -> None:
    def found(state: str) -> dict[str, object]:
        good = {"Subject": "uplink", "State": "ok", "What": "eth0", "Advice": ""}
        out = {"Subject": "out", "State": state, "What": "dropped by the chain FORWARD", "Advice": "let them pass"}
        return {"Checks": {"Check": [good, out]}}

    peer.answers["CheckHost"] = found("problem")
    shown = ecsctl("host", "check", status=1)
    assert shown.stdout.splitlines() == [
        "ok      uplink: eth0",
        "PROBLEM out: dropped by the chain FORWARD",
        "        -> let them pass",
    ]
    peer.answers["CheckHost"] = found("unknown")
    shown = ecsctl("host", "check", "-o", "json")
    assert (shown.returncode, json.loads(shown.stdout)[1]["State"]) == (0, "unknown")


def test_host_show(peer: Peer, ecsctl, golden) -> None:
    peer.answers["DescribeHost"] = {
        "Host": {
            "HostName": "lab",
            "Version": "0.1.0",
            "RegionId": "local",
            "ZoneId": "local-a",
            "Acceleration": {"Kind": "tcg", "Reason": "the probe guest ran no kernel code under KVM"},
            "Hypervisor": "libvirt 9.0.0, QEMU 7.2.0",
            "Uplink": "none",
            "Cpu": {"Total": 2, "Allocated": 3},
            "Memory": {"TotalMiB": 24000, "AvailableMiB": 20000, "AllocatedMiB": 2048},
            "Disk": {
                "TotalBytes": 100 << 30,
                "AvailableBytes": 50 << 30,
                "ReservedBytes": 5 << 30,
                "PromisedBytes": 140 << 30,
            },
            "Problems": {"Problem": ["libvirtd does not run", "no space"]},
            "Instances": {"Total": 3, "Running": 2},
        }
    }
    golden("host-show", ecsctl("host", "show").stdout)
    assert "agent:" in ecsctl("version").stdout
