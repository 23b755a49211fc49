"""The agent's configuration: one TOML file, every value with a default that suits a single lab host."""

from __future__ import annotations

import re
import stat
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path

DEFAULT_PATH = Path("/etc/ecs/agent.toml")


class ConfigError(Exception):
    """The file cannot be read or says something it cannot mean; one line, naming file and key."""


@dataclass(frozen=True)
class Config:
    """All paths absolute. `prefix` begins the name of every domain, namespace and link of this agent, so
    that several agents (a host's own and a test's) never touch each other's things."""

    data_dir: Path = Path("/var/lib/ecs")
    run_dir: Path = Path("/run/ecs")
    log_dir: Path = Path("/var/log/ecs")
    catalogue_dir: Path = Path("/opt/ecs/images")  # recipes of public images
    prefix: str = "ecs"  # 1-4 lower-case alphanumerics: link names have 15 characters
    region_id: str = "local"
    zone_id: str = "local-a"
    time_zone: str = "Asia/Shanghai"  # an IANA name; in which policies' hours are read that name no zone of their own
    libvirt_uri: str = "qemu:///system"
    acceleration: str = "auto"  # auto | kvm | tcg
    nested_virtualization: bool = False  # whether guests may run guests of their own with KVM (SPEC N8)
    uplink: str = "none"  # none | auto | an interface of the host
    public_addresses: tuple[str, ...] = ()  # blocks and addresses of the host's LAN; empty: a private pool
    port_forwards: str = "owner"  # who may have ports of the host: owner (the default account) | all
    http: str = "127.0.0.1:8800"  # empty: no plain http
    https: str = ""  # e.g. 0.0.0.0:8443; empty: off
    console_url: str = ""  # base URL of the pages for browsers; empty: as the caller reached the agent
    console_token_seconds: int = 120  # for which the one-time URL of such a page is good
    novnc_dir: Path = Path("/usr/share/novnc")  # of the package novnc
    xterm_dir: Path = Path("/usr/share/nodejs/xterm/lib")  # of the package node-xterm
    socket_group: str = "ecs"  # may use the unix socket without root, if the group exists
    quotas: dict[str, int] = field(default_factory=dict)  # overrides of the defaults, by quota name
    minimum_disk_gib: dict[str, int] = field(default_factory=dict)  # lab use: by disk category, and `system`
    disk_reserve_gib: float = -1.0  # of the host's disk nothing new may use; below 0: a twentieth, at most 10 GiB
    disk_limits: dict[str, dict[str, int]] = field(default_factory=dict)  # core.disk_categories.SETTINGS, by category
    object_stores: dict[str, dict[str, object]] = field(default_factory=dict)  # services.stores, by a name
    detach_seconds: float = 60.0  # how long a running guest may take to let go of a disk
    classic_cidr: str = "10.168.0.0/16"  # of the classic network (SPEC N4), when that is first made
    dns: tuple[str, ...] = ()  # asked for what guests ask; empty: the host's own. With uplink `none` nobody is
    domain: str = "ecs.internal"  # of guests' names
    regions: dict[str, dict[str, object]] = field(default_factory=dict)  # jobs.regions, by their names
    mail_allowed: tuple[str, ...] = ()  # accounts and instances that may send to tcp 25 of the outside; or `all`
    import_dirs: tuple[str, ...] = ()  # whole paths; only files in them are imported by name
    shutdown_grace_seconds: int = 90  # how long a guest may take to stop when the host goes down
    memory_overcommit: float = 1.0
    cpu_overcommit: float = 8.0

    @property
    def socket(self) -> Path:
        return self.run_dir / "agent.sock"

    @property
    def files_socket(self) -> Path:
        return self.run_dir / "files.sock"

    @property
    def staging_dir(self) -> Path:
        """For big files on their way: nobody else's, and swept."""
        return self.data_dir / "staging"

    @property
    def database(self) -> Path:
        return self.data_dir / "ecs.db"

    def console_log(self, instance_id: str) -> Path:
        return self.data_dir / "console" / f"{instance_id}.log"


def load(path: Path) -> Config:
    """Read `path`; raises ConfigError for an unreadable file, an unknown key or a wrong type."""
    try:
        with path.open("rb") as stream:
            raw = tomllib.load(stream)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    return parse(raw, str(path))


def parse(raw: dict[str, object], where: str) -> Config:
    """A Config from the tables of a TOML document."""
    known = {f.name: f for f in fields(Config)}
    values: dict[str, object] = {}
    for key, value in raw.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}; known are {', '.join(sorted(known))}")
        values[key] = _convert(key, value, getattr(Config(), key), where)
    config = Config(**values)  # type: ignore[arg-type]
    if not re.fullmatch(r"[a-z][a-z0-9]{0,3}", config.prefix):
        raise ConfigError(f"{where}: prefix {config.prefix!r} must be 1-4 lower-case letters or digits, first a letter")
    return config


def check_secret(key: str, path: Path) -> None:
    """Raises ConfigError for a file named by `key` that is not there or that others than its owner may use."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(f"{key} {path}: {error.strerror}") from None
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise ConfigError(f"{key} {path}: it must be a file of mode 0600, as it holds a secret")


def _convert(key: str, value: object, default: object, where: str) -> object:
    if isinstance(default, Path) and isinstance(value, str) and value.startswith("/"):
        return Path(value)
    if isinstance(default, tuple) and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if isinstance(default, float) and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if type(value) is type(default):
        return value
    wanted = "an absolute path" if isinstance(default, Path) else f"a {type(default).__name__}"
    raise ConfigError(f"{where}: {key} = {value!r} must be {wanted}")
