"""Habits of the repository: nothing of the machine it was written on, files of a readable size, one version."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

# The Filesystem Hierarchy Standard, and what the kernel mounts.
STANDARD = {
    *("bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "lost+found", "media", "mnt", "opt"),
    *("proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var"),
}
LONGEST_FILE = 450
LONGEST_FUNCTION = 60


def tracked() -> list[Path]:
    """The files of the project: git's list, or where there is no git everything that is not hidden or built."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and not {"build", "__pycache__"} & set(path.parts)]


def machine_specific() -> re.Pattern[str]:
    """Absolute paths that are this machine's: directories of the root that other hosts do not have, its users' homes,
    what it has in /opt, and wherever this checkout is."""
    own = [f"/{name}" for name in os.listdir("/") if name not in STANDARD and not name.startswith(".")]
    for parent in (Path("/opt"), Path("/home")):
        own += [str(path) for path in parent.glob("*") if path != Path("/opt/ecs")]
    own += [str(ROOT)]
    alternatives = "|".join(re.escape(path) for path in own)
    return re.compile(rf"(?<![\w.~$}}\-/])(?:(?:{alternatives})(?=[/\s\"'`:;,)]|$))")


def test_no_path_of_this_machine() -> None:
    pattern = machine_specific()
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if match := pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()}")
    assert found == []


def test_files_and_functions_stay_readable() -> None:
    too_long = []
    for path in tracked():
        # Migrations are lists of statements, written once and never changed.
        if path.suffix != ".py" or "migrations" in path.parts:
            continue
        text = path.read_text()
        if (lines := len(text.splitlines())) > LONGEST_FILE:
            too_long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    too_long.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {lines} lines")
    assert too_long == []


def test_the_changelog_knows_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_licence_is_the_one_declared() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]["text"]
    assert declared == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()
