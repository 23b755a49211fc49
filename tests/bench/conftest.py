"""What the benchmarks share: an agent that nothing else has used, and a way to print past pytest's capture."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.agent import AgentProcess, running_agent
from tests.support.libvirtd import PrivateLibvirt


@pytest.fixture(scope="module")
def fresh_agent(libvirtd: PrivateLibvirt) -> Iterator[AgentProcess]:
    """An agent of the module's own, started with a database that exists, as a host's agent is."""
    with running_agent(libvirtd.uri, http="127.0.0.1:0", quotas={"instances": 100}) as process:
        process.ensure_tiny_image()
        process.stop()
        process.start()
        yield process


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line of results, whatever pytest does with output."""

    def show(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {line}", end="")

    return show


@pytest.fixture
def ten_stored(fresh_agent: AgentProcess) -> Iterator[list[str]]:
    """The ids of ten instances that are stopped."""
    small = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small"}
    made = [fresh_agent.call("CreateInstance", **small)["InstanceId"] for _ in range(10)]
    fresh_agent.wait_jobs()
    yield made
    fresh_agent.call("DeleteInstances", InstanceId=made)
    fresh_agent.wait_jobs()
