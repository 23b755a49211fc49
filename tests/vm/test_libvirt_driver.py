"""The hypervisor driver against a libvirtd of its own: real QEMU processes, one of them with a real guest."""

import contextlib
import os
import shutil
import signal
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import libvirt
import pytest
from pyroute2 import IPRoute

from agent.core.errors import DriverError
from agent.core.ids import new_id, random_word
from agent.core.specs import DiskSpec, DomainInfo, DomainSpec, DomainState, NicSpec, SeedSpec
from agent.drivers import qemu_user
from agent.drivers.guest.seed import SeedBuilder
from agent.drivers.hypervisor.libvirt_driver import LibvirtDriver
from agent.drivers.storage.local import LocalStorage
from tests.support import golden
from tests.support.claims import Claim, claim
from tests.support.images import tiny_image
from tests.support.libvirtd import PrivateLibvirt
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

BOOT_SECONDS = 180.0
EVENT_SECONDS = 30.0


class Changes:
    """What `on_change` told."""

    def __init__(self) -> None:
        self.names: list[str | None] = []
        self._news = threading.Condition()

    def __call__(self, name: str | None) -> None:
        with self._news:
            self.names.append(name)
            self._news.notify_all()

    def forget(self) -> None:
        with self._news:
            self.names.clear()

    def wait_for(self, name: str | None) -> None:
        with self._news:
            assert self._news.wait_for(lambda: name in self.names, EVENT_SECONDS), f"no event of {name}"


@dataclass
class Host:
    """One claim on the real host, one libvirtd, one driver."""

    daemon: PrivateLibvirt
    driver: LibvirtDriver
    storage: LocalStorage
    seeds: SeedBuilder
    claim: Claim
    changes: Changes

    def spec(self, tap: str) -> DomainSpec:
        """A guest on the tiny image, its files made."""
        instance_id, disk_id, mac = new_id("instance"), new_id("disk"), "00:16:3e:00:00:01"
        disk = self.storage.create_layer(disk_id, 1, self.storage.image_path("tiny_x64"))
        return DomainSpec(
            name=f"{self.claim.prefix}-{instance_id}",
            instance_id=instance_id,
            uuid=str(uuid.uuid4()),
            vcpus=1,
            memory_mib=192,
            disks=(DiskSpec(disk, "vda", disk_id.removeprefix("d-")),),
            nics=(NicSpec(tap, mac),),
            seed=self.seeds.write_seed(SeedSpec(instance_id, "driver-test", (), None, mac)),
            console_log=self.claim.directory / "console" / f"{instance_id}.log",
            acceleration="tcg",
        )

    def info(self, spec: DomainSpec) -> DomainInfo:
        found = self.driver.info(spec.name)
        assert found is not None
        return found

    def wait_until_off(self, spec: DomainSpec) -> DomainInfo:
        wait_for("the guest's end", lambda: self.info(spec).state is DomainState.SHUT_OFF, EVENT_SECONDS)
        return self.info(spec)


@pytest.fixture(scope="module")
def host(libvirtd: PrivateLibvirt) -> Iterator[Host]:
    with claim() as claimed:
        claimed.uses_libvirt(libvirtd.uri)
        storage = LocalStorage(claimed.directory / "data")
        copy = claimed.directory / "tiny.qcow2"
        shutil.copyfile(tiny_image(), copy)
        storage.install_image("tiny_x64", copy)
        driver = LibvirtDriver(libvirtd.uri, claimed.prefix, "auto", claimed.directory)
        changes = Changes()
        driver.on_change(changes)
        try:
            yield Host(libvirtd, driver, storage, SeedBuilder(claimed.directory / "data"), claimed, changes)
        finally:
            driver.close()


@contextlib.contextmanager
def tap(host: Host) -> Iterator[str]:
    name = host.claim.prefix + random_word(8)
    with IPRoute() as links:
        links.link("add", ifname=name, kind="tuntap", mode="tap")
        try:
            yield name
        finally:
            for index in links.link_lookup(ifname=name):
                links.link("del", index=index)


@pytest.fixture
def spec(host: Host) -> Iterator[DomainSpec]:
    """A guest that is gone after the test."""
    with tap(host) as name:
        made = host.spec(name)
        yield made
        host.driver.destroy(made.name)
        host.driver.undefine(made.name)


