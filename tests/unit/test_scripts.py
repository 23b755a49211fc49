"""The scripts: what their functions do, one by one, and what their command lines refuse."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARIES = sorted((ROOT / "scripts/lib").glob("*.sh"))
ENTRIES = ["scripts/quickstart", "scripts/test", ".ci/run"]


def bash(code: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `code` as the scripts run: strict, with every library loaded."""
    sourced = "".join(f". {path}\n" for path in LIBRARIES)
    script = f"set -euo pipefail\n{sourced}{textwrap.dedent(code)}"
    result = subprocess.run(["bash", "-c", script, "try"], capture_output=True, text=True, timeout=60, check=False)
    assert not check or result.returncode == 0, result.stderr
    return result


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def script(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / name, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_shellcheck_has_nothing_to_say() -> None:
    result = subprocess.run(
        ["shellcheck", "--external-sources", "--check-sourced", *ENTRIES], cwd=ROOT, capture_output=True, text=True
    )
    assert result.stdout + result.stderr == ""


def test_no_function_hides_a_program() -> None:
    defined = {
        name
        for path in [*LIBRARIES, *(ROOT / entry for entry in ENTRIES)]
        for name in re.findall(r"^(\w+)\(\)", path.read_text(), re.MULTILINE)
    }
    assert len(defined) > 50
    assert {name for name in defined if shutil.which(name)} == set()


@pytest.mark.parametrize("name", ENTRIES)
def test_the_entry_points_can_be_run(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)


class TestCommandLines:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--frobnicate"], "unknown argument '--frobnicate'"),
            (["now"], "unknown argument 'now'"),
            (["--uplink"], "--uplink needs a value"),
            (["--purge"], "--purge goes with --remove only"),
        ],
    )
    def test_quickstart_refuses_what_it_does_not_know(self, arguments: list[str], said: str) -> None:
        result = script("scripts/quickstart", *arguments)
        assert result.returncode == 2
        assert result.stderr.startswith(f"quickstart: {said}\n")

    def test_quickstart_refuses_an_interface_that_is_not_there(self) -> None:
        for result in (
            script("scripts/quickstart", "--uplink", "nosuch0"),
            script("scripts/quickstart", ECS_UPLINK="nosuch0"),
        ):
            assert result.returncode == 1
            assert result.stderr.startswith("quickstart: --uplink nosuch0: this host has no such interface (auto, none")
            assert len(result.stderr.splitlines()) == 1

    def test_help(self) -> None:
        for name in ("scripts/quickstart", "scripts/test"):
            result = script(name, "--help")
            assert result.returncode == 0
            assert result.stdout.startswith("Usage: sudo ")

    def test_test_refuses_an_unknown_suite(self) -> None:
        result = script("scripts/test", "everything")
        assert result.returncode == 1
        assert "there is no suite 'everything'" in result.stderr

    @pytest.mark.parametrize("name", ["scripts/quickstart", "scripts/test"])
    def test_without_root_they_say_so(self, name: str) -> None:
        # A copy that the other user can read, wherever this checkout is.
        with tempfile.TemporaryDirectory() as copy:
            Path(copy).chmod(0o755)
            shutil.copytree(ROOT / "scripts", Path(copy) / "scripts")
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"{copy}/{name}"]
            result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 1
        assert "root" in result.stderr
        assert len(result.stderr.splitlines()) == 1


