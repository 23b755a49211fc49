"""Compares what should be with what is, and repairs: at start, on libvirt's events, and every now and then.

It changes nothing itself: for every difference it journals a job, so repairs are as crash-safe as anything
else. What is ours but unknown to the store is removed only where nothing can be lost with it (taps, empty
namespaces); domains and disk files that nobody knows are reported, never deleted.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from agent.config import Config
from agent.core import states
from agent.core.clock import Clock
from agent.core.errors import DriverError
from agent.core.specs import DomainInfo, DomainState
from agent.jobs import journal, reconcile_disks, translate
from agent.jobs.kinds.network import sync_filter, sync_router
from agent.jobs.layers import collect, merge
from agent.jobs.model import Context, Drivers
from agent.jobs.runner import JobRunner
from agent.jobs.stalled import AGAIN_SECONDS, Stalled
from agent.jobs.strangers import Strangers
from agent.jobs.translate_network import port_spec
from agent.store import filter_changes
from agent.store.schema import ClientToken, Instance, Job, Layer, NetworkInterface, Setting, Vpc
from agent.store.store import Store

log = logging.getLogger(__name__)

EVERY_SECONDS = 30.0
KEEP_JOBS_DAYS = 30
# Jobs after which it is settled whether an instance runs.
FATES = tuple(f"instance.{what}" for what in ("create", "run", "start", "stop", "reboot", "settle", "release"))
KEEP_TOKENS_DAYS = 1

# How a domain that stopped by itself came to stop, by libvirt's reason.
REASONS = {
    "shutdown": "shut down from inside the guest",
    "crashed": "the guest crashed",
    "failed": "the guest's QEMU process failed",
    "destroyed": "destroyed outside of this system",
}
GONE = "its domain was removed outside of this system"


class Reconciler:
    def __init__(self, config: Config, store: Store, drivers: Drivers, runner: JobRunner, clock: Clock) -> None:
        self._config, self._store, self._drivers = config, store, drivers
        self._runner, self._clock = runner, clock
        self._event = threading.Event()
        self._changed: set[str] = set()
        self._everything = False
        self._guard = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="reconciler", daemon=True)
        self.stalled = Stalled(drivers.storage)
        self.strangers = Strangers(store, runner, clock)
        self._strange: dict[str, list[str]] = {}  # disks that guests have and nobody knows, by instance
        self._orphans: list[str] = []

    @property
    def orphans(self) -> list[str]:
        """What is there and belongs to nothing: one line each, for the host's owner."""
        return [*self._orphans, *(line for lines in list(self._strange.values()) for line in lines)]

    def start(self) -> None:
        """Take over what a former agent left, before any job runs; then keep watching."""
        for name in [*self._drivers.storage.sweep(), *self._drivers.converter.sweep(unfinished=True)]:
            log.info("removed the unfinished file %s", name)
        self._after_host_restart()
        self._stop_merges()
        self._drivers.network.on_stranger(self.strangers.note)
        self._take_over_networks()
        self._drivers.hypervisor.on_change(self._on_change)
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._event.set()
        self._thread.join()

    def _on_change(self, domain: str | None) -> None:
        with self._guard:
            if domain is None:
                self._everything = True
            else:
                self._changed.add(domain)
        self._event.set()

    def _loop(self) -> None:
        everything = True
        while not self._stopping:
            try:
                self.instances() if everything else self._check_changed()
                if everything:
                    self.leftovers()
                    collect.enqueue_possible(self._context(""))
                    self._runner.wake()
                    self._housekeeping()
            except DriverError as error:
                log.warning("cannot compare wanted and actual state: %s", error)
            except OperationalError as error:  # the disk is full, as a rule
                log.warning("cannot write what differs from the wanted state: %s", error.orig)
            except Exception:
                log.exception("cannot compare wanted and actual state")
            timed_out = not self._event.wait(AGAIN_SECONDS if self.stalled.guests else EVERY_SECONDS)
            self._event.clear()
            with self._guard:
                everything, self._everything = self._everything or timed_out, False

    # -------------------------------------------------------------------------- at start

    def _after_host_restart(self) -> None:
        """Instances that ran when the host went down shall run again (SPEC I14)."""
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        with self._store.write() as session:
            seen = session.get(Setting, "boot_id")
            if seen and seen.value == boot_id:
                return
            merge.after_power_cut(self._context(""))
            if seen:
                seen.value = boot_id
                self._start_again(session)
            else:
                session.add(Setting(name="boot_id", value=boot_id))

    def _start_again(self, session: Session) -> None:
        ran = select(Instance).where(Instance.power == "on", Instance.releasing.is_(False))
        for instance in session.scalars(ran.order_by(Instance.created_at)):
            if not self._has_a_fate(session, instance.id):
                log.info("starting %s again after the host's restart", instance.id)
                instance.status, instance.status_reason = states.STARTING, "the host was restarted"
                journal.enqueue(
                    session, "instance.start", instance.id, self._clock.now(), account_id=instance.account_id
                )

    @staticmethod
    def _has_a_fate(session: Session, instance_id: str) -> bool:
        """Whether an unfinished job starts, stops or releases it. A start waits behind the other ones."""
        unfinished = select(Job.sequence).where(Job.resource_id == instance_id, Job.state.in_(journal.UNFINISHED))
        return session.scalar(unfinished.where(Job.kind.in_(FATES)).limit(1)) is not None

    def _stop_merges(self) -> None:
        try:
            merge.stop_all(self._context(""))
        except DriverError as error:
            log.warning("merges of layers that a former agent began may go on: %s", error)

    def _take_over_networks(self) -> None:
        """Routers, filters and DHCP answers of all VPCs, without interrupting what runs."""
        with self._store.read() as session:
            vpcs = list(session.scalars(select(Vpc.id)))
        taps = functools.cache(self._drivers.network.list_taps)  # it looks into the namespaces of all VPCs
        parts = sync_router, lambda context, vpc_id: self._adopt_ports(vpc_id, taps()), sync_filter
        for vpc_id in vpcs:
            if not all([self._took_over(part, vpc_id) for part in parts]):
                with self._store.write() as session:
                    journal.enqueue_sync(session, vpc_id, self._clock.now())

    def _took_over(self, part: Callable[[Context, str], None], vpc_id: str) -> bool:
        """What fails of a VPC does not keep the rest: guests ask for addresses also while the host has no uplink."""
        try:
            part(self._context(vpc_id), vpc_id)
        except DriverError as error:
            log.error("network of %s: %s; it will be tried again", vpc_id, error)
            return False
        return True

    def _adopt_ports(self, vpc_id: str, taps: dict[str, str | None]) -> None:
        with self._store.read() as session:
            found = session.scalars(select(NetworkInterface).where(NetworkInterface.vpc_id == vpc_id))
            ports = [
                port_spec(session.get_one(Instance, i.instance_id), i)
                for i in found
                if i.instance_id and taps.get(i.tap) == vpc_id
            ]
        self._drivers.network.adopt_ports(vpc_id, ports)

    def _context(self, resource_id: str) -> Context:
        return Context(
            config=self._config,
            store=self._store,
            drivers=self._drivers,
            locks=self._runner.locks,
            turns=self._runner.turns,
            filters=self._runner.filters,
            clock=self._clock,
            job_id="",
            resource_id=resource_id,
            data={},
            step_started_at=self._clock.now(),
            report=lambda percent, text: None,
            unseal=self._runner.unseal,
        )

    # -------------------------------------------------------------------------- instances

    def _check_changed(self) -> None:
        with self._guard:
            names, self._changed = self._changed, set()
        for name in names:
            instance_id = name.removeprefix(f"{self._config.prefix}-")
            self._runner.hurry(instance_id)
            info = self._drivers.hypervisor.info(name)
            serials = self._serials(name, info)
            with self._store.write() as session:
                instance = session.get(Instance, instance_id)
                if instance:
                    self._compare(session, instance, info, serials)
        self._runner.wake()

    def instances(self) -> None:
        """Compare every instance with its domain."""
        # The domains are read first: a job that begins in between makes its instance busy, and is left alone.
        domains = self._drivers.hypervisor.list()
        serials = {name: self._serials(name, info) for name, info in domains.items()}
        self._strange = {}
        with self._store.write() as session:
            for instance in session.scalars(select(Instance).where(Instance.releasing.is_(False))):
                name = translate.domain_name(self._config, instance.id)
                self._compare(session, instance, domains.get(name), serials.get(name))
            self.stalled.keep({name.removeprefix(f"{self._config.prefix}-") for name in domains})
        self._runner.wake()

    def _serials(self, name: str, info: DomainInfo | None) -> set[str] | None:
        """The disks of a domain that runs; None: it does not, or is only on its way."""
        ours = info is not None and info.state is not DomainState.SHUT_OFF and not info.fresh
        return self._drivers.hypervisor.attached_disks(name) if ours else None

    def _compare(self, session: Session, instance: Instance, info: DomainInfo | None, serials: set[str] | None) -> None:
        if self._has_a_fate(session, instance.id):
            return
        off = info is None or info.state is DomainState.SHUT_OFF
        if off and instance.status != states.STOPPED:
            reason = REASONS.get(info.reason, f"stopped ({info.reason})") if info else GONE
            log.warning("%s stopped by itself: %s", instance.id, reason)
            instance.status, instance.status_reason = states.STOPPING, reason
            self._enqueue(session, "instance.settle", instance, {"reason": reason})
        elif not off and instance.status == states.STOPPED:
            log.warning("%s runs although it should not; stopping it", instance.id)
            instance.status = states.STOPPING
            data = {"grace_seconds": self._config.shutdown_grace_seconds, "reason": "it was started by something else"}
            self._enqueue(session, "instance.stop", instance, data)
        elif info is not None and not off:
            instance.status = states.RUNNING
            self.stalled.compare(session, instance, info, self._clock.now())
        if serials is not None and instance.status == states.RUNNING:
            self._strange[instance.id] = reconcile_disks.compare(session, instance, serials, self._clock.now())

    def _enqueue(self, session: Session, kind: str, instance: Instance, data: dict[str, object]) -> None:
        journal.enqueue(session, kind, instance.id, self._clock.now(), account_id=instance.account_id, data=data)

    # -------------------------------------------------------------------------- leftovers

    def leftovers(self) -> None:
        """Remove taps and namespaces nobody knows; report domains and disk files nobody knows."""
        drivers = self._drivers
        taps, vpcs = drivers.network.list_taps(), drivers.network.list_vpcs()
        domains, layers = set(drivers.hypervisor.list()), drivers.storage.list_layers()
        with self._store.read() as session:
            known_taps = set(session.scalars(select(NetworkInterface.tap)))
            known_vpcs = set(session.scalars(select(Vpc.id)))
            known_domains = {translate.domain_name(self._config, i) for i in session.scalars(select(Instance.id))}
            known_layers = set(session.scalars(select(Layer.id)))
            removing = set(session.scalars(select(Job.lock).where(Job.state.in_(journal.UNFINISHED))))
        orphans = [f"domain {name} belongs to no instance" for name in sorted(domains - known_domains)]
        orphans += [f"disk file {layer_id}.qcow2 belongs to no disk" for layer_id in sorted(layers - known_layers)]
        for line in orphans:
            if line not in self._orphans:
                log.warning("%s; it is left alone", line)
        self._orphans = orphans
        if domains - known_domains:
            return  # their taps and namespaces may be in use
        for tap, vpc_id in taps.items():
            if tap not in known_taps:
                log.info("removing the tap %s, which belongs to nothing", tap)
                drivers.network.remove_port(vpc_id or "", tap)
        for vpc_id in vpcs - known_vpcs - removing:
            log.info("removing the namespace of %s, which belongs to nothing", vpc_id)
            drivers.network.remove_vpc(vpc_id)

    def _housekeeping(self) -> None:
        """Forget ended jobs, client tokens and forgotten big files after a while."""
        for name in self._drivers.converter.sweep(unfinished=False):
            log.info("removed the file %s, which nobody wrote to for long", name)
        now = self._clock.now()
        with self._store.write() as session:
            filter_changes.prune(session)
            session.execute(
                delete(Job).where(
                    Job.state.not_in(journal.UNFINISHED), Job.finished_at < now - dt.timedelta(days=KEEP_JOBS_DAYS)
                )
            )
            session.execute(
                delete(ClientToken).where(ClientToken.created_at < now - dt.timedelta(days=KEEP_TOKENS_DAYS))
            )
