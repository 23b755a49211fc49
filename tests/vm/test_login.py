"""Passwords and keys of existing instances: what a guest accepts around each kind of restart (SPEC I6, K3)."""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
from collections.abc import Iterator

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.agent import HOST, AgentProcess, CallFailed
from tests.support.ssh import login, run
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

OLD, NEW, LAST = "0ld-Passw0rd", "New-Passw0rd", "Last-Passw0rd"
COUNTER = "/root/user-data-ran"
SCRIPT = f"#!/bin/sh\necho ran >>{COUNTER}\n"


class Guest:
    """One instance, and every way into it."""

    def __init__(self, agent: AgentProcess, instance_id: str) -> None:
        self.agent, self.id = agent, instance_id

    def accepts(self, *, password: str | None = None, key: str | None = None) -> bool:
        """Whether SSH lets root in; waits for the guest to answer at all."""
        try:
            with login(self.agent, self.id, password=password, key=key):
                return True
        except paramiko.AuthenticationException:
            return False

    def run(self, command: str, *, password: str | None = None, key: str | None = None) -> str:
        with login(self.agent, self.id, password=password, key=key) as client:
            return run(client, command)

    def host_key(self, *, password: str | None = None, key: str | None = None) -> bytes:
        with login(self.agent, self.id, password=password, key=key) as client:
            transport = client.get_transport()
            assert transport is not None
            return transport.get_remote_server_key().asbytes()

    def boots(self) -> int:
        output = self.agent.call("GetInstanceConsoleOutput", InstanceId=self.id)["ConsoleOutput"]
        return base64.b64decode(output).count(b"tiny: ready")

    def restart_inside(self, *, password: str | None = None, key: str | None = None) -> None:
        with login(self.agent, self.id, password=password, key=key) as client:
            wait_for("the end of the boot", self.boots)
            before = self.boots()
            client.exec_command("reboot")
        wait_for("one more boot", lambda: self.boots() > before)
        assert self.agent.status(self.id) == "Running"

    def seed(self) -> tuple[int, int]:
        """Changes whenever the seed is written."""
        status = (self.agent.root / f"data/seeds/{self.id}.iso").stat()
        return status.st_ino, status.st_mtime_ns

    def keys_in_effect(self) -> int:
        with contextlib.closing(sqlite3.connect(f"file:{self.agent.root}/data/ecs.db?mode=ro", uri=True)) as database:
            row = database.execute("select seeded_keys from instances where id = ?", (self.id,)).fetchone()
        return len(json.loads(row[0]))

    def restart_from_console(self) -> None:
        self.agent.call("RebootInstance", InstanceId=self.id, ForceStop="true")
        self.agent.wait_status(self.id, "Running")


@pytest.fixture
def guests(agent: AgentProcess) -> Iterator[tuple[Guest, Guest]]:
    """Two instances with the password OLD, whose user data counts how often it ran."""
    user_data = base64.b64encode(SCRIPT.encode()).decode()
    params = {"ImageId": "tiny_x64", "InstanceType": "ecs.t1.small", "Amount": 2}
    made = agent.call("RunInstances", **params, Password=OLD, UserData=user_data)["InstanceIdSets"]["InstanceIdSet"]
    for one in made:
        agent.wait_status(one, "Running")
    yield Guest(agent, made[0]), Guest(agent, made[1])
    agent.call("DeleteInstances", InstanceId=made, Force="true")