class TestCommon:
    def test_a_failed_command_shows_its_last_lines_and_ends_the_script(self, tmp_path: Path) -> None:
        result = bash(f"log={tmp_path}/log; logged trying sh -c 'seq 1 50; exit 3'; echo not reached", check=False)
        assert result.returncode == 1
        assert "not reached" not in result.stdout
        assert "| 50\n" in result.stderr
        assert "| 35\n" not in result.stderr
        assert f"try: trying failed (status 3); everything it said is in {tmp_path}/log" in result.stderr

    def test_output_that_is_shown_is_indented_and_its_failure_counts(self) -> None:
        result = bash("shown trying sh -c 'echo out; echo err >&2; exit 3'; echo not reached", check=False)
        assert result.returncode == 1
        assert sorted(result.stdout.splitlines()) == ["        err", "        out"]
        assert result.stderr == "try: trying failed (status 3), as said above\n"

    def test_a_step_says_its_number_and_how_long_it_took(self) -> None:
        result = bash("step_count=12; work() { note working; }; step first work; step second work")
        assert re.sub(r"in \d+ s", "in N s", result.stdout).splitlines() == [
            "[ 1/12] first",
            "        working",
            "        done in N s",
            "[ 2/12] second",
            "        working",
            "        done in N s",
        ]

    def test_a_step_that_fails_ends_the_script(self) -> None:
        result = bash("work() { false; echo went on; }; step first work; echo not reached", check=False)
        assert result.returncode == 1
        assert "went on" not in result.stdout
        assert "not reached" not in result.stdout

    def test_waiting_ends(self) -> None:
        assert bash("until_ok 1 nothing false || echo gave up").stdout == "gave up\n"
        assert bash("until_ok 1 something true && echo there").stdout == "there\n"

    def test_only_one_at_a_time(self, tmp_path: Path) -> None:
        lock = tmp_path / "lock"
        result = bash(f"only_one {lock} run; (exec 9>&-; only_one {lock} run) || echo refused")
        assert result.stdout == "refused\n"
        assert "another run is running" in result.stderr

    def test_what_is_started_does_not_keep_the_lock(self, tmp_path: Path) -> None:
        command = f"only_one {tmp_path}/lock run; logged looking sh -c '! test -e /dev/fd/9'"
        assert bash(command).returncode == 0

    def test_a_daemon_keeps_none_of_our_descriptors(self, tmp_path: Path) -> None:
        code = f"""
            log={tmp_path}/log
            exec 7>{tmp_path}/lock 12>{tmp_path}/other
            flock 7
            daemon='ls /proc/$$/fd >$0/new; mv $0/new $0/fds; until [ -e $0/end ]; do sleep 0.05; done; rm $0/end'
            detached sh -c "$daemon" {tmp_path}
            until_ok 20 it test -e {tmp_path}/fds
            exec 7>&- 12>&-
            flock -n {tmp_path}/lock echo free
            touch {tmp_path}/end
            until_ok 20 it test ! -e {tmp_path}/end
        """
        assert bash(code).stdout == "free\n"
        assert not {"7", "9", "12"} & set((tmp_path / "fds").read_text().split())

    @pytest.mark.parametrize("how", ["logged", "shown"])
    @pytest.mark.parametrize("number", ["INT", "TERM", "HUP"])
    def test_an_interruption_ends_what_is_under_way(self, tmp_path: Path, how: str, number: str) -> None:
        marker = tmp_path / "pid"
        code = f"""
            trap interrupted INT TERM HUP
            {{ until [[ -s {marker} ]]; do sleep 0.05; done; kill -{number} $$; }} &
            deeper() {{ sh -c 'echo $$ >{marker}; exec sleep 1000'; }}
            {how} waiting deeper
        """
        result = bash(code, check=False)
        assert result.returncode == 130
        assert "interrupted; the next run goes on from here" in result.stderr
        assert not alive(int(marker.read_text()))

    def test_what_must_not_stop_half_way_is_waited_for(self, tmp_path: Path) -> None:
        code = f"""
            trap interrupted INT TERM HUP
            {{ until [[ -e {tmp_path}/begun ]]; do sleep 0.05; done; kill -TERM $$; touch {tmp_path}/told; }} &
            to_the_end=1
            work='touch $0/begun; until [ -e $0/told ]; do sleep 0.05; done; touch $0/done'
            logged waiting sh -c "$work" {tmp_path}
        """
        result = bash(code, check=False)
        assert result.returncode == 130
        assert "interrupted; letting this end first" in result.stderr
        assert (tmp_path / "done").exists()


