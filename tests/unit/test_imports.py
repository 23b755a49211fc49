"""The direction of imports (DESIGN section 2): api → services → {policy, store, jobs, core}, jobs → drivers → core;
the CLI and the agent know each other only over HTTP."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What each room may import beside itself. Modules directly in agent/ are rooms of their own.
ALLOWED: dict[str, set[str]] = {
    "agent.core": set(),
    "agent.policy": {"agent.core"},
    "agent.config": set(),
    "agent.store": {"agent.core", "agent.config"},
    "agent.drivers": {"agent.core", "agent.config"},
    "agent.jobs": {"agent.core", "agent.config", "agent.store", "agent.drivers"},
    "agent.services": {"agent.core", "agent.config", "agent.policy", "agent.store", "agent.jobs"},
    "agent.api": {"agent.core", "agent.config", "agent.policy", "agent.store", "agent.jobs", "agent.services"},
    "agent.supervise": {"agent.config"},
    "agent.local": set(),
    "agent.version": set(),
    "ecsctl": set(),
}
# The one place that wires drivers to services, and the entry point above it, may import anything of the agent.
WIRING = {"agent.app", "agent.main"}
EVERYBODY = {"agent"}


def room_of(module: str) -> str:
    """`agent.api.disk` → `agent.api`; everything of the CLI is one room."""
    parts = module.split(".")
    return "ecsctl" if parts[0] == "ecsctl" else ".".join(parts[:2])


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted([*root.glob("agent/**/*.py"), *root.glob("ecsctl/**/*.py")]):
        parts = path.relative_to(root).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports_of(module: str, source: str, *, package: bool) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything imported, wherever in the file; `from agent import app` is agent.app."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                kept = parts[: len(parts) - node.level + (1 if package else 0)]
                base = ".".join([*kept, *([base] if base else [])])
            yield from ((node.lineno, f"{base}.{alias.name}" if base == "agent" else base) for alias in node.names)


def violations(root: Path) -> list[str]:
    found = []
    for module, path in modules(root):
        room = room_of(module)
        for line, name in imports_of(module, path.read_text(), package=path.name == "__init__.py"):
            if name.split(".")[0] not in ("agent", "ecsctl") or name in EVERYBODY:
                continue
            target = room_of(name)
            wires = room in WIRING and target != "ecsctl"
            known = target == room or target in ALLOWED.get(room, set()) or name == "agent.__version__"
            if not wires and not known:
                found.append(f"{path.relative_to(root)}:{line}: {room} must not import {name}")
    return found


def test_the_direction_of_imports() -> None:
    assert violations(ROOT) == []


def test_every_room_is_known() -> None:
    rooms = {room_of(module) for module, _ in modules(ROOT)} - EVERYBODY
    assert rooms <= ALLOWED.keys() | WIRING, "a new room needs its line in ALLOWED"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("ecsctl/client.py", "import agent.config"),
        ("ecsctl/commands/disk.py", "def f():\n    from agent.core import ids"),
        ("agent/core/ids.py", "from agent import config"),
        ("agent/core/ids.py", "from ..store import schema"),
        ("agent/drivers/network/taps.py", "from agent.store import schema"),
        ("agent/drivers/network/taps.py", "import agent.api.disk"),
        ("agent/services/disk.py", "from agent.drivers.storage import files"),
        ("agent/services/disk.py", "from agent import app"),
        ("agent/jobs/disk.py", "from agent.services import disk"),
        ("agent/api/disk.py", "from agent.drivers import network"),
        ("agent/policy/evaluate.py", "from agent.store import schema"),
        ("agent/app.py", "import ecsctl.client"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, path: str, source: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source + "\n")
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("agent/app.py", "from agent.drivers.storage import files\nfrom agent.services import disk"),
        ("agent/services/disk.py", "from agent.core.errors import NotFound\nfrom . import image\nimport aiohttp"),
        ("agent/api/__init__.py", "from . import dispatch\nfrom ..services import disk"),
        ("ecsctl/main.py", "from ecsctl import client\nfrom .commands import disk"),
    ],
)
def test_a_right_import_passes(tmp_path: Path, path: str, source: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source + "\n")
    assert violations(tmp_path) == []
