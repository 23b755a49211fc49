"""`ecsctl image convert`: what it hands over and asks for, and that nothing is left when the agent refuses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from agent.api.edge.files import FileDoor
from agent.jobs.open_files import OpenFiles
from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, error


@pytest.fixture
def door(setting) -> Iterator[OpenFiles]:
    """What was handed over at a door beside the peer's socket."""
    loop, open_files = asyncio.new_event_loop(), OpenFiles()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    served = FileDoor(open_files, setting.directory / "files.sock", "")
    asyncio.run_coroutine_threadsafe(served.start(), loop).result(10)
    yield open_files
    asyncio.run_coroutine_threadsafe(served.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_image_convert(peer: Peer, ecsctl, setting, door: OpenFiles) -> None:
    source, target = setting.directory / "disk.vmdk", setting.directory / "disk.vhd"
    source.write_bytes(b"source")

    def converted(parameters: dict[str, str]) -> dict[str, str]:
        with door.opened(parameters["Source"]) as reading, door.opened(parameters["Target"]) as writing:
            assert reading is not None
            assert writing is not None
            assert (reading.name, writing.name) == ("disk.vmdk", "disk.vhd")
            with open(writing.descriptor, "wb", closefd=False) as stream:
                stream.write(b"converted")
        return {"JobId": "task-1"}

    peer.answers |= {"ConvertImageFile": converted, "DescribeJobs": recorded.jobs(recorded.job("Succeeded"))}
    ecsctl("image", "convert", str(source), str(target))
    assert target.read_bytes() == b"converted"
    asked = peer.parameters("ConvertImageFile")
    assert (asked["TargetFormat"], "SourceFormat" in asked) == ("vhd", False)
    assert "is there already" in ecsctl("image", "convert", str(source), str(target), status=1).stderr
    peer.answers["ConvertImageFile"] = error(400, "InvalidParameter", "no")
    ecsctl("image", "convert", str(source), str(target), "--force", "-f", "vmdk", "-O", "raw", status=1)
    assert peer.parameters("ConvertImageFile")["SourceFormat"] == "vmdk"
    assert target.read_bytes() == b"converted"
    assert not [path for path in setting.directory.iterdir() if path.name.startswith(".")]