class TestDebian:
    @pytest.mark.parametrize(
        ("release", "error"),
        [
            ('ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm', ""),
            ('ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie', ""),
            ("ID=debian\nVERSION_CODENAME=forky", ""),
            ('ID=debian\nVERSION_ID="11"\nVERSION_CODENAME=bullseye', "this is Debian 11; 12 or later is needed"),
            ('ID=ubuntu\nVERSION_ID="24.04"', "this is ubuntu; Debian 12 or later is needed"),
            ("", "this is an unknown system; Debian 12 or later is needed"),
        ],
    )
    def test_the_release(self, tmp_path: Path, release: str, error: str) -> None:
        (tmp_path / "os-release").write_text(release + "\n")
        result = bash(f"os_release_file={tmp_path}/os-release; check_debian", check=False)
        assert result.stderr == (f"try: {error}\n" if error else "")
        assert result.returncode == (1 if error else 0)

    def test_room(self, tmp_path: Path) -> None:
        assert bash(f"check_room {tmp_path}/not/there 1 1").stdout.strip().endswith("are free")
        disk = bash(f"check_room {tmp_path} 999999999 1", check=False).stderr
        assert "of free disk space; 999999999 MiB are needed" in disk
        memory = bash(f"check_room {tmp_path} 1 999999999", check=False).stderr
        assert "of free memory; 999999999 MiB are needed" in memory

    def test_missing_packages(self, tmp_path: Path) -> None:
        (tmp_path / "list").write_text("# a list\ndpkg   # there\n\nno-such-package-1\nbash\n")
        (tmp_path / "more").write_text("no-such-package-2\n")
        assert bash(f"missing_packages {tmp_path}/list {tmp_path}/more").stdout.split() == [
            "no-such-package-1",
            "no-such-package-2",
        ]

    def test_nothing_missing_asks_nobody(self, tmp_path: Path) -> None:
        (tmp_path / "list").write_text("dpkg\n")
        result = bash(f"apt-get() {{ echo asked; }}; install_packages {tmp_path}/record {tmp_path}/list")
        assert result.stdout.strip() == "all there"
        assert not (tmp_path / "record").exists()

    def test_what_was_missing_is_on_record_before_it_is_installed(self, tmp_path: Path) -> None:
        (tmp_path / "list").write_text("dpkg\nno-such-package-1\n")
        (tmp_path / "record").write_text("earlier\n")
        result = bash(f"apt-get() {{ return 7; }}; install_packages {tmp_path}/record {tmp_path}/list", check=False)
        assert result.returncode == 1
        assert (tmp_path / "record").read_text() == "earlier\nno-such-package-1\n"

    def test_a_lock_is_waited_for_and_another_failure_is_not(self, tmp_path: Path) -> None:
        locked = f"[ -e {tmp_path}/free ] && exit 0; touch {tmp_path}/free; echo 'E: Could not get lock /x'; exit 100"
        assert bash(f"retried sh -c '{locked}'").returncode == 0
        other = bash("retried sh -c 'echo no such host; exit 100'", check=False)
        assert (other.returncode, other.stdout) == (100, "no such host\n")

    def test_the_lists_name_each_package_once(self) -> None:
        names = [
            line.split("#")[0].strip()
            for path in (ROOT / "scripts/packages").glob("*.txt")
            for line in path.read_text().splitlines()
        ]
        packages = [name for name in names if name]
        assert sorted(packages) == sorted(set(packages))


class TestHost:
    def test_a_new_configuration(self, tmp_path: Path) -> None:
        path = tmp_path / "etc/agent.toml"
        bash(f"write_config {path} ''")
        assert 'uplink = "auto"\n' in path.read_text()
        path.unlink()
        bash(f"write_config {path} none")
        assert 'uplink = "none"\n' in path.read_text()

    def test_the_configuration_is_the_agents(self, tmp_path: Path) -> None:
        path = tmp_path / "agent.toml"
        code = f"""
            write_config {path} none
            venv={tmp_path}/venv; mkdir -p $venv/bin
            printf '#!/bin/sh\\nshift; PYTHONPATH={ROOT} exec {sys.executable} "$@"\\n' >$venv/bin/python
            chmod +x $venv/bin/python
            configured {path} uplink
            configured {path} prefix
        """
        assert bash(code).stdout.splitlines()[-2:] == ["none", "ecs"]

    def test_a_configuration_that_exists_is_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "agent.toml"
        path.write_text('uplink = "eth9"\nregion_id = "home"\n')
        path.chmod(0o640)
        assert bash(f"write_config {path} ''").stdout == ""
        assert path.read_text() == 'uplink = "eth9"\nregion_id = "home"\n'

    def test_an_uplink_asked_for_is_the_only_change(self, tmp_path: Path) -> None:
        path = tmp_path / "agent.toml"
        path.write_text('# mine\nuplink = "eth9"\nregion_id = "home"\n\n[quotas]\ninstances = 3\n')
        path.chmod(0o640)
        bash(f"write_config {path} none")
        assert path.read_text() == '# mine\nregion_id = "home"\n\nuplink = "none"\n[quotas]\ninstances = 3\n'
        assert path.stat().st_mode & 0o777 == 0o640
        before = path.stat().st_mtime_ns
        assert bash(f"write_config {path} none").stdout == ""
        assert path.stat().st_mtime_ns == before

    def test_a_link_is_made_once_and_never_over_something_else(self, tmp_path: Path) -> None:
        bash(f"make_link {tmp_path}/link {tmp_path}/target; make_link {tmp_path}/link {tmp_path}/target")
        assert (tmp_path / "link").readlink() == tmp_path / "target"
        other = bash(f"make_link {tmp_path}/link {tmp_path}/elsewhere", check=False)
        assert other.returncode == 1
        assert "exists and is not ours" in other.stderr

    def test_memory_of_what_was_made(self, tmp_path: Path) -> None:
        made = tmp_path / "state/made"
        bash(f"remember {made} 'group ecs'; remember {made} 'kvm root:root 600'; remember {made} 'group ecs'")
        assert made.read_text() == "group ecs\nkvm root:root 600\n"
        assert bash(f"recalled {made} kvm").stdout == "root:root 600\n"
        assert bash(f"recalled {made} libvirtd").stdout == ""
        assert bash(f"recalled {tmp_path}/none group").stdout == ""


