"""The API's nouns without a host: a real store, services and edge; runner, hypervisor and catalogue stand in."""

from __future__ import annotations

import datetime as dt
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import agent.api.actions
import agent.jobs.kinds  # noqa: F401  (registers every kind of job)
from agent.api.edge.authorize import ByPolicies
from agent.api.edge.registry import ECS, RAM, REGISTRY, STS
from agent.config import Config
from agent.core import ids, instance_types
from agent.core.clock import ManualClock
from agent.core.identity import Identity
from agent.core.protocols import Hypervisor, Network, Storage
from agent.core.specs import Acceleration, Download, HostCapacity, Recipe
from agent.drivers.objects.local import LocalBuckets
from agent.drivers.objects.stores import ObjectStores
from agent.drivers.objects.uploads import PartialFiles
from agent.jobs.layers import tree
from agent.jobs.open_files import OpenFiles
from agent.policy.trust import ECS_SERVICE
from agent.policy.trust import document as trusting
from agent.services import account, default_network, policy, vswitch
from agent.services.context import Caller, Services
from agent.services.identity import IdentityKey
from agent.services.serial import SerialConsoles
from agent.services.upload import Uploads
from agent.store.schema import Account, Disk, Image, ImageDisk, Instance, Job, NetworkInterface, SecurityGroup
from agent.store.secrets import Sealer
from tests.support.edge import call_action
from tests.support.fresh_store import fresh_store

START = dt.datetime(2026, 11, 23, 7, 35, 12, tzinfo=dt.UTC)


@dataclass
class RunnerStandIn:
    """Runs nothing: it notes when it was woken and for which jobs it was waited."""

    wakes: int = 0
    waited: list[str] = field(default_factory=list)
    open_files: OpenFiles = field(default_factory=OpenFiles)

    def wake(self) -> None:
        self.wakes += 1

    def wait(self, job_id: str, timeout: float) -> bool:
        self.waited.append(job_id)
        return True


class ConsoleStandIn:
    """A serial line; `guest` is its other end. `close` is told to whoever waits for the end."""

    def __init__(self, ended: Callable[[str], None]) -> None:
        self.stream, self.guest = socket.socketpair()
        self._ended = ended

    def close(self) -> None:
        self.hang_up("")

    def hang_up(self, reason: str) -> None:
        self._ended(reason)
        self.guest.close()


class HypervisorStandIn:
    """A host of 4 vCPUs and 8 GiB, whose guests show one picture and have written one line; `agents` are the domains in
    which a guest agent runs."""

    def __init__(self) -> None:
        self.consoles: list[ConsoleStandIn] = []
        self.agents: set[str] = set()

    def guest_agent_connected(self, name: str) -> bool:
        return name in self.agents

    def open_console(self, name: str, *, force: bool, ended: Callable[[str], None]) -> ConsoleStandIn:
        self.consoles.append(ConsoleStandIn(ended))
        return self.consoles[-1]

    def console_tail(self, spec_log: Path, limit_bytes: int) -> bytes:
        return b"\x1b[1;31mhello\x1b[0m\r\n"

    def console_changed(self, spec_log: Path) -> float | None:
        return None

    def screenshot(self, name: str, *, wake: bool) -> bytes:
        return b"picture of " + name.encode() + (b", awake" if wake else b"")

    def ping(self) -> None:
        """It is there."""

    def version(self) -> str:
        return "a stand-in"

    def acceleration(self) -> Acceleration:
        return Acceleration("tcg", "a stand-in runs nothing")

    def capacity(self) -> HostCapacity:
        return HostCapacity(4, 8192, 6144, 100 * 2**30, 50 * 2**30)


class NetworkStandIn:
    """A host with an address on a LAN; `taken`: its ports that something uses, as (protocol, port)."""

    def __init__(self) -> None:
        self.addresses = ["127.0.0.1/8", "192.168.7.10/24"]
        self.taken: set[tuple[str, int]] = set()

    def host_addresses(self) -> list[str]:
        return self.addresses

    def port_taken(self, protocol: str, address: str, port: int) -> bool:
        return (protocol, port) in self.taken


class StorageStandIn:
    """A disk of 100 GiB, half of it free. `allocated`: bytes that layers and images take, by id; others none."""

    def __init__(self) -> None:
        self.total, self.available = 100 * 2**30, 50 * 2**30
        self.allocated: dict[str, int] = {}

    def capacity_bytes(self) -> tuple[int, int]:
        return self.total, self.available

    def allocated_bytes(self, layer_id: str) -> int:
        return self.allocated.get(layer_id, 0)

    def image_allocated_bytes(self, image_id: str) -> int:
        return self.allocated.get(image_id, 0)


