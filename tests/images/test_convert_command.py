"""`ecsctl image convert` with a real agent: every byte arrives, and an interruption at any moment leaves nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.api.edge.registry import RAM
from agent.app import CRASH_VARIABLE
from agent.jobs.model import KINDS
from tests.images.test_converter import processes_of_the_jail
from tests.support.agent import HOST, REPOSITORY, AgentProcess, CallFailed, running_agent
from tests.support.foreign_images import VARIANTS, digest, disk, make, make_large
from tests.support.libvirtd import PrivateLibvirt
from tests.support.ports import free_port
from tests.support.waiting import wait_for

KIND = "image.convert"


@pytest.fixture(scope="module")
def host(libvirtd: PrivateLibvirt) -> Iterator[AgentProcess]:
    with running_agent(libvirtd.uri, http=f"127.0.0.1:{free_port()}") as agent:
        agent.environment[CRASH_VARIABLE] = str(agent.root / "crash-at")
        agent.stop()
        agent.start()
        yield agent


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make(tmp_path_factory.mktemp("images"), list(VARIANTS), disk())


def command(agent: AgentProcess, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "ecsctl", "image", "convert", *map(str, arguments)]
    environ = os.environ | {"ECSCTL_ENDPOINT": f"unix://{agent.socket}", "PYTHONPATH": str(REPOSITORY)} | environment
    return subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def convert(agent: AgentProcess, *arguments: object, status: int = 0, **environment: str) -> str:
    """What it says to stderr."""
    process = command(agent, *arguments, **environment)
    _, said = process.communicate(timeout=120)
    assert process.returncode == status, said
    assert "Traceback" not in said
    return said


def last_job(agent: AgentProcess) -> dict:
    return agent.call("DescribeJobs", HOST, PageSize=1)["Jobs"]["Job"][0]


def nothing_is_left(agent: AgentProcess, directory: Path, *wanted: str) -> None:
    assert list((agent.root / "data/staging").iterdir()) == []
    assert sorted(path.name for path in directory.iterdir()) == sorted(wanted)
    wait_for("the end of the jail", lambda: not processes_of_the_jail(agent.root, directory), 20)


def test_there_and_back(host: AgentProcess, images: dict[str, Path], tmp_path: Path) -> None:
    plain = digest(images["raw"])
    images["vmdk"].chmod(0o600)
    convert(host, images["vmdk"], tmp_path / "disk.vhd")
    convert(host, tmp_path / "disk.vhd", tmp_path / "disk.img", "-f", "vhd")
    assert digest(tmp_path / "disk.img") == plain
    assert "is there already" in convert(host, tmp_path / "disk.vhd", tmp_path / "disk.img", status=1)
    convert(host, tmp_path / "disk.vhd", tmp_path / "disk.img", "--force", "-O", "qcow2")
    convert(host, tmp_path / "disk.img", tmp_path / "disk.raw")
    assert digest(tmp_path / "disk.raw") == plain
    nothing_is_left(host, tmp_path, "disk.vhd", "disk.img", "disk.raw")


def test_what_goes_wrong_is_one_clear_line(host: AgentProcess, images: dict[str, Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.qcow2"
    cut.write_bytes(images["qcow2"].read_bytes()[:700_000])
    assert "incomplete" in convert(host, cut, tmp_path / "out.raw", status=1)
    assert "not vhd, its content is qcow2" in convert(host, cut, tmp_path / "out.raw", "-f", "vhd", status=1)
    assert "No such file" in convert(host, tmp_path / "missing", tmp_path / "out.raw", status=1)
    assert "no regular file" in convert(host, "/dev/zero", tmp_path / "out.raw", status=1)
    assert "does not say a format" in convert(host, cut, tmp_path / "out.xyz", status=2)
    assert "cannot write" in convert(host, cut, tmp_path / "no/such/out.raw", status=1)
    nothing_is_left(host, tmp_path, "cut.qcow2")


@pytest.fixture(scope="module")
def elsewhere(host: AgentProcess) -> dict[str, str]:
    """The environment of an ecsctl that reaches the agent over a network."""
    key = host.call("CreateAccessKey", RAM)["AccessKey"]
    return {
        "ECSCTL_ENDPOINT": f"http://{host.settings['http']}",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": key["AccessKeyId"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key["AccessKeySecret"],
    }


def test_from_elsewhere_it_is_sent_and_fetched(
    host: AgentProcess, images: dict[str, Path], tmp_path: Path, elsewhere: dict[str, str]
) -> None:
    convert(host, images["vhd dynamic"], tmp_path / "disk.qcow2", **elsewhere)
    convert(host, tmp_path / "disk.qcow2", tmp_path / "disk.raw", "-f", "qcow2", **elsewhere)
    assert digest(tmp_path / "disk.raw") == digest(images["raw"])
    cut = tmp_path / "cut.qcow2"
    cut.write_bytes(images["qcow2"].read_bytes()[:700_000])
    assert "incomplete" in convert(host, cut, tmp_path / "out.raw", status=1, **elsewhere)
    nothing_is_left(host, tmp_path, "disk.qcow2", "disk.raw", "cut.qcow2")
    assert [path for path in (host.root / "data/buckets").rglob("*") if path.is_file()] == []


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return make_large(tmp_path / "large.raw")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_command_leaves_nothing(
    host: AgentProcess, large: Path, tmp_path: Path, how: signal.Signals
) -> None:
    process = command(host, large, tmp_path / "out.vmdk")
    wait_for(
        "the jail",
        lambda: any("qemu-img" in line for line in processes_of_the_jail(host.root, tmp_path)),
        30,
        every=0.02,
    )
    process.send_signal(how)
    _, said = process.communicate(timeout=30)
    assert how != signal.SIGINT or (process.returncode, "was cancelled" in said) == (130, True)
    wait_for("the job's end", lambda: last_job(host)["Status"] == "Cancelled", 30)
    nothing_is_left(host, tmp_path, "large.raw")


@pytest.mark.parametrize(("step", "when"), [(s.name, when) for s in KINDS[KIND].steps for when in ("before", "after")])
def test_a_killed_agent_takes_the_conversion_with_it(
    host: AgentProcess, images: dict[str, Path], tmp_path: Path, step: str, when: str
) -> None:
    """The files were handed to that agent only: the next one ends the job and removes what is left."""
    crash_at = host.root / "crash-at"
    crash_at.write_text(f"{KIND}:{step}:{when}")
    process = command(host, images["qcow2"], tmp_path / "out.vhd")
    host.died()
    crash_at.unlink()
    host.start()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "the files are gone" in said
    assert last_job(host)["Status"] == "Failed"
    nothing_is_left(host, tmp_path)


def test_handles_are_checked(host: AgentProcess, images: dict[str, Path], tmp_path: Path) -> None:
    def door() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(str(host.root / "run/files.sock"))
        return connection

    def hand_over(connection: socket.socket, path: Path, flags: int) -> str:
        descriptor = os.open(path, flags | os.O_CREAT)
        socket.send_fds(connection, [json.dumps({"Name": path.name}).encode()], [descriptor])
        os.close(descriptor)
        return str(json.loads(connection.recv(4096))["Handle"])

    def code(**params: str) -> str:
        with pytest.raises(CallFailed) as failed, contextlib.suppress(http.client.HTTPException):
            host.call("ConvertImageFile", HOST, TargetFormat="raw", **params)
        return failed.value.code

    with door() as connection:
        source = hand_over(connection, images["qcow2"], os.O_RDONLY)
        target = hand_over(connection, tmp_path / "target", os.O_RDWR)
        assert code(Source="file-0", Target=target) == "InvalidFileHandle.NotFound"
        assert code(Source=source, Target="file-0") == "InvalidFileHandle.NotFound"
        assert code(Source=source, Target=source) == "InvalidParameter"
        assert code(Source=source, Target=hand_over(connection, tmp_path / "x", os.O_WRONLY)) == "InvalidParameter"
        full = tmp_path / "full"
        full.write_text("content")
        assert code(Source=source, Target=hand_over(connection, full, os.O_RDWR)) == "InvalidParameter"
        assert code(Source=source, Target=target, SourceFormat="iso") == "InvalidParameter"
    assert full.read_text() == "content"
