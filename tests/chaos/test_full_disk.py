"""Every operation on disks and snapshots that needs room on the host's disk, where there is none: it fails with a clear
line, leaves nothing half-done, and works when there is room again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent import HOST, AgentProcess, CallFailed, running_agent
from tests.support.invariants import lasting_violations
from tests.support.libvirtd import PrivateLibvirt
from tests.support.small_disk import fill, small_disk
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

SMALL = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small", "Password": "Passw0rd!x"}
# More than the agent asks for before it accepts a call, and less than a layer and the journal take.
LEFT_BYTES = 430_000


class Crowded:
    """An agent on a small disk, with a stopped instance and a snapshot of its system disk."""

    def __init__(self, agent: AgentProcess, disk: Path) -> None:
        self.agent, self.disk = agent, disk
        self.instance_id = agent.call("CreateInstance", **SMALL)["InstanceId"]
        agent.wait_status(self.instance_id, "Stopped")
        agent.wait_jobs()
        self.disk_id = self.disks()[0]["DiskId"]
        self.snapshot_id = agent.call("CreateSnapshot", DiskId=self.disk_id)["SnapshotId"]
        agent.wait_jobs()

    def disks(self) -> list[dict[str, Any]]:
        return self.agent.call("DescribeDisks", PageSize=100)["Disks"]["Disk"]

    def newest_jobs(self, count: int) -> list[dict[str, Any]]:
        return self.agent.call("DescribeJobs", HOST, PageSize=count)["Jobs"]["Job"]

    def state(self) -> Any:
        """What callers see; failed snapshots, which say why, apart."""
        found = self.agent.call("DescribeSnapshots", PageSize=100)["Snapshots"]["Snapshot"]
        snapshots = [(one["SnapshotId"], one["Status"]) for one in found if one["Status"] != "failed"]
        disks = [(one["DiskId"], one["Status"], one["Size"], one["ImageId"]) for one in self.disks()]
        return sorted(snapshots), sorted(disks), self.agent.instance(self.instance_id)


@pytest.fixture(scope="module")
def crowded(libvirtd: PrivateLibvirt, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowded]:
    directory = tmp_path_factory.mktemp("crowded")
    with (
        small_disk(directory / "small", 96 * 1024) as disk,
        running_agent(libvirtd.uri, data_dir=str(disk / "data"), disk_reserve_gib=0) as agent,
    ):
        (agent.root / "data").symlink_to(disk / "data")
        agent.ensure_tiny_image()
        yield Crowded(agent, disk)


Call = Callable[[Crowded], tuple[str, dict[str, Any]]]
CALLS: dict[str, Call] = {
    "create": lambda c: ("CreateDisk", {"ZoneId": "local-a", "Size": 20, "DiskCategory": "cloud_efficiency"}),
    "create from a snapshot": lambda c: (
        "CreateDisk",
        {"ZoneId": "local-a", "SnapshotId": c.snapshot_id, "DiskCategory": "cloud_efficiency", "Size": 20},
    ),
    "snapshot": lambda c: ("CreateSnapshot", {"DiskId": c.disk_id}),
    "reinit": lambda c: ("ReInitDisk", {"DiskId": c.disk_id, "Password": "Passw0rd!y"}),
    "roll back": lambda c: ("ResetDisk", {"DiskId": c.disk_id, "SnapshotId": c.snapshot_id}),
    "replace": lambda c: (
        "ReplaceSystemDisk",
        {"InstanceId": c.instance_id, "ImageId": "tiny_x64", "Password": "Passw0rd!y"},
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_without_room_nothing_is_half_done(crowded: Crowded, name: str) -> None:
    agent = crowded.agent
    before = crowded.state()
    action, params = CALLS[name](crowded)
    filler = fill(crowded.disk, LEFT_BYTES)
    try:
        agent.call(action, **params)
        wait_for("the end of the job", lambda: crowded.newest_jobs(1)[0]["Status"] in ("Failed", "Succeeded"))
        [job] = [job for job in crowded.newest_jobs(3) if job["Status"] == "Failed"][:1]
        assert "space" in job["Message"]
        assert "Traceback" not in job["Message"]
    finally:
        filler.unlink()
    agent.wait_jobs()
    assert crowded.state() == before
    assert lasting_violations(agent) == []
    # And refused at once when there is not even so much.
    filler = fill(crowded.disk, LEFT_BYTES // 10)
    try:
        if name not in ("reinit", "roll back"):  # which give up as much as they take
            with pytest.raises(CallFailed, match="no room") as refused:
                agent.call(action, **params)
            assert refused.value.code == "OperationDenied.NoStock"
    finally:
        filler.unlink()
    assert crowded.state() == before


def test_with_room_the_same_calls_work(crowded: Crowded) -> None:
    for name in ("create", "create from a snapshot", "snapshot", "roll back", "reinit", "replace"):
        action, params = CALLS[name](crowded)
        crowded.agent.call(action, **params)
        crowded.agent.wait_jobs()
        assert crowded.newest_jobs(1)[0]["Status"] == "Succeeded", name
    assert crowded.disks()[0]["DiskId"] != crowded.disk_id
    assert lasting_violations(crowded.agent) == []
