"""QEMU's guest agent: a program in the guest that does what it is told over a channel of libvirt's."""

from __future__ import annotations

import xml.etree.ElementTree as ET

CHANNEL = "org.qemu.guest_agent.0"
ANSWER_SECONDS = 10  # emulated guests are slow


def is_connected(description: str) -> bool:
    """Whether an agent has opened the channel in the guest, by the XML of a running domain."""
    target = ET.fromstring(description).find(f"./devices/channel/target[@name='{CHANNEL}']")
    return target is not None and target.get("state") == "connected"