def test_a_guest_from_start_to_its_own_end(host: Host, spec: DomainSpec) -> None:
    spec.console_log.parent.mkdir(parents=True, exist_ok=True)
    spec.console_log.write_text("an earlier boot\n")
    host.driver.start_paused(spec)
    assert (host.info(spec).state, host.info(spec).fresh, host.info(spec).uuid) == (
        DomainState.PAUSED,
        True,
        spec.uuid,
    )
    host.driver.resume(spec.name)
    assert (host.info(spec).state, host.info(spec).fresh) == (DomainState.RUNNING, False)
    prompt = b"driver-test login:"  # with the name from the seed
    wait_for("the prompt", lambda: prompt in host.driver.console_tail(spec.console_log, 4000), BOOT_SECONDS)
    assert spec.console_log.read_text(errors="replace").startswith("an earlier boot\n")

    host.changes.forget()
    host.daemon.restart_libvirtd()
    host.changes.wait_for(None)
    assert (host.info(spec).state, host.info(spec).fresh) == (DomainState.RUNNING, False)

    host.changes.forget()
    host.driver.shutdown(spec.name)
    host.changes.wait_for(spec.name)
    assert host.wait_until_off(spec).reason == "shutdown"


def test_without_libvirtd_calls_fail_for_the_time_being(host: Host, spec: DomainSpec) -> None:
    host.driver.start_paused(spec)
    host.daemon.kill_libvirtd()
    try:
        for _ in range(3):  # the first may still find a connection that looks alive
            with pytest.raises(DriverError) as caught:
                host.driver.list()
            assert caught.value.transient
        assert str(caught.value).startswith(f"cannot reach libvirt at {host.daemon.uri}: ")
    finally:
        host.daemon.start_libvirtd()
    assert host.info(spec).fresh


def test_a_killed_qemu_is_a_crash(host: Host, spec: DomainSpec) -> None:
    host.driver.start_paused(spec)
    host.driver.resume(spec.name)
    host.changes.forget()
    os.kill(host.daemon.qemu_pid(spec.name), signal.SIGKILL)
    host.changes.wait_for(spec.name)
    assert host.wait_until_off(spec).reason == "crashed"


def test_without_a_guest_agent_no_password_is_set(host: Host, spec: DomainSpec) -> None:
    assert not host.driver.guest_agent_connected(spec.name)
    with pytest.raises(DriverError, match="it is not active"):
        host.driver.set_password(spec.name, "root", "$6$salt$hash")
    host.driver.start_paused(spec)
    assert not host.driver.guest_agent_connected(spec.name)
    with pytest.raises(DriverError, match="agent") as caught:
        host.driver.set_password(spec.name, "root", "$6$salt$hash")
    assert "$6$" not in str(caught.value)


def test_two_guests_share_an_image(host: Host, spec: DomainSpec) -> None:
    image = host.storage.image_path("tiny_x64")
    files = (image, spec.disks[0].path, spec.seed)
    before = [ownership(path) for path in files if path]
    with tap(host) as name:
        other = host.spec(name)
        try:
            for one in (spec, other):
                host.driver.start_paused(one)
                host.driver.resume(one.name)
            user = qemu_user.lookup()
            status = Path(f"/proc/{host.daemon.qemu_pid(spec.name)}/status").read_text()
            assert f"Uid:\t{user.uid}\t{user.uid}\t{user.uid}\t{user.uid}" in status
            host.driver.destroy(other.name)
            assert host.info(other).reason == "destroyed"
            assert host.info(spec).state is DomainState.RUNNING
            assert [ownership(path) for path in files if path] == before
        finally:
            host.driver.destroy(other.name)
            host.driver.undefine(other.name)
    host.driver.destroy(spec.name)
    assert [ownership(path) for path in files if path] == before


