from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
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
