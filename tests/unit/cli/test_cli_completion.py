"""Completion scripts, and completion as bash and fish really do it."""

from __future__ import annotations

import stat
import subprocess
import sys
import time

import pytest

from tests.support import cli_answers as recorded
from tests.support.cli_peer import Peer, listing


@pytest.fixture
def program(setting) -> None:
    """`ecsctl` on the PATH, as completion scripts call it by name."""
    directory = setting.directory / "bin"
    directory.mkdir()
    (directory / "ecsctl").write_text(f'#!/bin/sh\nexec {sys.executable} -m ecsctl "$@"\n')
    (directory / "ecsctl").chmod(0o755)
    setting.environ["PATH"] = f"{directory}:{setting.environ['PATH']}"


@pytest.fixture
def two(peer: Peer) -> Peer:
    found = [recorded.instance(recorded.WEB, "web"), recorded.instance(recorded.DATABASE, "worker")]
    peer.answers["DescribeInstances"] = listing("Instances.Instance", found)
    return peer


def bash_completes(setting, ecsctl, *words: str) -> list[str]:
    """What bash offers for the last word, by the real completion function."""
    script = setting.directory / "completion.bash"
    script.write_text(ecsctl("completion", "bash").stdout)
    quoted = " ".join(f"'{word}'" for word in words)
    asked = f"""
        source {script}
        COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}
        function_name=$(complete -p ecsctl | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
        $function_name ecsctl; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", asked], env=setting.environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_in_the_shells_language(ecsctl, setting, shell: str) -> None:
    text = ecsctl("completion", shell).stdout
    assert f"{shell}_complete" in text
    script = setting.directory / "script"
    script.write_text(text)
    subprocess.run([shell, "-n", str(script)], check=True, capture_output=True)


def test_bash_completes_commands_options_and_names(two: Peer, setting, ecsctl, program) -> None:
    assert bash_completes(setting, ecsctl, "ecsctl", "instance", "st") == ["start", "stop"]
    assert bash_completes(setting, ecsctl, "ecsctl", "instance", "create", "--sys") == [
        "--system-disk-size",
        "--system-disk-category",
    ]
    assert bash_completes(setting, ecsctl, "ecsctl", "instance", "stop", "w") == ["web", "worker"]
    assert bash_completes(setting, ecsctl, "ecsctl", "instance", "stop", "web", "w") == ["worker"]
    assert bash_completes(setting, ecsctl, "ecsctl", "-o", "y") == ["yaml"]
    assert bash_completes(setting, ecsctl, "ecsctl", "security-group", "rule", "add", "g", "pos") == ["postgresql"]


def test_names_are_asked_for_once_in_a_while(two: Peer, setting, ecsctl, program) -> None:
    for _ in range(3):
        bash_completes(setting, ecsctl, "ecsctl", "instance", "show", "we")
    assert two.actions().count("DescribeInstances") == 1
    cached = list((setting.home / ".ecsctl" / "cache").iterdir())
    assert [stat.S_IMODE(path.stat().st_mode) for path in cached] == [0o600]


def test_completion_is_quick_and_silent_when_the_agent_is_away(setting, ecsctl, program) -> None:
    began = time.monotonic()
    assert bash_completes(setting, ecsctl, "ecsctl", "instance", "show", "we") == []
    assert time.monotonic() - began < 10
    (setting.home / ".ecsctl").mkdir(exist_ok=True)
    (setting.home / ".ecsctl" / "config.toml").write_text("[")
    assert bash_completes(setting, ecsctl, "ecsctl", "instance", "show", "we") == []
