"""An agent's metadata service for guests that are namespaces on a veth, and how guests ask it."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vpc_lab import PATIENCE, SILENCE, Guest, Lab

from agent.core import ids
from agent.core.addresses import METADATA_ADDRESS
from agent.core.specs import PortSpec, VpcSpec
from agent.drivers.network import netns
from agent.store.schema import GroupMembership, Instance, NetworkInterface, VSwitch
from agent.store.store import Store
from tests.support.agent import HOST, AgentProcess, running_agent
from tests.support.ports import free_port

NO_LIBVIRT = "qemu+unix:///system?socket=/nonexistent/libvirt-sock"


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]


def ask(guest: Guest, path: str, method: str = "GET", source: str = "", **headers: str) -> Answer:
    """One request as the guest makes it; OSError when there is no answer."""
    connection = http.client.HTTPConnection(METADATA_ADDRESS, 80)
    connection.sock = connect(guest, source=source)
    with contextlib.closing(connection):
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, response.read(), dict(response.getheaders()))


def connect(guest: Guest, source: str = "", timeout: float = PATIENCE) -> socket.socket:
    sock = guest.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        if source:
            sock.bind((source, 0))
        sock.connect((METADATA_ADDRESS, 80))
    except BaseException:
        sock.close()
        raise
    return sock


def answer_to(guest: Guest, request: bytes) -> bytes:
    """Everything that comes back, until the other side closes, resets, or waits for more."""
    received = b""
    with connect(guest) as sock, contextlib.suppress(ConnectionError, TimeoutError):
        sock.settimeout(3 * SILENCE)
        sock.sendall(request)
        while part := sock.recv(65536):
            received += part
    return received


class Site:
    """An agent, VPCs made through its API, and guests that it takes for its instances'."""

    def __init__(self, agent: AgentProcess, lab: Lab) -> None:
        self.agent, self.lab = agent, lab
        self.store = Store(agent.root / "data/ecs.db")
        self.ids: dict[str, str] = {}  # instance ids by the guest's tap

    def close(self) -> None:
        self.store.close()

    def vpc(self) -> str:
        vpc_id = self.agent.call("CreateVpc", CidrBlock="192.168.0.0/16")["VpcId"]
        self.agent.call("CreateVSwitch", VpcId=vpc_id, ZoneId="local-a", CidrBlock="192.168.0.0/24")
        self.agent.wait_collected()  # the router and its addresses are there
        self.lab.vpcs[vpc_id] = VpcSpec(vpc_id, 0, "192.168.0.0/16", ("192.168.0.253",))
        return vpc_id

    def guest(self, vpc_id: str, ip: str, user_data: bytes = b"") -> Guest:
        """Known to the agent like an instance that runs, and wired like one."""
        group = self.agent.call("CreateSecurityGroup", VpcId=vpc_id)["SecurityGroupId"]
        port = self._write_rows(self.lab.new_port(ip, vpc_id), group, user_data)
        # A new rule makes the agent bring the filter up to date, members included.
        rule = {"IpProtocol": "icmp", "PortRange": "-1/-1", "SourceCidrIp": "10.0.0.0/8"}
        self.agent.call("AuthorizeSecurityGroup", SecurityGroupId=group, **rule)
        name = f"{self.lab.prefix}-guest{len(self.lab.guests)}"
        netns.create(name)
        guest = Guest(port, (group,), netns.Namespace(name))
        self.lab.guests.append(guest)
        guest.ns.run(lambda: self.lab._link(guest))
        self.lab.driver.wire_port(port)
        guest.configure()
        self.ids[port.tap] = port.instance_id
        return guest

    def _write_rows(self, port: PortSpec, group: str, user_data: bytes) -> PortSpec:
        now = dt.datetime.now(dt.UTC)
        with self.store.write() as session:
            vswitch = session.query(VSwitch).filter_by(vpc_id=port.vpc_id).one()
            instance_id = ids.new_id("instance")
            session.add(
                Instance(
                    id=instance_id,
                    account_id=vswitch.account_id,
                    uuid=instance_id,
                    name=f"name of {port.host_name}",
                    host_name=port.host_name,
                    zone_id="local-a",
                    instance_type="ecs.t1.small",
                    vcpus=1,
                    memory_mib=1024,
                    image_id="tiny_x64",
                    os_type="linux",
                    os_name="Tiny",
                    user_data=user_data,
                    status="Stopped",
                    created_at=now,
                )
            )
            session.flush()
            interface = NetworkInterface(
                id=ids.new_id("eni"),
                account_id=vswitch.account_id,
                vpc_id=port.vpc_id,
                vswitch_id=vswitch.id,
                instance_id=instance_id,
                mac=port.mac,
                ip=port.ip,
                tap=port.tap,
                created_at=now,
            )
            interface.memberships = [GroupMembership(group_id=group, position=0)]
            session.add(interface)
        return PortSpec(**(vars(port) | {"instance_id": instance_id}))

    def instance_of(self, guest: Guest) -> bytes:
        return self.ids[guest.port.tap].encode()

    def history(self, guest: Guest) -> list[str]:
        found = self.agent.call("DescribeInstanceDiagnosis", HOST, InstanceId=guest.port.instance_id)
        return [event["What"] for event in found["NetworkEvents"]["NetworkEvent"]]

    def descriptors(self) -> list[str]:
        """What the agent has open of the network."""
        assert self.agent.process
        found = []
        for link in Path(f"/proc/{self.agent.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found.append(os.readlink(link))
        return [what for what in found if what.startswith(("socket:", "net:"))]


@contextlib.contextmanager
def running_site() -> Iterator[Site]:
    """Without libvirt."""
    with contextlib.ExitStack() as stack:
        agent = stack.enter_context(running_agent(NO_LIBVIRT, http=f"127.0.0.1:{free_port()}"))
        lab = Lab(prefix=agent.prefix)
        stack.callback(lab.close)
        stack.callback(agent.stop)
        yield stack.enter_context(contextlib.closing(Site(agent, lab)))


def answers(guest: Guest) -> bool:
    """Whether the service is there, whatever it says."""
    try:
        return ask(guest, "/latest/").status < 500
    except ConnectionRefusedError:
        return False
