"""Wiring: the only place where drivers meet services. Also starting and stopping it all in the right order."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from agent.api import certificate
from agent.api.edge.audit import AuditLog
from agent.api.edge.authenticate import Authenticator
from agent.api.edge.authorize import ByPolicies
from agent.api.edge.dispatch import Dispatcher
from agent.api.edge.endpoint import Endpoint
from agent.api.edge.files import FileDoor
from agent.api.edge.listen import ListenError
from agent.api.edge.registry import REGISTRY
from agent.api.edge.server import Doors, Server
from agent.api.edge.transfers import Transfers
from agent.api.edge.tunnel import Tunnels, TunnelTable
from agent.api.metadata.answer import Answers
from agent.api.metadata.live import LiveItems
from agent.api.metadata.service import MetadataService
from agent.api.names.service import NameService
from agent.api.routers import RouterServices
from agent.api.stored import StoredTokens
from agent.api.web.access import PageAccess
from agent.api.web.pages import Asset, Page, Pages
from agent.api.web.serial import SerialRoutes
from agent.api.web.vnc import VncRoutes
from agent.config import Config, ConfigError
from agent.core import instance_types
from agent.core.addresses import NAME_SERVER
from agent.core.clock import SystemClock
from agent.core.errors import DriverError
from agent.drivers.guest.password import hash_password
from agent.drivers.guest.seed import SeedBuilder
from agent.drivers.hypervisor.libvirt_driver import LibvirtDriver
from agent.drivers.image.catalogue import Catalogue
from agent.drivers.image.converter import SandboxedConverter
from agent.drivers.image.inspector import GuestfsInspector
from agent.drivers.network.driver import NetworkDriver
from agent.drivers.network.resolvers import guest_resolvers
from agent.drivers.objects.local import LocalBuckets
from agent.drivers.objects.remote import remote_stores
from agent.drivers.objects.stores import ObjectStores
from agent.drivers.objects.uploads import PartialFiles
from agent.drivers.storage.local import LocalStorage
from agent.jobs import mail, regions
from agent.jobs.model import Drivers
from agent.jobs.reconciler import Reconciler
from agent.jobs.runner import JobRunner, StepHook, no_hook
from agent.jobs.sampler import Sampler
from agent.jobs.timetable import Timetable
from agent.services import (
    account,
    auto_snapshot_policy,
    classic,
    default_network,
    disk,
    metadata,
    names,
    policy,
    port_forward,
    public_address,
    quota,
    space,
    stores,
)
from agent.services.context import Caller, Services
from agent.services.identity import IdentityKey
from agent.services.instance_credentials import RoleCredentials, Tokens
from agent.services.serial import SerialConsoles, SerialLines
from agent.services.terminal import Terminals
from agent.services.upload import Uploads
from agent.store.secrets import Sealer
from agent.store.store import Store
from agent.version import version

log = logging.getLogger(__name__)

OWN_TYPES = Path("/etc/ecs/instance_types.toml")
PAGES = (Page("vnc", assets=("novnc",)), Page("serial", assets=("xterm",)))
CRASH_VARIABLE = "ECS_CRASH_AT"  # a file that says `kind:step:when`, for tests of crash safety; see JobRunner


class Agent:
    """Everything of one agent, wired together; `start()` and `stop()` in the server's event loop."""

    def __init__(self, config: Config) -> None:
        self.config, self.clock = config, SystemClock()
        for directory, mode in ((config.data_dir, 0o711), (config.run_dir, 0o755), (config.log_dir, 0o750)):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(mode)
        quota.check_names(config)
        auto_snapshot_policy.check_time_zone(config)
        classic.check_cidr(config)
        disk.check_limits(config)
        stores.check(config)
        regions.check(config)
        public_address.check(config)
        port_forward.check(config)
        mail.check(config)
        self.store = Store(config.database)
        self.sealer = Sealer(config.data_dir / "host.key")
        self.identity = IdentityKey(config.data_dir / "identity.pem", self.clock)
        self.drivers = drivers_of(config)
        self.runner = JobRunner(config, self.store, self.drivers, self.clock, _crash_hook(), unseal=self.sealer.open)
        self.reconciler = Reconciler(config, self.store, self.drivers, self.runner, self.clock)
        self.uploads = Uploads(
            PartialFiles(config.data_dir / "uploads"),
            self.store,
            self.sealer,
            self.clock,
            config,
            self.drivers.storage,
            self.drivers.objects,
        )
        self.timetable = Timetable(
            config,
            self.store,
            self.runner,
            self.clock,
            lambda session, account_id: quota.limit_of(session, config, account_id, "snapshots_per_disk"),
            lambda: space.lacking(config, self.drivers.storage, space.NEW_LAYER_BYTES, "take a snapshot"),
            [self.uploads.sweep],
        )
        self.sampler = Sampler(self.store, self.drivers.hypervisor, self.clock)
        self.tickets = TunnelTable()
        self.page_access = PageAccess(
            self.sealer, self.clock, config.console_token_seconds, config.console_url, lambda: self.server.local_url()
        )
        self.services = self._services()
        self.server = self._server()
        self.files = FileDoor(self.runner.open_files, config.files_socket, config.socket_group)
        self.in_vpcs = RouterServices(self.drivers.network, (self._metadata(), self._names()))

    def _services(self) -> Services:
        return Services(
            version=version(),
            config=self.config,
            clock=self.clock,
            store=self.store,
            sealer=self.sealer,
            identity=self.identity,
            runner=self.runner,
            hypervisor=self.drivers.hypervisor,
            storage=self.drivers.storage,
            network=self.drivers.network,
            builder=self.drivers.builder,
            objects=self.drivers.objects,
            uploads=self.uploads,
            instance_types=instance_types.load(instance_types.BUILT_IN, OWN_TYPES),
            tunnels=self.tickets,
            consoles=SerialConsoles(self.drivers.hypervisor, self.clock),
            pages=self.page_access,
            problems=self._problems,
            stalled=lambda instance_id: self.reconciler.stalled.reason(instance_id),
            hash_password=hash_password,
        )

    def _problems(self) -> list[str]:
        drivers = self.drivers
        return [
            *drivers.hypervisor.host_problems(),
            *space.problems(self.config, drivers.storage),
            *self.reconciler.stalled.problems(),
            *self.reconciler.orphans,
            *self.reconciler.strangers.problems(),
        ]

    def _server(self) -> Server:
        import agent.api.actions  # noqa: F401  (declares every action)

        config, tunnels = self.config, Tunnels(self.tickets)
        transfers = Transfers(self.uploads, self.drivers.objects)
        dispatcher = Dispatcher(
            REGISTRY,
            self.store,
            self.services,
            StoredTokens(),
            authorizer=ByPolicies(policy.decide, account.owns_host),
            region_id=config.region_id,
            clock=self.clock,
        )
        credentials = account.AccessKeys(self.store, self.sealer, self.clock)
        authenticator = Authenticator(credentials, config.socket_group, self.clock)
        doors = Doors(
            socket=config.socket,
            socket_group=config.socket_group,
            http=config.http,
            https=config.https,
            tls_dir=config.data_dir / "tls",
        )
        endpoint = Endpoint(dispatcher, authenticator, AuditLog(config.log_dir, self.clock))
        assets = {"novnc": Asset(config.novnc_dir, "novnc"), "xterm": Asset(config.xterm_dir, "node-xterm")}
        pages = Pages(self.page_access, PAGES, assets)
        terminals = Terminals(self.store, config, self.sealer, self.drivers.hypervisor)
        vnc = VncRoutes(self.page_access, terminals, endpoint, self.clock)
        lines = SerialLines(config, self.drivers.hypervisor, self.services.consoles)
        serial = SerialRoutes(self.page_access, terminals, lines, endpoint, config.xterm_dir)
        routes = [*pages.routes, *vnc.routes, *serial.routes]
        return Server(
            endpoint,
            doors,
            [tunnels.route, certificate.route(self.identity), *transfers.routes, *routes],
            [tunnels.close, transfers.close, vnc.close, serial.close],
        )

    def _metadata(self) -> MetadataService:
        instances = metadata.Instances(self.store, self.config, (NAME_SERVER,))
        live = LiveItems(RoleCredentials(self.store, self.sealer, self.clock), self.identity)
        answers = Answers(instances.at, live, Tokens(self.sealer, self.clock))
        return MetadataService(self.drivers.network, answers)

    def _names(self) -> NameService:
        resolvers = guest_resolvers(self.config.uplink, self.config.dns)
        return NameService(self.drivers.network, names.Names(self.store), self.config.domain, resolvers)

    async def start(self) -> None:
        """Raises ListenError. The past is taken over before jobs run, and jobs run before calls are answered."""
        await self.in_vpcs.start()  # before any router, to hear of all of them
        await asyncio.to_thread(self._take_over)
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()
        self.runner.start()
        self.runner.wake()
        self.timetable.start()
        self.sampler.start()
        await self.files.start()
        await self.server.start()

    def _take_over(self) -> None:
        with self.store.write() as session:
            owner = account.ensure_default_account(session, self.clock)
            default_network.ensure_default_network(Caller(session, owner.id, "", self.services))
        self.reconciler.start()

    def _warm_up(self) -> None:
        """Probing KVM, libvirt's look at QEMU and making a key take seconds: better now than in the first call."""
        self.identity.certificate()
        self.drivers.hypervisor.acceleration()
        try:
            self.drivers.hypervisor.version()
        except DriverError as error:
            log.warning("%s", error)

    async def stop(self) -> None:
        """Guests, their network and their filters go on as they are. Ends the process if a step will not end."""
        await self.server.stop()
        await self.files.stop()
        await self.in_vpcs.stop()
        await asyncio.to_thread(self.timetable.stop)
        await asyncio.to_thread(self.sampler.stop)
        await asyncio.to_thread(self.reconciler.stop)
        if not await asyncio.to_thread(self.runner.stop):
            log.warning("leaving a step of a job unfinished; the next agent does it again")
            logging.shutdown()
            os._exit(0)
        self.drivers.network.close()
        self.drivers.hypervisor.close()
        self.store.close()