def own_key() -> tuple[str, str]:
    """A key of the user's that the cloud knows nothing of: PEM, and its line of authorized_keys."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return pem.decode(), public.decode() + " the user's own"


@pytest.mark.parametrize("inside", [False, pytest.param(True, marks=pytest.mark.long)])
def test_new_credentials_work_from_the_next_console_restart_on(
    agent: AgentProcess, guests: tuple[Guest, Guest], inside: bool
) -> None:
    """`inside`: one more restart inside the guest, with the key pair bound: neither does that bring it."""
    guest, other = guests
    own, own_line = own_key()
    bound = agent.call("CreateKeyPair", KeyPairName="login-test")["PrivateKeyBody"]
    guest.run(f"mkdir -p /root/.ssh; echo {own_line!r} >>/root/.ssh/authorized_keys", password=OLD)
    host_key = guest.host_key(key=own)
    _reset_the_passwords(agent, guests)
    _bind_the_key_pair(agent, guests, bound, inside)
    _unbind_it(agent, guest, bound)
    assert guest.run("cat /root/.ssh/authorized_keys", key=own).splitlines() == [own_line]
    agent.call("ModifyInstanceAttribute", InstanceId=guest.id, Password=LAST)
    assert not guest.accepts(password=LAST)
    guest.restart_from_console()
    assert guest.accepts(password=LAST)
    assert guest.host_key(password=LAST) == host_key
    assert guest.run(f"cat {COUNTER}", password=LAST) == "ran\n"
    agent.call("DetachKeyPair", KeyPairName="login-test", InstanceIds=json.dumps([other.id]))
    agent.call("DeleteKeyPairs", KeyPairNames='["login-test"]')


def _reset_the_passwords(agent: AgentProcess, guests: tuple[Guest, Guest]) -> None:
    """Of both in one call: in effect not at once, not by a restart inside or of the agent, but by a reboot."""
    guest, other = guests
    seed = guest.seed()
    agent.call("ResetInstancePasswords", HOST, InstanceId=[guest.id, other.id], Password=NEW)
    agent.call("ModifyInstanceAttribute", InstanceId=guest.id, HostName="renamed")
    assert guest.accepts(password=OLD)
    assert not guest.accepts(password=NEW)
    agent.kill()
    agent.start()
    guest.restart_inside(password=OLD)
    assert guest.run("hostname", password=OLD).strip() != "renamed"
    assert not guest.accepts(password=NEW)
    assert guest.seed() == seed
    guest.restart_from_console()
    assert guest.run("hostname", password=NEW).strip() == "renamed"
    assert not guest.accepts(password=OLD)


def _bind_the_key_pair(agent: AgentProcess, guests: tuple[Guest, Guest], key: str, inside: bool) -> None:
    """To both in one call: password login ends when the key begins to work, at the next start."""
    guest, _ = guests
    ids = [one.id for one in guests]
    answer = agent.call("AttachKeyPair", KeyPairName="login-test", InstanceIds=json.dumps(ids))
    assert (answer["TotalCount"], answer["FailCount"]) == ("2", "0")
    if inside:
        guest.restart_inside(password=NEW)
    assert guest.accepts(password=NEW)
    assert not guest.accepts(key=key)
    assert guest.keys_in_effect() == 0
    agent.call("StopInstances", InstanceId=ids, ForceStop="true")
    for one in guests:
        agent.wait_status(one.id, "Stopped")
    late = base64.b64encode(f"#!/bin/sh\necho late >>{COUNTER}\n".encode()).decode()
    agent.call("ModifyInstanceAttribute", InstanceId=guest.id, UserData=late)
    agent.call("StartInstances", InstanceId=ids)
    for one in guests:
        agent.wait_status(one.id, "Running")
        assert one.accepts(key=key)
        assert not one.accepts(password=NEW)
        assert not one.accepts(password=OLD)
        assert one.keys_in_effect() == 1
    assert "root:*:" in guest.run("cat /etc/shadow", key=key)


def _unbind_it(agent: AgentProcess, guest: Guest, key: str) -> None:
    """Nothing of ours lets anybody in then, and no former password does."""
    agent.call("DetachKeyPair", KeyPairName="login-test", InstanceIds=json.dumps([guest.id]))
    assert guest.accepts(key=key)
    guest.restart_from_console()
    assert not guest.accepts(key=key)
    assert not guest.accepts(password=NEW)
    assert not guest.accepts(password=OLD)


def test_a_guest_without_an_agent_refuses_a_password_at_once(agent: AgentProcess) -> None:
    instance_id = agent.run_instance()
    agent.wait_status(instance_id, "Running")
    with pytest.raises(CallFailed) as refused:
        agent.call("ResetInstancePasswords", HOST, InstanceId=[instance_id], Password=NEW, Now="true")
    assert refused.value.code == "InvalidOperation.GuestAgentNotRunning"
    agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
