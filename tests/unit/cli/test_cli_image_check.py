"""`ecsctl image check`: what it sends, and how a report reads."""

from __future__ import annotations

import json

from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, listing

ITEMS = [
    {"Name": "Format", "Title": "file format", "Result": "Ok", "Value": "raw", "Advice": ""},
    {"Name": "Fstab", "Title": "/etc/fstab", "Result": "Failed", "Value": "/data", "Advice": "Take it out."},
]


def _answer(peer: Peer, items: list[dict[str, str]], result: str) -> None:
    peer.answers |= {
        "CheckImage": {"JobId": "t-1"},
        "DescribeJobs": recorded.jobs(recorded.job("Succeeded", JobId="t-1", Kind="image.check")),
        "DescribeImages": listing("Images.Image", [{"ImageId": "m-1", "ImageName": "mine"}]),
        "DescribeImageCheck": {"Result": result, "Platform": "Debian", "Items": {"Item": items}},
    }


def test_failed_items_come_with_advice_and_a_status(peer: Peer, ecsctl) -> None:
    _answer(peer, ITEMS, "Failed")
    done = ecsctl("image", "check", "oss://files/disk.raw", "-f", "raw", status=1)
    assert peer.parameters("CheckImage") | {"RegionId": ""} == {
        "OSSObject": "oss://files/disk.raw",
        "Format": "raw",
        "RegionId": "",
    }
    assert [line.split("  ")[0] for line in done.stdout.splitlines()] == ["ITEM", "file format", "/etc/fstab"]
    assert "/etc/fstab: Take it out." in done.stderr
    assert "--platform 'Debian'" in done.stderr
    assert "1 item has failed" in done.stderr


def test_an_image_is_named_and_the_whole_report_is_there_as_json(peer: Peer, ecsctl) -> None:
    _answer(peer, ITEMS[:1], "Ok")
    done = ecsctl("image", "check", "mine", "-o", "json")
    assert json.loads(done.stdout)["Items"]["Item"] == ITEMS[:1]
    assert peer.parameters("CheckImage")["ImageId"] == "m-1"


def test_a_file_that_is_not_there_is_said_before_anything_else(peer: Peer, ecsctl, tmp_path) -> None:
    done = ecsctl("image", "check", str(tmp_path / "none.raw"), status=5)
    assert "cannot hand files to the agent" in done.stderr
    assert peer.actions() == []
