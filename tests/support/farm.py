"""Disks made of layers with everything real but the guests: store, jobs, files, libvirt and QEMU.

Domains are never resumed: what a guest would write comes through QEMU's own `qemu-io`, into the virtual device.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import libvirt
import libvirt_qemu
from sqlalchemy import select

import agent.jobs.kinds  # noqa: F401  (registers every kind of job)
from agent.config import Config
from agent.core import ids
from agent.core.clock import SystemClock
from agent.core.image_protocols import Builder, Converter, Inspector
from agent.core.protocols import Hypervisor, Network, Objects, Seeds, Storage
from agent.core.specs import DiskSpec, DomainSpec
from agent.drivers.hypervisor.libvirt_driver import LibvirtDriver
from agent.drivers.storage.local import LocalStorage
from agent.jobs import journal, translate
from agent.jobs.layers import collect, merge, tree
from agent.jobs.layers.take import TAKE
from agent.jobs.model import Context, Drivers
from agent.jobs.runner import JobRunner
from agent.store.schema import Account, Disk, Instance, Job, Layer, Snapshot
from agent.store.store import Store
from tests.support.crashing import Crash, Crashing, Fuse
from tests.support.disk_io import UNIT, header, judge, qemu_io, reads
from tests.support.libvirtd import PrivateLibvirt
from tests.support.waiting import wait_for

ACCOUNT = "1000000000000001"
MEMORY_MIB = 16


class Farm:
    """`directory` must be passable for QEMU's user; `prefix` begins the names of domains."""

    def __init__(
        self,
        directory: Path,
        libvirt_uri: str,
        prefix: str,
        hypervisor: Hypervisor | None = None,
    ) -> None:
        self.config = replace(Config(), data_dir=directory / "data", prefix=prefix, libvirt_uri=libvirt_uri)
        self.clock = SystemClock()
        self.store = Store(self.config.database)
        self.storage = LocalStorage(self.config.data_dir)
        self.hypervisor = hypervisor or LibvirtDriver(libvirt_uri, prefix, "tcg", self.config.data_dir)
        self.fuse = Fuse()
        self.runner = self._new_runner()
        self.runner.start()
        with self.store.write() as session:
            if session.get(Account, ACCOUNT) is None:
                session.add(Account(id=ACCOUNT, name="owner", created_at=self.clock.now()))

    def _new_runner(self) -> JobRunner:
        drivers = Drivers(
            cast(Hypervisor, Crashing(self.hypervisor, self.fuse)),
            cast(Storage, Crashing(self.storage, self.fuse)),
            cast(Network, None),
            cast(Seeds, None),
            cast(Builder, None),
            cast(Converter, None),
            cast(Inspector, None),
            cast(Objects, None),
        )
        return JobRunner(self.config, self.store, drivers, self.clock, unseal=bytes.decode)

    def restart(self) -> None:
        """What follows the crash of an agent: nothing of it works on, and a new one takes over."""
        self.runner.stop()
        self.fuse.renew()
        self.runner = self._new_runner()
        merge.stop_all(self.context())
        self.runner.start()
        self.runner.wake()

    def close(self) -> None:
        self.runner.stop()
        for name in self.hypervisor.list():
            self.hypervisor.destroy(name)
            self.hypervisor.undefine(name)
        self.hypervisor.close()
        self.store.close()

    # ------------------------------------------------------------------------ instances

    def add_instance(self) -> str:
        instance_id = ids.new_id("instance")
        with self.store.write() as session:
            session.add(
                Instance(
                    id=instance_id,
                    account_id=ACCOUNT,
                    uuid=str(uuid.uuid4()),
                    name="",
                    host_name="",
                    zone_id="local-a",
                    instance_type="ecs.t1.small",
                    vcpus=1,
                    memory_mib=MEMORY_MIB,
                    image_id="",
                    os_type="linux",
                    os_name="",
                    status="Stopped",
                    power="off",
                    created_at=self.clock.now(),
                )
            )
        return instance_id

    def domain(self, instance_id: str) -> str:
        return translate.domain_name(self.config, instance_id)

    def start(self, instance_id: str) -> None:
        """As the job does it: with the turn on the files of its disks."""
        with self.store.read() as session:
            trees = [disk.layer.tree for disk in session.get_one(Instance, instance_id).disks]
        with self.runner.turns.claim(trees):
            with self.store.read() as session:
                spec = self._spec(session.get_one(Instance, instance_id))
            self.hypervisor.start_paused(spec)
        self._set_status(instance_id, "Running")

    def _spec(self, instance: Instance) -> DomainSpec:
        return DomainSpec(
            name=self.domain(instance.id),
            instance_id=instance.id,
            uuid=instance.uuid,
            vcpus=1,
            memory_mib=MEMORY_MIB,
            disks=tuple(
                DiskSpec(self.storage.layer_path(disk.layer_id), f"vd{chr(97 + n)}", ids.body(disk.id))
                for n, disk in enumerate(instance.disks)
            ),
            nics=(),
            seed=None,
            console_log=self.config.console_log(instance.id),
            acceleration="tcg",
        )

    def stop(self, instance_id: str) -> None:
        self.hypervisor.destroy(self.domain(instance_id))
        self._set_status(instance_id, "Stopped")

    def kill_qemu(self, instance_id: str, libvirtd: PrivateLibvirt) -> None:
        """SIGKILL of the guest's QEMU; returns when libvirt knows."""
        os.kill(libvirtd.qemu_pid(self.domain(instance_id)), signal.SIGKILL)
        wait_for("the end of QEMU", lambda: not self.is_running(instance_id), every=0.02)

    def _set_status(self, instance_id: str, status: str) -> None:
        with self.store.write() as session:
            instance = session.get_one(Instance, instance_id)
            instance.status = status
            for disk in instance.disks:
                tree.collect_if_needed(session, disk.layer.tree, self.clock.now())
        self.runner.wake()

    def is_running(self, instance_id: str | None) -> bool:
        if instance_id is None:
            return False
        info = self.hypervisor.info(self.domain(instance_id))
        return info is not None and info.state.value != "shut off"

    # ------------------------------------------------------------------------ disks

    def add_disk(self, instance_id: str | None = None, size_gib: int = 1, snapshot_id: str | None = None) -> str:
        """Empty, or with the content of a snapshot."""
        disk_id, now = ids.new_id("disk"), self.clock.now()
        with self.store.write() as session:
            if snapshot_id:
                parent = session.get_one(Snapshot, snapshot_id).layer
                assert parent
                layer = tree.new_child(session, disk_id, size_gib, now, parent)
            else:
                layer = tree.new_root(session, disk_id, size_gib, now)
            session.add(_disk(disk_id, layer.id, instance_id, size_gib, now))
            made = layer.tree
        self._ensure_file(made, disk_id)
        return disk_id

    def _ensure_file(self, of: str, disk_id: str) -> None:
        with self.runner.turns.claim([of]), self.store.write() as session:
            layer = session.get_one(Disk, disk_id).layer
            tree.ensure_file(self.storage, layer)
            layer.state = "ready"

    def roll_back(self, disk_id: str, snapshot_id: str) -> None:
        now = self.clock.now()
        with self.store.write() as session:
            disk, snapshot = session.get_one(Disk, disk_id), session.get_one(Snapshot, snapshot_id)
            assert snapshot.layer
            disk.layer_id = tree.new_child(session, disk_id, disk.size_gib, now, snapshot.layer).id
            session.flush()
            session.refresh(disk)
            made = disk.layer.tree
            tree.enqueue_collect(session, made, now)
        self._ensure_file(made, disk_id)
        self.runner.wake()

    def plug(self, disk_id: str, instance_id: str | None) -> None:
        """Into a stopped instance, or out of one."""
        with self.store.write() as session:
            disk = session.get_one(Disk, disk_id)
            disk.instance_id, disk.status = instance_id, "In_use" if instance_id else "Available"

    def delete_disk(self, disk_id: str) -> None:
        with self.store.write() as session:
            tree.forget_disk(session, session.get_one(Disk, disk_id), self.clock.now())
        self.runner.wake()

    def grow(self, disk_id: str, size_gib: int) -> None:
        """While nothing runs on it."""
        with self.store.read() as session:
            of = session.get_one(Disk, disk_id).layer.tree
        with self.runner.turns.claim([of]), self.store.write() as session:
            disk = session.get_one(Disk, disk_id)
            path = self.storage.layer_path(disk.layer_id)
            subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", str(path), f"{size_gib}G"], check=True)
            disk.size_gib = disk.layer.size_gib = size_gib

    # ------------------------------------------------------------------------ snapshots

    def take(self, disk_id: str) -> str:
        """Asked for; not awaited."""
        snapshot_id, now = ids.new_id("snapshot"), self.clock.now()
        with self.store.write() as session:
            disk = session.get_one(Disk, disk_id)
            session.add(_snapshot(snapshot_id, disk, now))
            session.flush()
            journal.enqueue(session, TAKE, snapshot_id, now, lock=disk.instance_id or disk_id)
        self.runner.wake()
        return snapshot_id

    def delete_snapshot(self, snapshot_id: str) -> None:
        with self.store.write() as session:
            tree.forget_snapshot(session, session.get_one(Snapshot, snapshot_id), self.clock.now())
        self.runner.wake()

    def snapshot(self, snapshot_id: str) -> Snapshot:
        with self.store.read() as session:
            snapshot = session.get_one(Snapshot, snapshot_id)
            _ = snapshot.layer
            return snapshot

    def wait_taken(self, snapshot_id: str) -> Snapshot:
        """Until it is taken, or the fuse has blown."""

        def ended() -> bool:
            return self.fuse.blown.is_set() or self.snapshot(snapshot_id).status != "progressing"

        wait_for(f"{snapshot_id} taken", ended, 60, every=0.02)
        return self.snapshot(snapshot_id)

    # ------------------------------------------------------------------------ content

    def write(self, disk_id: str, unit: int, pattern: int) -> None:
        """Fill one unit of the disk with a byte; durable when this returns."""
        self._io(disk_id, [f"write -P {pattern} {unit * UNIT} {UNIT}", "flush"])

    def fill(self, disk_id: str, mib: int, pattern: int, first: int = 0) -> None:
        """Much at once, from the `first` MiB on."""
        pieces = [(first + at, min(256, mib - at)) for at in range(0, mib, 256)]
        self._io(disk_id, [*(f"write -P {pattern} {at}M {size}M" for at, size in pieces), "flush"])

    def zero(self, disk_id: str, unit: int) -> None:
        """As a guest that trims: the unit reads as zeros, and its space may be returned."""
        self._io(disk_id, [f"write -z -u {unit * UNIT} {UNIT}", "flush"])

    def read_disk(self, disk_id: str, units: dict[int, int]) -> None:
        """Raises WriteFailed unless each unit is full of its byte."""
        self._io(disk_id, reads(units))

    def _io(self, disk_id: str, commands: list[str]) -> None:
        with self.store.read() as session:
            instance_id = session.get_one(Disk, disk_id).instance_id
        if self.is_running(instance_id):
            assert instance_id
            answers = "".join(self._monitor(instance_id, disk_id, command) for command in commands)
            judge(answers, disk_id)
        else:
            self._offline(disk_id, commands)

    def _offline(self, disk_id: str, commands: list[str]) -> None:
        """With the turn, as whoever starts a guest has it."""
        with self.store.read() as session:
            of = session.get_one(Disk, disk_id).layer.tree
        with self.runner.turns.claim([of]):
            with self.store.read() as session:
                path = self.storage.layer_path(session.get_one(Disk, disk_id).layer_id)
            qemu_io(path, commands)

    def _monitor(self, instance_id: str, disk_id: str, command: str) -> str:
        connection = libvirt.open(self.config.libvirt_uri)
        try:
            domain = connection.lookupByName(self.domain(instance_id))
            device = self._device(domain, disk_id)
            line = f'qemu-io -d {device} "{command}"'
            flags = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
            return str(libvirt_qemu.qemuMonitorCommand(domain, line, flags))
        finally:
            connection.close()

    def _device(self, domain: libvirt.virDomain, disk_id: str) -> str:
        description = domain.XMLDesc()
        for disk in re.findall(r"<disk .*?</disk>", description, re.DOTALL):
            if f"<serial>{ids.body(disk_id)}</serial>" in disk:
                found = re.search(r"<alias name='([^']+)'/>\s*<address", disk)
                assert found
                return f"/machine/peripheral/{found.group(1)}/virtio-backend"
        raise AssertionError(f"{disk_id} is not in the domain")

    def read_snapshot(self, snapshot_id: str, units: dict[int, int]) -> None:
        layer = self.snapshot(snapshot_id).layer
        assert layer
        with self.runner.turns.reading(layer.tree):
            layer_id = self.snapshot(snapshot_id).layer_id
            assert layer_id
            qemu_io(self.storage.layer_path(layer_id), reads(units), "-U", "-r")

    # ------------------------------------------------------------------------ what there is

    def layers(self) -> list[Layer]:
        with self.store.read() as session:
            return list(session.scalars(select(Layer)))

    def collect(self) -> None:
        """As the reconciler does every now and then."""
        with contextlib.suppress(Crash):
            collect.enqueue_possible(self.context())
        self.runner.wake()

    def wait_idle(self) -> None:
        wait_for("all jobs' end", lambda: self.fuse.blown.is_set() or self.is_idle(), 60, every=0.02)

    def wait_message(self, message: str) -> None:
        """Until an unfinished job says so."""

        def said() -> bool:
            with self.store.read() as session:
                return message in session.scalars(select(Job.message).where(Job.state.in_(journal.UNFINISHED))).all()

        wait_for(message, said, 60, every=0.02)

    def is_idle(self) -> bool:
        """Whether no job is unfinished."""
        with self.store.read() as session:
            return not list(session.scalars(select(Job.id).where(Job.state.in_(journal.UNFINISHED))))

    def violations(self) -> list[str]:
        """Of the tree's rules, as far as files and store show them."""
        layers = {layer.id: layer for layer in self.layers()}
        found = [f"{name} is left over" for name in sorted(self.storage.list_layers() - set(layers))]
        for layer in layers.values():
            path = self.storage.layer_path(layer.id)
            if not path.exists():
                found.append(f"{layer.id} ({layer.state}) has no file")
                continue
            check = subprocess.run(["qemu-img", "check", "-q", "-U", str(path)], capture_output=True, text=True)
            if check.returncode not in (0, 3):  # 3: leaked clusters, which a killed QEMU leaves
                found.append(f"{layer.id}: {check.stdout}{check.stderr}")
            backing = header(path).get("full-backing-filename")
            wanted = str(self.storage.layer_path(layer.parent_id)) if layer.parent_id else None
            if backing != wanted:
                found.append(f"{layer.id} is an overlay on {backing}, not on {wanted}")
        return found

    def wait_merging(self, disk_id: str) -> None:
        """Until the disk's running guest merges layers below the one that it writes to."""
        with self.store.read() as session:
            name = self.domain(session.get_one(Disk, disk_id).instance_id or "")
        wait_for("a merge", lambda: self.hypervisor.merging(name, ids.body(disk_id)), 30, every=0.005)

    def context(self, resource_id: str = "") -> Context:
        return self.runner._context(Job(id="", resource_id=resource_id, data={}, step_started_at=self.clock.now()))


def _disk(disk_id: str, layer_id: str, instance_id: str | None, size_gib: int, now: object) -> Disk:
    return Disk(
        id=disk_id,
        layer_id=layer_id,
        account_id=ACCOUNT,
        instance_id=instance_id,
        zone_id="local-a",
        kind="data",
        category="cloud_ssd",
        size_gib=size_gib,
        device=None,
        status="In_use" if instance_id else "Available",
        created_at=now,
    )


def _snapshot(snapshot_id: str, disk: Disk, now: object) -> Snapshot:
    return Snapshot(
        id=snapshot_id,
        account_id=ACCOUNT,
        disk_id=disk.id,
        kind="user",
        status="progressing",
        size_gib=disk.size_gib,
        disk_kind=disk.kind,
        category=disk.category,
        created_at=now,
    )


@contextmanager
def farm(directory: Path, libvirt_uri: str, prefix: str) -> Iterator[Farm]:
    made = Farm(directory, libvirt_uri, prefix)
    try:
        yield made
    finally:
        made.close()
