"""Whether a guest agent listens, by what libvirt says of a domain."""

import pytest

from agent.drivers.hypervisor.guest_agent import is_connected

DOMAIN = """
<domain><devices>
  <channel type='unix'><target type='virtio' name='com.example.other' state='connected'/></channel>
  <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'{state}/></channel>
</devices></domain>
"""


STATES = [(" state='connected'", True), (" state='disconnected'", False), ("", False)]


@pytest.mark.parametrize(("state", "expected"), STATES)
def test_by_the_state_of_its_channel(state: str, expected: bool) -> None:
    assert is_connected(DOMAIN.format(state=state)) is expected


def test_a_domain_without_a_channel() -> None:
    assert not is_connected("<domain><devices/></domain>")
