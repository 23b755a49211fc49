"""Images on their way in and out of a real agent: converted in the jail, booted, exported, cancelled, refused."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent import HOST, REPOSITORY, AgentProcess, running_agent
from tests.support.libvirtd import PrivateLibvirt
from tests.support.ssh import login, run
from tests.support.transfers import begin, download, ended, objects, put, put_by_hand, upload

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

MIB = 1 << 20
PASSWORD = "Passw0rd!x"


@pytest.fixture(scope="module")
def agent(libvirtd: PrivateLibvirt) -> Iterator[AgentProcess]:
    with running_agent(libvirtd.uri) as process:
        process.ensure_tiny_image()
        process.call("CreateBucket", HOST, Bucket="files")
        yield process


@pytest.fixture(scope="module")
def tiny_raw(agent: AgentProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk of the tiny image as raw bytes."""
    source = next(path for path in (agent.root / "data/images").iterdir() if path.name.startswith("tiny_x64"))
    target = tmp_path_factory.mktemp("tiny") / "tiny.raw"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(source), str(target)], check=True)
    return target


def _import(agent: AgentProcess, key: str, **params: Any) -> tuple[str, dict[str, Any]]:
    """The image of one object, and its ended task."""
    made = agent.call("ImportImage", DiskDeviceMapping=[{"OSSBucket": "files", "OSSObject": key}], **params)
    return made["ImageId"], ended(agent, made["TaskId"])


def _images(agent: AgentProcess, image_id: str) -> list[dict[str, Any]]:
    every = "Creating,Waiting,Available,UnAvailable,CreateFailed"
    return agent.call("DescribeImages", ImageId=image_id, Status=every)["Images"]["Image"]


def _left(agent: AgentProcess, image_id: str) -> list[str]:
    """Files of an image, and whatever is still in staging."""
    data = agent.root / "data"
    return [p.name for p in (data / "images").iterdir() if image_id in p.name] + os.listdir(data / "staging")


def test_an_imported_image_boots_and_comes_out_as_it_went_in(agent: AgentProcess, tiny_raw: Path) -> None:
    vhd = tiny_raw.with_suffix(".vhd")
    options = ["-f", "raw", "-O", "vpc", "-o", "force_size=on"]
    subprocess.run(["qemu-img", "convert", *options, str(tiny_raw), str(vhd)], check=True)
    upload(agent, "files", "in/tiny.vhd", vhd.read_bytes())
    image_id, task = _import(agent, "in/tiny.vhd", ImageName="brought", Platform="Debian", OSType="linux")
    assert task["TaskStatus"] == "Finished", task
    [image] = _images(agent, image_id)
    assert (image["Status"], image["ImageName"], image["Platform"]) == ("Available", "brought", "Debian")
    instance_id = agent.run_instance(ImageId=image_id, Password=PASSWORD)
    agent.wait_status(instance_id, "Running")
    with login(agent, instance_id, password=PASSWORD) as guest:
        assert "tiny" in run(guest, "cat /etc/os-release").lower()
    agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
    wanted = hashlib.sha256(tiny_raw.read_bytes()).hexdigest()
    exported = agent.call("ExportImage", ImageId=image_id, OSSBucket="files", OSSPrefix="OUT")
    task = ended(agent, exported["TaskId"])
    assert task["TaskStatus"] == "Finished", task
    items = {
        item["Name"]: item["Value"]
        for item in task["OperationProgressSet"]["OperationProgress"][0]["RelatedItemSet"]["RelatedItem"]
    }
    assert items["OSSObject"].startswith(f"OUT-{image_id}-")
    assert hashlib.sha256(download(agent, "files", items["OSSObject"])).hexdigest() == wanted
    assert _left(agent, "no image") == []


def test_an_upload_goes_on_after_the_agent_was_killed(agent: AgentProcess) -> None:
    content = os.urandom(20 * MIB)
    sent = begin(agent, "files", "big", content)
    assert put(agent, sent["Path"], content, 0)[0] == 200
    agent.kill()
    agent.start()
    again = begin(agent, "files", "big", content)
    assert (again["UploadId"], again["Offset"]) == (sent["UploadId"], 8 * MIB)
    upload(agent, "files", "big", content)
    assert download(agent, "files", "big") == content
    agent.call("DeleteObject", HOST, Bucket="files", Object="big")


def test_a_cancelled_import_leaves_nothing(agent: AgentProcess) -> None:
    path = agent.root / "data/buckets/files/large.raw"
    with path.open("wb") as stream:  # enough for qemu-img to take a while
        for _ in range(40):
            stream.write(os.urandom(16 * MIB))
    made = agent.call("ImportImage", DiskDeviceMapping=[{"OSSBucket": "files", "OSSObject": "large.raw"}])
    agent.call("CancelTask", TaskId=made["TaskId"])
    assert ended(agent, made["TaskId"])["TaskStatus"] == "Deleted"
    assert _images(agent, made["ImageId"]) == []
    assert _left(agent, made["ImageId"]) == []
    path.unlink()


