"""`ecsctl image pull`, `refresh` and `ls --catalogue`."""

from __future__ import annotations

from typing import Any

from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer


def recipe(image_id: str, *, since: str = "", kind: str = "download") -> dict[str, Any]:
    return {"ImageId": image_id, "Kind": kind, "Available": bool(since), "CreationTime": since, "DefaultUser": "distro"}


def catalogue(*recipes: dict[str, Any]) -> dict[str, Any]:
    return {"Recipes": {"Recipe": list(recipes)}}


def test_pull(peer: Peer, ecsctl) -> None:
    running = recorded.job("Running", Step="download", Message="downloading, 12 of 340 MiB", Progress=3)
    peer.answers |= {
        "PullImage": {"ImageId": "distro_1_x64", "JobId": "j-7"},
        "DescribeJobs": [recorded.jobs(running), recorded.jobs(recorded.job("Succeeded"))],
    }
    assert "12 of 340 MiB" in ecsctl("image", "pull", "distro_1_x64").stderr
    peer.answers["DescribeJobs"] = recorded.jobs(recorded.job("Cancelled", Message="cancelled on request"))
    cancelled = ecsctl("image", "pull", "distro_1_x64", status=1)
    assert "download of distro_1_x64 failed: cancelled on request" in cancelled.stderr
    peer.answers["PullImage"] = {"ImageId": "distro_1_x64", "JobId": ""}
    assert "here already (--force" in ecsctl("image", "pull", "distro_1_x64").stderr


def test_refresh_says_what_is_new(peer: Peer, ecsctl) -> None:
    before = (recipe("a", since="T1"), recipe("b", since="T1"), recipe("c"))
    after = (recipe("a", since="T2"), recipe("b", since="T1"), recipe("c"))
    peer.answers |= {
        "RefreshImage": lambda params: {"ImageId": params["ImageId"], "JobId": "j-7"},
        "DescribeJobs": recorded.jobs(recorded.job("Succeeded")),
        "DescribeCatalogue": [catalogue(*before), catalogue(*after)],
    }
    assert ecsctl("image", "refresh", "--all").stderr.splitlines()[-2:] == ["a: new", "b: up to date"]
    assert peer.actions().count("RefreshImage") == 2
    assert "or --all" in ecsctl("image", "refresh", status=2).stderr


def test_what_fails_does_not_keep_others_from_being_refreshed(peer: Peer, ecsctl) -> None:
    failed = recorded.job("Failed", Message="cannot download https://d.test/SUMS: the server says 404 Not Found")
    peer.answers |= {
        "RefreshImage": {"ImageId": "a", "JobId": "j-7"},
        "DescribeJobs": [recorded.jobs(failed), recorded.jobs(recorded.job("Succeeded"))],
        "DescribeCatalogue": catalogue(recipe("a", since="T1"), recipe("b", since="T1")),
    }
    result = ecsctl("image", "refresh", "a", "b", status=1)
    assert "404 Not Found" in result.stderr
    assert "b: up to date" in result.stderr
    assert "not refreshed: a" in result.stderr


def test_the_catalogue_as_a_table(peer: Peer, ecsctl) -> None:
    peer.answers["DescribeCatalogue"] = catalogue(recipe("a", since="T1"), recipe("c", kind="build"))
    lines = ecsctl("image", "ls", "--catalogue").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["a", "download"], ["c", "build"]]
