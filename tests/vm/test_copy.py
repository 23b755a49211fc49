"""Images are copied between two agents: nothing is lost on the way, whatever breaks, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.agent import HOST, CallFailed
from tests.support.libvirtd import PrivateLibvirt
from tests.support.regions import MIB, THERE, Regions, contents, shown, two_regions
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def regions(libvirtd: PrivateLibvirt) -> Iterator[Regions]:
    with two_regions(libvirtd.uri) as found:
        yield found


def test_a_copy_is_the_same_image(regions: Regions) -> None:
    here, there = regions.here, regions.there
    found = here.call("DescribeRegions")["Regions"]["Region"]
    assert [region["RegionId"] for region in found] == ["local", THERE]
    source = regions.add_image("whole", 3, 2)
    copied = regions.copy(source, DestinationImageName="copied", DestinationDescription="of here")
    regions.wait_usable(copied)
    image = shown(there, copied)
    assert (image["ImageName"], image["Description"], image["IsCopied"]) == ("copied", "of here", True)
    mappings = image["DiskDeviceMappings"]["DiskDeviceMapping"]
    assert [(one["Device"], one["Size"], one["Type"]) for one in mappings] == [
        ("/dev/xvda", "1", "system"),
        ("/dev/xvdb", "1", "data"),
    ]
    assert contents(there, copied) == contents(here, source)
    assert regions.job(source)["Status"] == "Succeeded"
    assert regions.leftovers() == []


def test_a_broken_line_and_agents_that_die_cost_no_more_than_a_piece(regions: Regions) -> None:
    here, there, line = regions.here, regions.there, regions.line
    source = regions.add_image("large", 40)
    before, line.cut_at = line.sent, line.sent + 20 * MIB
    copied = regions.copy(source)
    wait_for("the break", lambda: line.cut_at == 0, 60)
    there.kill()
    wait_for("a try that fails", lambda: "cannot reach" in regions.job(source)["Message"], 60)
    here.kill()
    here.start()
    there.start()
    regions.wait_usable(copied)
    assert contents(there, copied) == contents(here, source)
    assert line.sent - before < 41 * MIB + 3 * 9 * MIB  # what a break costs is the piece that was on its way
    assert regions.leftovers() == []


def test_cancelled_here_or_there_nothing_is_left(regions: Regions) -> None:
    here, there, line = regions.here, regions.there, regions.line
    source = regions.add_image("cancelled", 40)
    for cancel in (
        lambda copied: here.call("CancelTask", TaskId=regions.job(source)["JobId"]),
        lambda copied: there.call("CancelCopyImage", ImageId=copied),
    ):
        line.cut_at = line.sent + 12 * MIB
        copied = regions.copy(source)
        wait_for("the break", lambda: line.cut_at == 0, 60)
        cancel(copied)
        wait_for("the end here", lambda: regions.job(source)["Status"] in ("Cancelled", "Failed"), 60)
        wait_for("the end there", lambda copied=copied: shown(there, copied) == {}, 60)
        wait_for("uploads that are swept", lambda: _swept(regions), 60)
    assert "was cancelled, or deleted" in regions.job(source)["Message"]
    with pytest.raises(CallFailed) as refused:
        there.call("CancelCopyImage", ImageId=copied)
    assert refused.value.code == "InvalidImageId.NotFound"
    here.call("DeleteImage", ImageId=source)


def _swept(regions: Regions) -> bool:
    return regions.leftovers() == []


def test_what_is_wrong_is_said_at_once_or_by_the_job(regions: Regions) -> None:
    source = regions.add_image("refused", 1)
    for region, code in (("local", "InvalidDestinationRegionId.NotSupported"), ("nowhere", "InvalidRegionId.NotFound")):
        with pytest.raises(CallFailed) as refused:
            regions.here.call("CopyImage", ImageId=source, DestinationRegionId=region)
        assert refused.value.code == code
    first = regions.copy(source, DestinationImageName="taken")
    regions.wait_usable(first)
    regions.copy(source, DestinationImageName="taken")
    regions.here.wait_jobs()
    failed = regions.job(source)
    assert (failed["Status"], "InvalidImageName.Duplicated" in failed["Message"]) == ("Failed", True)
    jobs = regions.there.call("DescribeJobs", HOST, ResourceId=[first])["Jobs"]["Job"]
    assert [job["Kind"] for job in jobs] == ["image.receive"]
    assert regions.leftovers() == []