def test_what_cannot_be_an_image_fails_with_one_line(agent: AgentProcess) -> None:
    """Also one that would read a file of the host, and links that lead out of the bucket."""
    overlay = agent.root / "overlay.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", "/etc/shadow", str(overlay), "1G"]
    subprocess.run(create, check=True)
    put_by_hand(agent, "files", "overlay.qcow2", overlay.read_bytes())
    image_id, task = _import(agent, "overlay.qcow2")
    assert task["TaskStatus"] == "Failed"
    message = task["OperationProgressSet"]["OperationProgress"][0]["ErrorMsg"]
    assert message.startswith("cannot import oss://files/overlay.qcow2: "), message
    assert len(message.splitlines()) == 1
    [image] = _images(agent, image_id)
    assert (image["Status"], image["Usable"]) == ("CreateFailed", False)
    assert _left(agent, image_id) == []
    directory = agent.root / "data/buckets/files"
    (directory / "link").symlink_to("/etc/shadow")
    (directory / "out").symlink_to("/etc")
    os.mkfifo(directory / "pipe")
    for key in ("link", "out/shadow", "pipe"):
        with pytest.raises(Exception, match=r"InvalidOSSObject.NotFound"):
            _import(agent, key)
    assert not set(objects(agent, "files")) & {"link", "out/shadow", "pipe"}


# ------------------------------------------------------------------------------ ecsctl


Ecsctl = Callable[..., str]


@pytest.fixture(scope="module")
def ecsctl(agent: AgentProcess, tmp_path_factory: pytest.TempPathFactory) -> Ecsctl:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ECSCTL_", "ALIBABA_CLOUD_"))}
    environ = kept | {
        "ECSCTL_HOME": str(tmp_path_factory.mktemp("home")),
        "ECSCTL_ENDPOINT": f"unix://{agent.socket}",
        "PYTHONPATH": str(REPOSITORY),
    }

    def run_it(*arguments: str, status: int = 0) -> str:
        command = [sys.executable, "-m", "ecsctl", *arguments]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == status, f"{done.returncode}: {done.stdout} {done.stderr}"
        return done.stderr if status else done.stdout.strip()

    return run_it


def test_ecsctl_moves_images_in_and_out(ecsctl: Ecsctl, agent: AgentProcess, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(os.urandom(20 * MIB) + bytes(4 * MIB))
    image_id = ecsctl("image", "import", str(disk), "--name", "mine", "--platform", "Ubuntu", "--size", "2")
    [image] = _images(agent, image_id)
    assert (image["Size"], image["OSName"]) == (2, "Ubuntu 64 bit")
    out = tmp_path / "out.vmdk"
    assert ecsctl("image", "export", "mine", str(out)) == str(out)
    assert "exists already" in ecsctl("image", "export", "mine", str(out), status=2)
    ecsctl("image", "import", str(out), "--name", "back")
    address = ecsctl("image", "export", "back", "oss://files/BACK")
    assert address.startswith("oss://files/BACK-m-")
    ecsctl("bucket", "get", address, str(tmp_path / "again.raw"))
    assert (tmp_path / "again.raw").read_bytes() == disk.read_bytes()
    assert _left(agent, "no image") == []


def test_ecsctl_sends_what_it_does_not_wait_for(ecsctl: Ecsctl, agent: AgentProcess, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(os.urandom(MIB))
    image_id = ecsctl("image", "import", str(disk), "--no-wait", "--platform", "Others Linux")
    [task] = agent.call("DescribeTasks", ResourceIds=[image_id])["TaskSet"]["Task"]
    assert ended(agent, task["TaskId"])["TaskStatus"] == "Finished"
    [bucket] = [p for p in (agent.root / "data/buckets").iterdir() if p.name.startswith("ecs-import-")]
    assert list(bucket.iterdir()) == [], "what was sent only to be imported is kept"
    shown = ecsctl("task", "show", task["TaskId"])
    assert "Finished" in shown
    assert task["TaskId"] in ecsctl("task", "ls", "--action", "ImportImage", "-o", "name")


def test_ecsctl_keeps_files_in_buckets(ecsctl: Ecsctl, tmp_path: Path) -> None:
    content = os.urandom(9 * MIB)
    (tmp_path / "some.file").write_bytes(content)
    assert ecsctl("bucket", "create", "some-files") == "some-files"
    assert ecsctl("bucket", "put", str(tmp_path / "some.file"), "some-files/in/") == "oss://some-files/in/some.file"
    assert ecsctl("bucket", "ls", "some-files/in", "-o", "name") == "in/some.file"
    partial = tmp_path / "there"
    ecsctl("bucket", "get", "some-files/in/some.file", str(partial))
    assert partial.read_bytes() == content
    assert "not empty" in ecsctl("bucket", "rm", "some-files", "--yes", status=1)
    ecsctl("bucket", "rm", "some-files/in/some.file", "some-files", "--yes")
    assert "some-files" not in ecsctl("bucket", "ls", "-o", "name").split()
