from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from stage import Stage, staged
from vpc_lab import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.fail("the tests in tests/net need root; run `scripts/test fast` as root")
    lab = Lab()
    try:
        yield lab
    finally:
        lab.close()


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Its parameter is the uplink: none | auto (the default) | an interface."""
    with staged(getattr(request, "param", "auto")) as stage:
        yield stage