def drivers_of(config: Config) -> Drivers:
    """The real drivers, as configured."""
    hypervisor = LibvirtDriver(config.libvirt_uri, config.prefix, config.acceleration, config.data_dir)
    return Drivers(
        hypervisor=hypervisor,
        storage=LocalStorage(config.data_dir),
        network=NetworkDriver(config.prefix, config.uplink, (NAME_SERVER,), domain=config.domain),
        seeds=SeedBuilder(config.data_dir),
        builder=Catalogue(config.catalogue_dir, config.staging_dir),
        converter=SandboxedConverter(config.staging_dir, functools.partial(space.reserved_bytes, config)),
        objects=objects_of(config),
        inspector=GuestfsInspector(config.data_dir / "appliance", lambda: hypervisor.acceleration().kind),
    )


def objects_of(config: Config) -> ObjectStores:
    """Buckets: directories of this host, and those of the configured stores."""
    local = LocalBuckets(config.data_dir / "buckets")
    remote = remote_stores(stores.stores_of(config))
    return ObjectStores(local, config.staging_dir, remote, functools.partial(space.reserved_bytes, config))


def serve(config: Config) -> int:
    """Run an agent until SIGTERM or SIGINT; the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for chatty in ("alembic", "sh"):  # sh would log whole command lines
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        return asyncio.run(_serve(config))
    except (ConfigError, ListenError, DriverError) as error:
        log.error("%s", error)
        return 1


async def _serve(config: Config) -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    agent = Agent(config)
    await agent.start()
    # All modules and tables stay as they are. A collector that looked at them would stop every thread for 0.1 s now
    # and then, and the end of the process for 0.4 s.
    gc.freeze()
    gc.enable()
    log.info("serving region %s on %s", config.region_id, config.socket)
    await ended.wait()
    log.info("stopping; guests go on running")
    await agent.stop()
    return 0


def _crash_hook() -> StepHook:
    named = os.environ.get(CRASH_VARIABLE)
    if not named:
        return no_hook
    file = Path(named)

    def crash(kind: str, step: str, when: str) -> None:
        if file.exists() and file.read_text() == f"{kind}:{step}:{when}":
            os.kill(os.getpid(), signal.SIGKILL)

    return crash


def remove_all(config: Config) -> list[str]:
    """Take away every domain and all of the network of this agent; a line for each thing that was there."""
    drivers = drivers_of(config)
    removed = []
    try:
        for name in drivers.hypervisor.list():
            drivers.hypervisor.destroy(name)
            drivers.hypervisor.undefine(name)
            removed.append(f"domain {name}")
    except DriverError as error:
        removed.append(f"domains, if there are any, stay: {error}")
    removed += [f"router of {vpc_id}" for vpc_id in sorted(drivers.network.list_vpcs())]
    drivers.network.remove_all()
    drivers.network.close()
    drivers.hypervisor.close()
    return removed
