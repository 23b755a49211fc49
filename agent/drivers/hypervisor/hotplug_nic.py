"""Network cards of a running guest: plugged in and let go of. A card is found by its MAC address.

As with disks, a guest lets go of a card when it wants to: the request only asks.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import libvirt

from agent.core.specs import NicSpec
from agent.drivers.hypervisor.domain_xml import nic_xml
from agent.drivers.hypervisor.hotplug import ASKED_ALREADY


def live_nics(description: str) -> dict[str, str]:
    """QEMU's names of the cards in the XML of a running domain, by MAC address: pure."""
    found = {}
    for element in ET.fromstring(description).iterfind("./devices/interface"):
        mac, alias = element.find("mac"), element.find("alias")
        if mac is not None and alias is not None:
            found[mac.get("address", "")] = alias.get("name", "")
    return found


def attached(domain: libvirt.virDomain) -> dict[str, str]:
    return live_nics(domain.XMLDesc())


def attach(domain: libvirt.virDomain, nic: NicSpec) -> None:
    if nic.mac not in attached(domain):
        domain.attachDeviceFlags(nic_xml(nic), libvirt.VIR_DOMAIN_AFFECT_LIVE)


def request_detach(domain: libvirt.virDomain, mac: str) -> None:
    alias = attached(domain).get(mac)
    if alias is None:
        return
    try:
        domain.detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        if mac in attached(domain) and ASKED_ALREADY not in str(error):
            raise
