"""An instance's life on a real guest: created, logged in to, stopped, started, rebooted, released (SPEC I1-I4)."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import sqlite3

import paramiko
import pytest

from tests.support.agent import HOST, AgentProcess, CallFailed
from tests.support.invariants import lasting_violations
from tests.support.libvirtd import PrivateLibvirt
from tests.support.ssh import login, run
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

PASSWORD = "Passw0rd!x"


@pytest.fixture(scope="module")
def key(agent: AgentProcess) -> str:
    return agent.call("CreateKeyPair", KeyPairName="vm-test")["PrivateKeyBody"]


@pytest.fixture(scope="module")
def guest(agent: AgentProcess, key: str) -> str:
    """A running instance that the tests of this module share; each leaves it running."""
    instance_id = agent.run_instance(
        InstanceName="shared", HostName="tiny-host", KeyPairName="vm-test", Tag=[{"Key": "role", "Value": "test"}]
    )
    agent.wait_status(instance_id, "Running")
    return instance_id


def test_login_with_the_key_shows_the_host_name(agent: AgentProcess, guest: str, key: str) -> None:
    with login(agent, guest, key=key) as client:
        assert run(client, "hostname").strip() == "tiny-host"
    shown = agent.instance(guest)
    assert shown
    assert shown["KeyPairName"] == "vm-test"
    assert shown["Tags"]["Tag"] == [{"TagKey": "role", "TagValue": "test"}]


def test_the_guest_has_the_address_that_is_shown(agent: AgentProcess, guest: str, key: str) -> None:
    shown = agent.instance(guest)
    assert shown
    ip = shown["VpcAttributes"]["PrivateIpAddress"]["IpAddress"][0]
    with login(agent, guest, key=key) as client:
        assert ip in run(client, "ip -4 addr show dev eth0")
        assert shown["NetworkInterfaces"]["NetworkInterface"][0]["MacAddress"] in run(client, "ip link show dev eth0")
        for name in ("tiny-host.ecs.internal", guest):  # and is found by its names
            assert ip in run(client, f"nslookup {name}")
        assert "tiny-host.ecs.internal" in run(client, f"nslookup {ip}")


def test_a_password_is_refused_where_a_key_is_bound(agent: AgentProcess, guest: str) -> None:
    with pytest.raises(paramiko.AuthenticationException), login(agent, guest, password=PASSWORD):
        pass


@pytest.mark.long  # most other tests log in so
def test_login_with_a_password(agent: AgentProcess) -> None:
    instance_id = agent.run_instance(Password=PASSWORD)
    with login(agent, instance_id, password=PASSWORD) as client:
        assert run(client, "id -u").strip() == "0"
    agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
    agent.wait_status(instance_id, None)


def test_stop_and_start_keep_disk_address_and_host_key(agent: AgentProcess, guest: str, key: str) -> None:
    before = agent.instance(guest)
    with login(agent, guest, key=key) as client:
        run(client, "echo kept > /root/file; sync")
        host_key = client.get_transport().get_remote_server_key().asbytes()  # type: ignore[union-attr]
    agent.call("StopInstance", InstanceId=guest)
    assert agent.status(guest) == "Stopping"
    agent.wait_status(guest, "Stopped")
    agent.call("StartInstance", InstanceId=guest)
    agent.wait_status(guest, "Running")
    after = agent.instance(guest)
    assert before
    assert after
    assert after["VpcAttributes"] == before["VpcAttributes"]
    with login(agent, guest, key=key) as client:
        assert run(client, "cat /root/file").strip() == "kept"
        assert client.get_transport().get_remote_server_key().asbytes() == host_key  # type: ignore[union-attr]


def test_a_console_reboot_is_a_new_qemu_process(
    agent: AgentProcess, guest: str, key: str, libvirtd: PrivateLibvirt
) -> None:
    domain = f"{agent.prefix}-{guest}"
    with login(agent, guest, key=key):
        pid = libvirtd.qemu_pid(domain)
    agent.call("RebootInstance", InstanceId=guest)
    agent.wait_status(guest, "Running")
    assert libvirtd.qemu_pid(domain) != pid
    with login(agent, guest, key=key) as client:
        assert float(run(client, "cat /proc/uptime").split()[0]) < 120


def test_states_refuse_what_they_do_not_allow(agent: AgentProcess, guest: str) -> None:
    for action in ("StartInstance", "DeleteInstance"):
        with pytest.raises(CallFailed) as refused:
            agent.call(action, InstanceId=guest)
        assert (refused.value.code, refused.value.status) == ("IncorrectInstanceStatus", 403)
    assert agent.status(guest) == "Running"


def test_a_mixed_batch_is_refused_whole_unless_success_first(agent: AgentProcess, guest: str) -> None:
    other = agent.call("CreateInstance", ImageId="tiny_x64", InstanceType="ecs.t1.small")["InstanceId"]
    agent.wait_status(other, "Stopped")
    with pytest.raises(CallFailed, match="IncorrectInstanceStatus"):
        agent.call("StopInstances", InstanceId=[guest, other])
    assert agent.status(guest) == "Running"
    answer = agent.call("StartInstances", InstanceId=[guest, other], BatchOptimization="SuccessFirst")
    outcome = {r["InstanceId"]: r["Code"] for r in answer["InstanceResponses"]["InstanceResponse"]}
    assert outcome == {guest: "IncorrectInstanceStatus", other: "200"}
    agent.wait_status(other, "Running")
    agent.call("DeleteInstances", InstanceId=[other], Force="true")
    agent.wait_status(other, None)


def test_a_shutdown_from_inside_is_shown_within_seconds(agent: AgentProcess, guest: str, key: str) -> None:
    with login(agent, guest, key=key) as client:
        client.exec_command("poweroff")
    agent.wait_status(guest, "Stopped", 60)
    found = agent.call("DescribeInstanceDiagnosis", HOST, InstanceId=guest)
    assert "from inside" in found["Reason"]
    agent.call("StartInstance", InstanceId=guest)
    agent.wait_status(guest, "Running")


def test_a_crashed_qemu_is_shown_within_seconds(agent: AgentProcess, guest: str, libvirtd: PrivateLibvirt) -> None:
    os.kill(libvirtd.qemu_pid(f"{agent.prefix}-{guest}"), signal.SIGKILL)
    agent.wait_status(guest, "Stopped", 60)
    agent.call("StartInstance", InstanceId=guest)
    agent.wait_status(guest, "Running")


@pytest.mark.long  # test_login restarts inside, too
def test_a_reboot_inside_the_guest_keeps_it_running(agent: AgentProcess, guest: str, key: str) -> None:
    with login(agent, guest, key=key) as client:
        boots = _console(agent, guest).count("tiny: ready")  # of earlier tests, too
        client.exec_command("reboot")
    wait_for("one more boot", lambda: _console(agent, guest).count("tiny: ready") > boots)
    with login(agent, guest, key=key):
        assert agent.status(guest) == "Running"


def test_libvirtd_may_restart_under_a_running_guest(
    agent: AgentProcess, guest: str, key: str, libvirtd: PrivateLibvirt
) -> None:
    pid = libvirtd.qemu_pid(f"{agent.prefix}-{guest}")
    libvirtd.kill_libvirtd()
    libvirtd.start_libvirtd()
    with login(agent, guest, key=key):
        assert libvirtd.qemu_pid(f"{agent.prefix}-{guest}") == pid
    # What happens after it is noticed again, by events of the new connection.
    agent.call("StopInstance", InstanceId=guest, ForceStop="true")
    agent.wait_status(guest, "Stopped")
    agent.call("StartInstance", InstanceId=guest)
    agent.wait_status(guest, "Running")
    os.kill(libvirtd.qemu_pid(f"{agent.prefix}-{guest}"), signal.SIGKILL)
    agent.wait_status(guest, "Stopped", 60)
    agent.call("StartInstance", InstanceId=guest)
    agent.wait_status(guest, "Running")


def test_protection_refuses_release_and_force_releases_running(agent: AgentProcess, key: str) -> None:
    instance_id = agent.run_instance(DeletionProtection="true")
    agent.wait_status(instance_id, "Running")
    with pytest.raises(CallFailed, match="DeletionProtection"):
        agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
    agent.call("ModifyInstanceAttribute", InstanceId=instance_id, DeletionProtection="false")
    agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
    agent.wait_status(instance_id, None)
    agent.wait_jobs()
    left = agent.call("DescribeDisks", InstanceId=instance_id)["Disks"]["Disk"]
    assert left == []
    assert lasting_violations(agent) == []


def test_a_host_shutdown_and_restart_brings_back_what_ran(agent: AgentProcess, guest: str, key: str) -> None:
    """SPEC I14. The host's boot is simulated by the boot id the agent remembers."""
    stopped = agent.call("CreateInstance", ImageId="tiny_x64", InstanceType="ecs.t1.small")["InstanceId"]
    agent.wait_status(stopped, "Stopped")
    agent.call("StopHostInstances", HOST, GraceSeconds=60)
    agent.wait_status(guest, "Stopped")
    agent.wait_jobs()
    agent.stop()
    with contextlib.closing(sqlite3.connect(agent.root / "data/ecs.db")) as database, database:
        database.execute("update settings set value = 'earlier' where name = 'boot_id'")
    agent.start()
    agent.wait_status(guest, "Running")
    assert agent.status(stopped) == "Stopped"
    with login(agent, guest, key=key) as client:
        assert run(client, "hostname").strip() == "tiny-host"
    agent.call("DeleteInstance", InstanceId=stopped)
    agent.wait_status(stopped, None)


def test_guests_and_their_logins_go_on_while_the_agent_is_away(agent: AgentProcess, guest: str, key: str) -> None:
    with login(agent, guest, key=key) as client:
        assert run(client, "echo before").strip() == "before"
    agent.kill()
    agent.start()
    assert agent.status(guest) == "Running"
    with login(agent, guest, key=key) as client:
        assert run(client, "echo after").strip() == "after"


def _console(agent: AgentProcess, instance_id: str) -> str:
    output = agent.call("GetInstanceConsoleOutput", InstanceId=instance_id)["ConsoleOutput"]
    return base64.b64decode(output).decode(errors="replace")


def test_instances_are_found_by_name_status_and_tag(agent: AgentProcess, guest: str) -> None:
    for filters in (
        {"InstanceName": "sha*"},
        {"Status": "Running"},
        {"Tag": [{"Key": "ROLE", "Value": "test"}]},
        {"InstanceIds": json.dumps([guest])},
    ):
        found = agent.call("DescribeInstances", **filters)["Instances"]["Instance"]
        assert guest in [i["InstanceId"] for i in found], filters
    assert agent.call("DescribeInstances", InstanceName="nobody*")["TotalCount"] == 0