def ownership(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, status.st_mode


def test_every_call_may_be_repeated(host: Host, spec: DomainSpec) -> None:
    driver = host.driver
    for _ in range(2):
        driver.start_paused(spec)
    pid = host.daemon.qemu_pid(spec.name)
    for _ in range(2):
        driver.resume(spec.name)
    for _ in range(2):
        with driver.open_display(spec.name) as screen:
            assert screen.recv(12) == b"RFB 003.008\n"
    driver.start_paused(spec)
    assert host.daemon.qemu_pid(spec.name) == pid
    assert driver.list()[spec.name] == host.info(spec)
    with pytest.raises(DriverError, match=rf"cannot undefine domain {spec.name}: it is active, destroy it first"):
        driver.undefine(spec.name)
    for _ in range(2):
        driver.destroy(spec.name)
    driver.shutdown(spec.name)
    with pytest.raises(DriverError, match=rf"cannot resume domain {spec.name}: it is not active"):
        driver.resume(spec.name)
    with pytest.raises(DriverError, match=rf"cannot open the screen of domain {spec.name}: it is not active"):
        driver.open_display(spec.name)
    for _ in range(2):
        driver.undefine(spec.name)
    assert driver.info(spec.name) is None
    for call in (driver.shutdown, driver.destroy):
        call(spec.name)


def test_a_changed_description_holds_from_the_next_start(host: Host, spec: DomainSpec) -> None:
    host.driver.start_paused(spec)
    host.driver.destroy(spec.name)
    changed = replace(spec, memory_mib=256, uuid=str(uuid.uuid4()))
    host.driver.start_paused(changed)
    assert host.info(spec).uuid == changed.uuid
    with libvirt_domain(host, spec.name) as domain:
        assert domain.maxMemory() == 256 * 1024


def test_a_missing_tap_is_one_line_and_can_be_mended(host: Host, spec: DomainSpec) -> None:
    broken = replace(spec, nics=(NicSpec("t0nosuchtap", "00:16:3e:00:00:02"),))
    with pytest.raises(DriverError, match=rf"\Acannot start domain {spec.name}: there is no tap t0nosuchtap in "):
        host.driver.start_paused(broken)
    assert host.driver.info(spec.name) is None
    host.driver.start_paused(spec)
    assert host.info(spec).fresh


def test_a_missing_disk_is_one_line_and_can_be_mended(host: Host, spec: DomainSpec) -> None:
    broken = replace(spec, disks=(replace(spec.disks[0], path=Path("/nonexistent/disk.qcow2")),))
    with pytest.raises(DriverError, match=rf"\Acannot start domain {spec.name}: .*/nonexistent/disk.qcow2") as caught:
        host.driver.start_paused(broken)
    assert "\n" not in str(caught.value)
    assert (host.info(spec).state, host.info(spec).reason) == (DomainState.SHUT_OFF, "failed")
    host.driver.start_paused(spec)
    assert host.info(spec).fresh


def test_a_guest_paused_by_others_is_not_fresh(host: Host, spec: DomainSpec) -> None:
    host.driver.start_paused(spec)
    host.driver.resume(spec.name)
    with libvirt_domain(host, spec.name) as domain:
        domain.suspend()
    assert (host.info(spec).state, host.info(spec).fresh) == (DomainState.PAUSED, False)
    host.driver.resume(spec.name)
    assert host.info(spec).state is DomainState.RUNNING


def test_a_saved_state_does_not_come_up_instead(host: Host, spec: DomainSpec) -> None:
    host.driver.start_paused(spec)
    host.driver.resume(spec.name)
    with libvirt_domain(host, spec.name) as domain:
        domain.managedSave(0)
    assert host.info(spec).reason == "saved"
    host.driver.start_paused(spec)
    assert host.info(spec).fresh
    with libvirt_domain(host, spec.name) as domain:
        assert not domain.hasManagedSaveImage()


def test_other_domains_are_neither_seen_nor_touched(host: Host) -> None:
    with libvirt_connection(host) as connection:
        foreign = connection.defineXML(
            "<domain type='qemu'><name>somebodys</name><memory>65536</memory><os><type>hvm</type></os></domain>"
        )
        try:
            assert host.driver.list() == {}
            for call in (host.driver.destroy, host.driver.undefine, host.driver.shutdown, host.driver.info):
                with pytest.raises(DriverError, match="'somebodys' is not one of ours"):
                    call("somebodys")
        finally:
            foreign.undefine()


def test_libvirt_takes_the_golden_files_as_they_are(host: Host) -> None:
    files = [path for path in (golden.GOLDEN / "domain").glob("*.xml") if 'type="qemu"' in path.read_text()[:40]]
    assert files
    with libvirt_connection(host) as connection:
        for path in files:
            connection.defineXMLFlags(path.read_text(), libvirt.VIR_DOMAIN_DEFINE_VALIDATE).undefine()


def test_version(host: Host) -> None:
    host.driver.ping()
    assert host.driver.version().startswith("libvirt ")
    assert ", QEMU " in host.driver.version()


def test_calls_from_many_threads(host: Host, spec: DomainSpec) -> None:
    host.driver.start_paused(spec)
    found: list[DomainInfo | None] = []
    threads = [threading.Thread(target=lambda: found.append(host.driver.info(spec.name))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [host.info(spec)] * 40


@contextlib.contextmanager
def libvirt_connection(host: Host) -> Iterator[libvirt.virConnect]:
    connection = libvirt.open(host.daemon.uri)
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def libvirt_domain(host: Host, name: str) -> Iterator[libvirt.virDomain]:
    with libvirt_connection(host) as connection:
        yield connection.lookupByName(name)
