"""What a console start does to the password of the management terminal (SPEC L4)."""

from __future__ import annotations

import pytest

from agent.jobs.kinds.instance import _vnc_password_in_effect
from agent.store.schema import Instance


@pytest.mark.parametrize(
    ("wanted", "active", "shown", "after"),
    [
        (None, None, False, (None, False)),
        (b"generated", b"generated", False, (b"generated", False)),
        (b"generated", b"generated", True, (b"generated", True)),
        # Who set it knows it: there is nothing left to show.
        (b"new", b"generated", False, (b"new", True)),
    ],
)
def test_a_console_start_puts_the_wanted_password_into_effect(
    wanted: bytes | None, active: bytes | None, shown: bool, after: tuple[bytes | None, bool]
) -> None:
    instance = Instance(vnc_password=wanted, vnc_password_active=active, vnc_password_shown=shown)
    _vnc_password_in_effect(instance)
    assert (instance.vnc_password_active, instance.vnc_password_shown) == after
