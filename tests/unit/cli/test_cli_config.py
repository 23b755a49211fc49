"""Profiles, precedence, the access key, the environment for SDKs, the ssh configuration."""

from __future__ import annotations

import json
import os
import stat
import subprocess

import pytest

from ecsctl.config import ConfigFile, Settings, resolve
from ecsctl.errors import CliError
from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, error

NEW_KEY = {"AccessKey": {"AccessKeyId": "LTAI-new", "AccessKeySecret": "it's $ecret", "Status": "Active"}}
IDENTITY = {"AccountId": "1", "Arn": "acs:ram::1:root"}


@pytest.fixture
def account(peer: Peer) -> Peer:
    peer.answers |= {"CreateAccessKey": NEW_KEY, "GetCallerIdentity": IDENTITY}
    peer.keys = {"LTAI-new": "it's $ecret"}
    return peer


def mode(path: os.PathLike[str]) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_precedence_is_flag_environment_profile_default() -> None:
    file = ConfigFile("work", {"work": {"region": "p", "endpoint": "http://p:1"}, "other": {"region": "o"}})
    environ = {"ECSCTL_REGION": "e"}
    assert resolve({"region": "f"}, file, environ).region == "f"
    assert resolve({}, file, environ).region == "e"
    assert resolve({}, file, {}).region == "p"
    assert resolve({"profile": "other"}, file, {"ECSCTL_PROFILE": "work"}).region == "o"
    assert resolve({}, file, {"ECSCTL_PROFILE": "other"}).region == "o"
    assert resolve({}, ConfigFile(), {}).endpoint in ("http://127.0.0.1:8800", "unix:///run/ecs/agent.sock")
    with pytest.raises(CliError, match="'none'"):
        resolve({"profile": "none"}, file, {})


def test_a_profiles_key_stays_away_from_another_agents_socket() -> None:
    file = ConfigFile("a", {"a": {"access_key_id": "id", "access_key_secret": "s", "endpoint": "unix:///a"}})

    def key(settings: Settings) -> str:
        return settings.access_key_id

    assert key(resolve({}, file, {})) == "id"
    assert key(resolve({"endpoint": "unix:///b"}, file, {})) == ""
    assert key(resolve({"endpoint": "http://h:1"}, file, {})) == "id"
    assert key(resolve({"endpoint": "unix:///b"}, file, {"ALIBABA_CLOUD_ACCESS_KEY_ID": "x"})) == "x"


def test_init_gets_a_key_keeps_it_and_replaces_a_dead_one(account: Peer, ecsctl, setting) -> None:
    ecsctl("config", "init")
    file = setting.home / ".ecsctl" / "config.toml"
    assert (mode(file), mode(file.parent)) == (0o600, 0o700)
    assert account.versions["CreateAccessKey"] == "2015-05-01"
    before = file.read_text()
    assert "works" in ecsctl("config", "init").stderr
    assert file.read_text() == before
    assert account.actions().count("CreateAccessKey") == 1
    assert account.signed_by[-1] == "LTAI-new"
    account.keys = {}
    account.answers["CreateAccessKey"] = {"AccessKey": {"AccessKeyId": "LTAI-2", "AccessKeySecret": "s"}}
    ecsctl("config", "init")
    assert ecsctl("config", "get", "access_key_id").stdout == "LTAI-2\n"


def test_init_where_nobody_knows_who_asks(account: Peer, ecsctl, setting) -> None:
    account.start(port=0)
    env = {"ECSCTL_ENDPOINT": f"http://127.0.0.1:{account.port}"}
    assert "on the host itself" in ecsctl("config", "init", status=4, env=env).stderr
    assert not (setting.home / ".ecsctl" / "config.toml").exists()


def test_init_names_a_new_profile(account: Peer, ecsctl) -> None:
    ecsctl("config", "init")
    ecsctl("config", "init", "--profile", "second", "--region", "elsewhere")
    rows = json.loads(ecsctl("config", "profiles", "-o", "json").stdout)
    assert [(row["Name"], row["Current"], row["Region"]) for row in rows] == [
        ("default", True, "local"),
        ("second", False, "elsewhere"),
    ]
    ecsctl("config", "use", "second")
    assert ecsctl("config", "get", "region").stdout == "elsewhere\n"
    ecsctl("config", "use", "third", status=3)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_env_is_what_a_shell_understands(account: Peer, ecsctl, setting, shell: str) -> None:
    ecsctl("config", "init")
    lines = ecsctl("config", "env").stdout
    script = f'{lines}\nprintf "%s|" "$ECSCTL_ENDPOINT" "$ALIBABA_CLOUD_ACCESS_KEY_ID" '
    script += '"$ALIBABA_CLOUD_ACCESS_KEY_SECRET" "$ECSCTL_REGION" "$ECSCTL_CA"'
    shown = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown == "http://127.0.0.1:8800|LTAI-new|it's $ecret|local||"


