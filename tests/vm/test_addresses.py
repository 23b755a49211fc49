"""A running guest gets a public address and a port of the host, is reached by both, and by neither when they are taken
away (SPEC N3). The host has no uplink: it alone reaches the guest.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import paramiko
import pytest

from tests.support.agent import HOST, VPC, AgentProcess, running_agent
from tests.support.invariants import lasting_violations
from tests.support.libvirtd import PrivateLibvirt
from tests.support.ports import free_port
from tests.support.ssh import run
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

PASSWORD = "Passw0rd!x"


@pytest.fixture
def agent(libvirtd: PrivateLibvirt) -> Iterator[AgentProcess]:
    with running_agent(libvirtd.uri) as process:
        process.ensure_tiny_image()
        yield process


@contextlib.contextmanager
def logged_in(address: str, port: int = 22, seconds: float = 180) -> Iterator[paramiko.SSHClient]:
    """Straight from the host; waits for the guest."""
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())

        def connected() -> bool:
            try:
                client.connect(
                    address,
                    port,
                    "root",
                    PASSWORD,
                    look_for_keys=False,
                    allow_agent=False,
                    timeout=5,
                    banner_timeout=30,
                )
            except paramiko.AuthenticationException:
                raise
            except (OSError, EOFError, paramiko.SSHException):
                return False
            return True

        wait_for(f"a login at {address}:{port}", connected, seconds)
        yield client


def answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2) as stream:
            return stream.recv(4) == b"SSH-"
    except OSError:
        return False


def status(agent: AgentProcess, allocation_id: str) -> str:
    [found] = agent.call("DescribeEipAddresses", VPC, AllocationId=allocation_id)["EipAddresses"]["EipAddress"]
    return str(found["Status"])


def test_a_running_guest_is_reached_by_what_it_has_and_by_nothing_else(agent: AgentProcess) -> None:
    instance_id = agent.run_instance(Password=PASSWORD)
    agent.wait_status(instance_id, "Running")
    made = agent.call("AllocateEipAddress", VPC, Bandwidth=100)
    both = {"AllocationId": made["AllocationId"], "InstanceId": instance_id}
    agent.call("AssociateEipAddress", VPC, **both)
    wait_for("the address in use", lambda: status(agent, made["AllocationId"]) == "InUse", 30)
    port = free_port()
    forward = agent.call("CreatePortForward", HOST, InstanceId=instance_id, HostPort=port, Port=22)
    with logged_in(made["EipAddress"]) as by_address, logged_in("127.0.0.1", port, 30) as by_port:
        agent.call("ModifyEipAddressAttribute", VPC, AllocationId=made["AllocationId"], Bandwidth=10)
        agent.wait_jobs()
        name = run(by_address, "hostname").strip()
        assert run(by_port, "hostname").strip() == name

    agent.call("DeletePortForward", HOST, PortForwardId=forward["PortForwardId"])
    assert not answers("127.0.0.1", port)
    assert answers(made["EipAddress"], 22)
    agent.call("UnassociateEipAddress", VPC, **both)
    wait_for("the address free", lambda: status(agent, made["AllocationId"]) == "Available", 30)
    assert not answers(made["EipAddress"], 22)

    agent.call("ModifyInstanceNetworkSpec", InstanceId=instance_id, InternetMaxBandwidthOut=10, AllocatePublicIp=True)
    own = agent.instance(instance_id)["PublicIpAddress"]["IpAddress"][0]  # type: ignore[index]
    assert answers(own, 22)
    agent.call("DeleteInstance", InstanceId=instance_id, Force=True)
    agent.wait_status(instance_id, None)
    assert not answers(own, 22)
    agent.call("ReleaseEipAddress", VPC, AllocationId=made["AllocationId"])
    assert lasting_violations(agent) == []