DOWNLOAD = Download("https://distro.test/1.qcow2", "https://distro.test/SUMS", "sha256")


class CatalogueStandIn:
    """Two recipes to build and one to download; makes nothing."""

    def recipes(self) -> dict[str, Recipe]:
        debian = Recipe(
            "debian_12_x64", "Debian 12 with cloud-init", "linux", "Debian  12.0 64 bit", "Debian", "x86_64", 20
        )
        tiny = replace(debian, image_id="tiny_x64", description="For tests")
        pulled = replace(debian, image_id="distro_1_x64", default_user="distro", download=DOWNLOAD)
        return {one.image_id: one for one in (debian, tiny, pulled)}

    def newest(self, *arguments: object) -> str:
        raise NotImplementedError

    def build(self, *arguments: object) -> None:
        raise NotImplementedError

    def download(self, *arguments: object) -> Path:
        raise NotImplementedError

    def discard_download(self, image_id: str) -> None:
        raise NotImplementedError


class TunnelsStandIn:
    """Keeps what it was asked for: (dial, label, farewell)."""

    def __init__(self) -> None:
        self.issued: list[tuple[Callable[[], socket.socket], str, Callable[[], str] | None]] = []

    def issue(self, dial: Callable[[], socket.socket], label: str, farewell: Callable[[], str] | None = None) -> str:
        self.issued.append((dial, label, farewell))
        return f"token-{len(self.issued)}"


class PagesStandIn:
    def url(self, page: str, instance_id: str, identity: Identity, host: str) -> str:
        return f"http://{host}/console/{page}#token-for-{instance_id}"


