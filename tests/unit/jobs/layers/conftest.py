"""Layers of disks that nothing runs on: real store, jobs and files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from agent.core.protocols import Hypervisor
from tests.support.farm import Farm


class Off:
    """A host on which no guest runs."""

    def disk_files(self, name: str) -> dict[str, tuple[Path, ...]]:
        return {}

    def list(self) -> dict[str, object]:
        return {}

    def info(self, name: str) -> None:
        return None

    def guest_agent_connected(self, name: str) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def layers(tmp_path: Path) -> Iterator[Farm]:
    made = Farm(tmp_path, "", "t0un", cast(Hypervisor, Off()))
    yield made
    made.close()
