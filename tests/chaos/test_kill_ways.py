"""SIGKILL of the agent after every step of adopting a guest, of copying an image, on either side, and of cloning a
security group to another region, when all is done and nothing is journalled: the next agent finishes it."""

from __future__ import annotations

import contextlib
import http.client
import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

import agent.jobs.kinds  # noqa: F401  (registers every kind)
from agent.app import CRASH_VARIABLE
from agent.jobs.model import KINDS
from tests.support.agent import HOST, AgentProcess
from tests.support.invariants import lasting_violations
from tests.support.libvirtd import PrivateLibvirt
from tests.support.regions import THERE, Regions, contents, shown, two_regions

pytestmark = [pytest.mark.vm, pytest.mark.timeout(180)]

ADOPT, COPY, RECEIVE, CLONE = "image.adopt", "image.copy", "image.receive", "security-group.clone"
SSH = {"IpProtocol": "tcp", "PortRange": "22/22", "SourceCidrIp": "10.0.0.0/8", "Description": "log in"}


def _steps(*kinds: str) -> list[tuple[str, str]]:
    return [(kind, step.name) for kind in kinds for step in KINDS[kind].steps]


@pytest.fixture(scope="module")
def lab(libvirtd: PrivateLibvirt) -> Iterator[tuple[Regions, str]]:
    """Two regions whose agents can be killed, and an image here."""
    with two_regions(libvirtd.uri) as regions:
        source = regions.add_image("source", 2)
        for process in (regions.here, regions.there):
            process.stop()
            process.environment[CRASH_VARIABLE] = str(process.root / "crash-at")
            process.start()
        yield regions, source


def _killed(victim: AgentProcess, at: str, caller: AgentProcess, action: str, version: str, **params: Any) -> None:
    """The action, asked of `caller`, kills the victim there; then its next agent runs."""
    file = victim.root / "crash-at"
    file.write_text(at)
    with contextlib.suppress(OSError, http.client.HTTPException):  # the agent may die before it has answered
        caller.call(action, version, **params)
    victim.died()
    file.unlink()
    victim.start()


@pytest.mark.parametrize(("kind", "step"), _steps(ADOPT))
def test_a_guest_is_adopted_all_the_same(lab: tuple[Regions, str], kind: str, step: str) -> None:
    here = lab[0].here
    path = here.root / "imports" / "adopted.raw"
    path.write_bytes(os.urandom(1 << 20))
    name = f"adopted-{uuid.uuid4()}"
    _killed(here, f"{kind}:{step}:after", here, "AdoptGuest", HOST, File=[str(path)], ImageName=name)
    here.wait_jobs()
    [image] = here.call("DescribeImages", ImageName=name)["Images"]["Image"]
    assert (image["Status"], len(contents(here, image["ImageId"]))) == ("Available", 1)
    here.call("DeleteImage", ImageId=image["ImageId"])
    here.wait_jobs()
    assert lab[0].leftovers() == []
    assert lasting_violations(here) == []


@pytest.mark.parametrize(("kind", "step"), _steps(COPY, RECEIVE))
def test_an_image_is_copied_all_the_same(lab: tuple[Regions, str], kind: str, step: str) -> None:
    regions, source = lab
    victim = regions.here if kind == COPY else regions.there
    params = {"ImageId": source, "DestinationRegionId": THERE, "ClientToken": str(uuid.uuid4())}
    _killed(victim, f"{kind}:{step}:after", regions.here, "CopyImage", "2014-05-26", **params)
    copied = regions.here.call("CopyImage", **params)["ImageId"]  # the same token: that of the first call
    regions.wait_usable(copied)
    assert regions.job(source)["Status"] == "Succeeded"
    assert contents(regions.there, copied) == contents(regions.here, source)
    assert shown(regions.there, copied)["Progress"] == "100%"
    regions.there.call("DeleteImage", ImageId=copied)
    regions.there.wait_jobs()
    assert regions.leftovers() == []
    assert lasting_violations(regions.there) == []


@pytest.mark.parametrize(("kind", "step"), _steps(CLONE))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_security_group_is_cloned_once_all_the_same(
    lab: tuple[Regions, str], kind: str, step: str, when: str
) -> None:
    here, there = lab[0].here, lab[0].there
    name = f"cloned-{uuid.uuid4()}"
    group = here.call("CreateSecurityGroup", SecurityGroupName=name)["SecurityGroupId"]
    here.call("AuthorizeSecurityGroup", SecurityGroupId=group, **SSH)
    params = {"SecurityGroupId": group, "DestinationRegionId": THERE, "ClientToken": str(uuid.uuid4())}
    _killed(here, f"{kind}:{step}:{when}", here, "CloneSecurityGroup", HOST, **params)
    made = here.call("CloneSecurityGroup", HOST, **params)["SecurityGroupId"]
    here.wait_jobs()
    [shown] = there.call("DescribeSecurityGroups", SecurityGroupName=name)["SecurityGroups"]["SecurityGroup"]
    assert shown["SecurityGroupId"] == made
    [rule] = there.call("DescribeSecurityGroupAttribute", SecurityGroupId=made)["Permissions"]["Permission"]
    assert (rule["PortRange"], rule["SourceCidrIp"], rule["Description"]) == ("22/22", "10.0.0.0/8", "log in")
    there.call("DeleteSecurityGroup", SecurityGroupId=made)


def test_nothing_is_left_of_a_clone_that_the_other_region_refuses(lab: tuple[Regions, str]) -> None:
    here, there = lab[0].here, lab[0].there
    group = here.call("CreateSecurityGroup")["SecurityGroupId"]
    before = there.call("DescribeSecurityGroups")["TotalCount"]
    params = {"SecurityGroupId": group, "DestinationRegionId": THERE, "VpcId": "vpc-none"}
    answer = here.call("CloneSecurityGroup", HOST, **params)
    here.wait_jobs()
    [job] = here.call("DescribeJobs", HOST, JobId=[answer["JobId"]])["Jobs"]["Job"]
    assert job["Status"] == "Failed"
    assert f'the region {THERE} refused: InvalidVpcId.NotFound: The specified VpcId "vpc-none"' in job["Message"]
    assert there.call("DescribeSecurityGroups")["TotalCount"] == before