class Cloud:
    """One region for a test. `call` is as the default account's owner unless another account is named."""

    def __init__(self, directory: Path, **config: Any) -> None:
        self.clock = ManualClock(START)
        self.store = fresh_store(directory / "ecs.db")
        self.runner = RunnerStandIn()
        self.hypervisor, self.tunnels = HypervisorStandIn(), TunnelsStandIn()
        self.storage, self.network = StorageStandIn(), NetworkStandIn()
        hypervisor, sealer = cast(Hypervisor, self.hypervisor), Sealer(directory / "host.key")
        storage, settings = cast(Storage, self.storage), Config(**config)
        self.objects = ObjectStores(LocalBuckets(directory / "buckets"), directory / "staging", {})
        files = PartialFiles(directory / "uploads")
        self.uploads = Uploads(files, self.store, sealer, self.clock, settings, storage, self.objects)
        self.services = Services(
            version="0",
            config=settings,
            clock=self.clock,
            store=self.store,
            sealer=sealer,
            identity=IdentityKey(directory / "identity.pem", self.clock),
            runner=self.runner,
            hypervisor=hypervisor,
            storage=storage,
            network=cast(Network, self.network),
            builder=CatalogueStandIn(),
            objects=self.objects,
            uploads=self.uploads,
            instance_types=instance_types.load(instance_types.BUILT_IN),
            tunnels=self.tunnels,
            consoles=SerialConsoles(hypervisor, self.clock),
            pages=PagesStandIn(),
            problems=list,
            stalled=lambda instance_id: "",
            hash_password=lambda password: "$6$stand-in",
        )
        with self.store.write() as session:
            self.account_id = account.ensure_default_account(session, self.clock).id

    def call(
        self,
        action: str,
        params: dict[str, object] | None = None,
        *,
        version: str = ECS,
        account_id: str = "",
        identity: Identity | None = None,
    ) -> dict[str, Any]:
        """The answer; raises the ApiError a client would see."""
        return call_action(
            REGISTRY,
            self.services,
            action,
            params,
            store=self.store,
            version=version,
            identity=identity or Identity(account_id=account_id or self.account_id, administrator=True),
            authorizer=ByPolicies(policy.decide, account.owns_host),
            clock=self.clock,
        )

    def assumed(self, role_name: str, **params: object) -> Identity:
        """Who calls with credentials of a session of the role."""
        arn = f"acs:ram::{self.account_id}:role/{role_name}"
        made = self.call("AssumeRole", {"RoleArn": arn, "RoleSessionName": "test", **params}, version=STS)
        given = made["Credentials"]
        keys = account.AccessKeys(self.store, self.services.sealer, self.clock)
        found = keys.find(given["AccessKeyId"], given["SecurityToken"])
        assert found is not None
        assert found.secret == given["AccessKeySecret"]
        return Identity(
            account_id=found.account_id,
            principal_type=found.principal_type,
            principal_name=found.principal_name,
            access_key_id=found.access_key_id,
            source_ip="127.0.0.1",
            session=found.session,
        )

    def add_role(self, name: str, *policies: dict[str, Any] | str, trust: str = "") -> None:
        """A role that ECS and the account may assume, with system policies (by name) and own statements."""
        root = f"RAM:acs:ram::{self.account_id}:root"
        document = trust or trusting([ECS_SERVICE, root])
        self.call("CreateRole", {"RoleName": name, "AssumeRolePolicyDocument": document}, version=RAM)
        for number, one in enumerate(policies):
            policy_name, policy_type = (one, "System") if isinstance(one, str) else (f"{name}-{number}", "Custom")
            if isinstance(one, dict):
                text = json.dumps({"Version": "1", "Statement": [one]})
                self.call("CreatePolicy", {"PolicyName": policy_name, "PolicyDocument": text}, version=RAM)
            attached = {"PolicyType": policy_type, "PolicyName": policy_name, "RoleName": name}
            self.call("AttachPolicyToRole", attached, version=RAM)

    @contextmanager
    def caller(self, account_id: str = "") -> Iterator[Caller]:
        """A Caller in a transaction of its own."""
        with self.store.write() as session:
            yield Caller(session, account_id or self.account_id, "REQUEST", self.services)

    def add_account(self, account_id: str = "1000000000000002") -> str:
        with self.store.write() as session:
            session.add(Account(id=account_id, name=f"account {account_id}", created_at=START))
        return account_id

    def default_vswitch(self) -> tuple[str, str]:
        """(VPC id, VSwitch id) of the default network, made if need be."""
        with self.caller() as caller:
            found = default_network.ensure_default_network(caller)
            assert found is not None
            return found.vpc_id, found.id

    def add_instance(
        self, vswitch_id: str, groups: list[str], *, ip: str | None = None, key_pair_name: str | None = None
    ) -> str:
        """An instance with an interface and a system disk, as far as the store knows; its id."""
        with self.caller() as caller:
            session, instance_id = caller.session, ids.new_id("instance")
            session.add(_instance(caller, instance_id, key_pair_name))
            session.flush()
            where = vswitch.get_vswitch(caller, vswitch_id)
            members = [session.get_one(SecurityGroup, group) for group in groups]
            address = vswitch.allocate_address(caller, where, ip)
            vswitch.new_interface(caller, where, members, address, instance_id=instance_id)
            session.add(_system_disk(caller, instance_id))
            return instance_id

    def add_image(self, image_id: str = "tiny_x64") -> None:
        """A public image of 1 GiB, as if it had been built."""
        with self.store.write() as session:
            session.add(
                Image(
                    id=image_id,
                    name=image_id,
                    status="Available",
                    os_type="linux",
                    os_name="Tiny",
                    platform="Others Linux",
                    architecture="x86_64",
                    size_gib=1,
                    created_at=START,
                    disks=[ImageDisk(device="/dev/xvda", kind="system", size_gib=1, file=f"{image_id}-1")],
                )
            )

    def jobs(self, kind: str) -> list[Job]:
        with self.store.read() as session:
            return [job for job in session.query(Job).order_by(Job.sequence) if job.kind == kind]

    def interfaces(self) -> list[NetworkInterface]:
        with self.store.read() as session:
            return list(session.query(NetworkInterface).order_by(NetworkInterface.ip))

    def close(self) -> None:
        self.store.close()


def _instance(caller: Caller, instance_id: str, key_pair_name: str | None) -> Instance:
    return Instance(
        id=instance_id,
        account_id=caller.account_id,
        uuid=instance_id,
        name="test",
        host_name="test",
        zone_id="local-a",
        instance_type="ecs.t1.small",
        vcpus=1,
        memory_mib=1024,
        image_id="tiny_x64",
        os_type="linux",
        os_name="Tiny",
        key_pair_name=key_pair_name,
        password_hash=None,
        status="Running",
        power="on",
        created_at=START,
    )


def _system_disk(caller: Caller, instance_id: str) -> Disk:
    disk_id = ids.new_id("disk")
    layer = tree.new_root(caller.session, disk_id, 20, START, "tiny_x64-1")
    layer.state = "ready"
    return Disk(
        id=disk_id,
        layer_id=layer.id,
        account_id=caller.account_id,
        instance_id=instance_id,
        zone_id="local-a",
        name="system",
        kind="system",
        category="cloud_efficiency",
        size_gib=20,
        device="/dev/xvda",
        status="In_use",
        image_id="tiny_x64",
        image_file="tiny_x64-1",
        created_at=START,
        attached_at=START,
    )