def test_env_without_a_key(ecsctl) -> None:
    assert "config init" in ecsctl("config", "env", status=4).stderr


def test_set_get_and_the_secret(ecsctl, setting) -> None:
    ecsctl("config", "set", "region", "here")
    assert ecsctl("config", "get", "region").stdout == "here\n"
    ecsctl("config", "set", "region", "")
    ecsctl("config", "get", "region", status=3)
    assert "processes" in ecsctl("config", "set", "access_key_secret", "x", status=2).stderr
    ecsctl("config", "set", "access_key_secret", stdin='qu"ote\\\n')
    env = {"ECSCTL_ENDPOINT": "http://h:1"}  # the socket of a test is not the profile's: see above
    shown = ecsctl("config", "show", env=env).stdout
    assert "********" in shown
    assert "ote" not in shown
    assert ecsctl("config", "get", "access_key_secret", env=env).stdout == 'qu"ote\\\n'


def test_a_file_that_others_can_read(ecsctl, setting) -> None:
    ecsctl("config", "set", "region", "here")
    file = setting.home / ".ecsctl" / "config.toml"
    file.chmod(0o644)
    assert f"chmod 600 {file}" in ecsctl("config", "get", "region").stderr


@pytest.mark.parametrize(
    "text",
    ["[", "current = 1", "profiles = 1", "[profiles]\na = 1", "[profiles.a]\nkey = 1", "[profiles.a]\nregion = 1"],
)
def test_files_that_cannot_be_understood(ecsctl, setting, text: str) -> None:
    file = setting.home / ".ecsctl" / "config.toml"
    file.parent.mkdir()
    file.write_text(text)
    said = ecsctl("config", "show", status=1).stderr
    assert str(file) in said
    assert said.count("\n") == 1 + said.count("Warning")


def test_foreign_keys_in_the_environment_are_named(account: Peer, ecsctl) -> None:
    env = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "other", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "x"}
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID" in ecsctl("instance", "ls", env=env, status=4).stderr


def test_ssh_entry(ecsctl, setting) -> None:
    user_file = setting.home / ".ssh" / "config"
    user_file.parent.mkdir(mode=0o700)
    user_file.write_text("Host other\n    User me\n")
    ecsctl("config", "ssh")
    first = user_file.read_text()
    ecsctl("config", "ssh")
    assert user_file.read_text() == first
    assert mode(user_file) == 0o600
    assert first.endswith("Host other\n    User me\n")
    ecsctl("config", "ssh", "--remove")
    assert user_file.read_text() == "Host other\n    User me\n"
    ecsctl("config", "ssh", "--remove")


def test_ssh_reads_the_entry(ecsctl, setting) -> None:
    """What ssh makes of it, asked of ssh itself; ssh takes its own home, so the file is named."""
    ecsctl("config", "ssh")
    ours = setting.home / ".ecsctl" / "ssh_config"
    shown = subprocess.run(["ssh", "-G", "-F", ours, "Web.ecs"], capture_output=True, text=True, check=True).stdout
    lines = shown.splitlines()
    assert "user root" in lines
    assert "stricthostkeychecking accept-new" in lines
    assert any(line.startswith("proxycommand ") and "instance dial --ssh-host '%n' %p" in line for line in lines)
    assert f"userknownhostsfile {setting.home}/.ecsctl/known_hosts" in lines


def test_a_host_name_that_means_a_new_instance_forgets_the_old_key(peer: Peer, ecsctl, setting) -> None:
    home = setting.home / ".ecsctl"
    (home / "keys").mkdir(parents=True)
    (home / "keys" / "main.pem").touch()
    known = home / "known_hosts"
    peer.answers |= {
        "DescribeInstances": recorded.instances(recorded.instance(recorded.WEB, "web")),
        "DescribeDisks": recorded.system_disk(),
        "OpenTunnel": error(403, "IncorrectInstanceStatus", "it must be Running"),
    }
    ecsctl("instance", "dial", "--ssh-host", "web.ecs", status=1)
    known.write_text("web.ecs ssh-ed25519 AAAA\nother.ecs ssh-ed25519 BBBB\n")
    ecsctl("instance", "dial", "--ssh-host", "web.ecs", status=1)
    assert "web.ecs" in known.read_text()
    assert (home / "ssh" / "web.ecs").resolve() == (home / "keys" / "main.pem").resolve()
    peer.answers["DescribeInstances"] = recorded.instances(recorded.instance(recorded.TWIN, "web", KeyPairName=""))
    ecsctl("instance", "dial", "--ssh-host", "web.ecs", status=1)
    assert known.read_text() == "other.ecs ssh-ed25519 BBBB\n"
    assert not (home / "ssh" / "web.ecs").is_symlink()
