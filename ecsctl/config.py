"""Where settings come from: flag, then environment, then profile, then default.

Profiles live in `~/.ecsctl/config.toml` (mode 0600 in a 0700 directory; `ECSCTL_HOME` names another directory):

    current = "default"
    [profiles.default]
    endpoint = "https://host:8443"
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ecsctl.errors import CliError, UsageFault

DEFAULT_SOCKET = "/run/ecs/agent.sock"
DEFAULT_HTTP = "http://127.0.0.1:8800"

KEYS = {
    "endpoint": "unix://PATH, http://HOST:PORT, https://HOST:PORT or ssh://USER@HOST",
    "region": "region id",
    "access_key_id": "access key id",
    "access_key_secret": "access key secret",
    "ca": "file of the certificate authority of an https endpoint",
    "default_key_pair": "key pair of new instances when none is named",
}
SECRET = "access_key_secret"
_CREDENTIALS = ("access_key_id", "access_key_secret")
_ENVIRONMENT = {
    "endpoint": "ECSCTL_ENDPOINT",
    "region": "ECSCTL_REGION",
    "ca": "ECSCTL_CA",
    "access_key_id": "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "access_key_secret": "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
}
SECURITY_TOKEN = "ALIBABA_CLOUD_SECURITY_TOKEN"
_PROFILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


def home() -> Path:
    """The directory of the configuration, private keys and known hosts."""
    named = os.environ.get("ECSCTL_HOME")
    return Path(named) if named else Path.home() / ".ecsctl"


def make_home(*below: str) -> Path:
    """`home()/below…`, created with mode 0700."""
    path = home()
    for part in ("", *below):
        path = path / part
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CliError(f"cannot create {path}: {error.strerror}; set ECSCTL_HOME to a directory of yours") from None
    return path


def write_private(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace `path` by `text` at once, never readable by others, not even in between."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CliError(f"cannot write {path}: {error.strerror}") from None


@dataclass
class ConfigFile:
    """The content of config.toml. `warning` is set when others can read it."""

    current: str = "default"
    profiles: dict[str, dict[str, str]] = field(default_factory=dict)
    warning: str = ""

    @staticmethod
    def path() -> Path:
        return home() / "config.toml"

    @classmethod
    def load(cls) -> ConfigFile:
        """The file, or an empty configuration when there is none; CliError when it cannot be understood."""
        path = cls.path()
        try:
            raw, mode = path.read_bytes(), path.stat().st_mode
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise CliError(f"cannot read {path}: {error.strerror}") from None
        loaded = _parse(raw, path)
        if stat.S_IMODE(mode) & 0o077:
            loaded.warning = f"{path} can be read by others (mode {stat.S_IMODE(mode):04o}): run `chmod 600 {path}`"
        return loaded

    def save(self) -> None:
        make_home()
        lines = [f"current = {_quote(self.current)}"]
        for name, values in sorted(self.profiles.items()):
            lines += ["", f"[profiles.{_quote(name)}]"]
            lines += [f"{key} = {_quote(values[key])}" for key in KEYS if values.get(key)]
        write_private(self.path(), "\n".join(lines) + "\n")

    def profile(self, name: str) -> dict[str, str]:
        """The values of a profile, for changing; made if it is new. UsageFault for a name that cannot be one."""
        if not _PROFILE_NAME.match(name):
            raise UsageFault(f"profile name {name!r} must be 1-64 letters, digits, dots, dashes or underscores")
        return self.profiles.setdefault(name, {})


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _parse(raw: bytes, path: Path) -> ConfigFile:
    import tomllib

    try:
        document = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CliError(f"{path}: {error}; correct it or move it away and run `ecsctl config init`") from None
    profiles = document.get("profiles", {})
    current = document.get("current", "default")
    if not isinstance(profiles, dict) or not isinstance(current, str):
        raise CliError(f"{path}: `current` must be a string and `profiles` a table")
    for name, values in profiles.items():
        _check_profile(name, values, path)
    return ConfigFile(current, profiles)


def _check_profile(name: str, values: object, path: Path) -> None:
    if not isinstance(values, dict):
        raise CliError(f"{path}: profiles.{name} must be a table")
    for key, value in values.items():
        if key not in KEYS:
            raise CliError(f"{path}: profiles.{name}: unknown key {key!r}; known are {', '.join(KEYS)}")
        if not isinstance(value, str):
            raise CliError(f"{path}: profiles.{name}.{key} = {value!r} must be a string")


@dataclass(frozen=True)
class Settings:
    """What this run uses. Empty strings: not set. `origins` says where each value came from, for messages."""

    profile: str
    endpoint: str
    region: str = ""
    access_key_id: str = ""
    access_key_secret: str = ""
    security_token: str = ""  # of temporary credentials, which are never kept in a profile
    ca: str = ""
    default_key_pair: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def key_origin(self) -> str:
        return self.origins.get("access_key_id", "")


def default_endpoint() -> str:
    """The local agent: its socket if we may use it, else its loopback port."""
    if os.access(DEFAULT_SOCKET, os.R_OK | os.W_OK):
        return f"unix://{DEFAULT_SOCKET}"
    return DEFAULT_HTTP


def resolve(flags: Mapping[str, str | None], file: ConfigFile, environ: Mapping[str, str]) -> Settings:
    """The settings of this run. CliError for a profile that is named but does not exist.

    An access key of the profile is not used on a unix socket named by flag or environment: the socket knows its
    peer, and the key may be another agent's.
    """
    name = flags.get("profile") or environ.get("ECSCTL_PROFILE") or file.current
    named = flags.get("profile") or environ.get("ECSCTL_PROFILE")
    if named and named not in file.profiles:
        known = ", ".join(sorted(file.profiles)) or "none yet"
        raise CliError(f"there is no profile {named!r} in {ConfigFile.path()}; known: {known}")
    profile = file.profiles.get(name, {})
    values: dict[str, str] = {}
    origins: dict[str, str] = {}
    for key in KEYS:
        variable = _ENVIRONMENT.get(key, "")
        if flags.get(key):
            values[key], origins[key] = str(flags[key]), f"given by --{key}"
        elif variable and environ.get(variable):
            values[key], origins[key] = environ[variable], f"in the environment ({variable})"
        elif profile.get(key):
            values[key], origins[key] = profile[key], f"in profile {name!r}"
    if "endpoint" not in values:
        values["endpoint"], origins["endpoint"] = default_endpoint(), "the default"
    elif values["endpoint"].startswith("unix:") and values["endpoint"] != profile.get("endpoint"):
        for key in _CREDENTIALS:
            if origins.get(key, "").startswith("in profile"):
                del values[key], origins[key]
    token = environ.get(SECURITY_TOKEN, "") if _ENVIRONMENT["access_key_id"] in origins.get("access_key_id", "") else ""
    return Settings(profile=name, origins=origins, security_token=token, **values)