class TestRemove:
    def test_settings_are_read_without_the_program(self, tmp_path: Path) -> None:
        config = tmp_path / "agent.toml"
        ask = f"config={config}; setting prefix ecs; setting data_dir /var/lib/ecs"
        assert bash(ask).stdout.split() == ["ecs", "/var/lib/ecs"]
        config.write_text('prefix = "lab"\n')
        assert bash(ask).stdout.split() == ["lab", "/var/lib/ecs"]
        config.write_text("prefix = lab\n")
        broken = bash(ask, check=False)
        assert broken.returncode == 1
        assert broken.stderr.startswith(f"quickstart: cannot read {config}: ")
        assert len(broken.stderr.splitlines()) == 1

    def test_only_a_prefix_is_swept(self) -> None:
        for wrong in ("", "*", "toolong", "Ecs", "1ab"):
            assert "is no prefix" in bash(f"sweep_prefix '{wrong}' test:///default", check=False).stderr


class TestPython:
    def test_the_hash_is_of_names_and_contents(self, tmp_path: Path) -> None:
        package = tmp_path / "agent"
        package.mkdir()
        (package / "a.py").write_text("1")
        command = f"content_hash {tmp_path} agent"
        first = bash(command).stdout
        os.utime(package / "a.py", (0, 0))
        (package / "a.pyc").write_text("compiled")
        assert bash(command).stdout == first
        (package / "a.py").rename(package / "b.py")
        renamed = bash(command).stdout
        (package / "b.py").write_text("2")
        assert len({first, renamed, bash(command).stdout}) == 3

    def test_only_what_is_installed_is_copied(self, tmp_path: Path) -> None:
        bash(f"copy_source {ROOT} {tmp_path}/copy")
        assert {path.name for path in (tmp_path / "copy").iterdir()} == {
            "pyproject.toml",
            "README.md",
            "LICENSE",
            "agent",
            "ecsctl",
        }
        assert not list((tmp_path / "copy").rglob("__pycache__"))


class TestUnits:
    def test_the_agents_unit_does_not_hide_namespaces(self) -> None:
        unit = (ROOT / "scripts/systemd/ecs-agent.service").read_text()
        settings = [line.split("=")[0] for line in unit.splitlines() if "=" in line and not line.startswith("#")]
        assert not {name for name in settings if name.startswith(("Protect", "Private", "ReadOnly", "Inaccessible"))}
        assert "KillMode=process" in unit

    @pytest.mark.parametrize("name", ["ecs-agent.service", "ecs-guests.service"])
    def test_systemd_understands_the_units(self, name: str, tmp_path: Path) -> None:
        # The program they start is not installed here: any other will do to check the rest.
        text = (ROOT / "scripts/systemd" / name).read_text().replace("/opt/ecs/venv/bin/ecs-agent", "/bin/true")
        (tmp_path / "ecs-agent.service").write_text("[Service]\nExecStart=/bin/true\n")
        (tmp_path / name).write_text(text)
        result = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / name)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (result.returncode, result.stderr) == (0, "")
