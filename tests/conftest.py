"""What all suites share. Suites that boot guests have a libvirtd of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.agent import AgentProcess, running_agent
from tests.support.libvirtd import PrivateLibvirt, private_libvirt

pytest_plugins = ["tests.support.cloud_fixtures"]


@pytest.fixture(scope="session")
def libvirtd() -> Iterator[PrivateLibvirt]:
    """A libvirtd beside the host's, for the whole session."""
    with private_libvirt() as daemon:
        yield daemon


@pytest.fixture(scope="session")
def agent(libvirtd: PrivateLibvirt) -> Iterator[AgentProcess]:
    """An agent with the tiny image, for tests that leave it as they found it."""
    with running_agent(libvirtd.uri, http="127.0.0.1:0") as process:
        process.ensure_tiny_image()
        yield process
