"""What can be asked of the metadata service, as a tree: pure.

Directories are dicts, everything else is text, or bytes where it is the user's own. What an instance does not have is
not in the tree.
"""

from __future__ import annotations

import json
from typing import TypeAlias

from agent.services.metadata import InstanceFacts, InterfaceFacts

Tree: TypeAlias = "dict[str, Tree | str | bytes]"

VERSIONS = ("2016-01-01", "latest")


def build(facts: InstanceFacts) -> Tree:
    """Everything there is about the instance. All versions are the same."""
    version: Tree = {"meta-data": _meta_data(facts)}
    if facts.user_data:
        version["user-data"] = facts.user_data
    return dict.fromkeys(VERSIONS, version)


def look_up(tree: Tree, path: str) -> str | bytes | None:
    """The item at `path`, or the listing of the directory, whether `path` ends in `/` or not; None: nothing there."""
    if not path.startswith("/"):
        return None
    names = path[1:].split("/")
    as_directory = names[-1] == ""
    if as_directory:
        names.pop()
    node: Tree | str | bytes | None = tree
    for name in names:
        node = node.get(name) if isinstance(node, dict) else None
    if isinstance(node, dict):
        return _listing(node, slash="/" if names else "")
    return None if as_directory else node


def _listing(directory: Tree, slash: str) -> str:
    """One name a line. Directories end in `/`, which is how clients know what to walk into."""
    return "\n".join(f"{name}{slash}" if isinstance(directory[name], dict) else name for name in sorted(directory))


def _meta_data(facts: InstanceFacts) -> Tree:
    primary = facts.interfaces[0]
    tree: Tree = {
        "hostname": facts.host_name,
        "image-id": facts.image_id,
        "instance": {"instance-name": facts.name, "instance-type": facts.instance_type},
        "instance-id": facts.instance_id,
        "mac": primary.mac,
        "network": {"interfaces": {"macs": {one.mac: _interface(one) for one in facts.interfaces}}},
        "network-type": "vpc",
        "owner-account-id": facts.owner_id,
        "private-ipv4": primary.ip,
        "region-id": facts.region_id,
        "serial-number": facts.serial_number,
        "vpc-cidr-block": primary.vpc_cidr,
        "vpc-id": primary.vpc_id,
        "vswitch-cidr-block": primary.vswitch_cidr,
        "vswitch-id": primary.vswitch_id,
        "zone-id": facts.zone_id,
    }
    if facts.name_servers:
        tree["dns-conf"] = {"nameservers": "\n".join(facts.name_servers)}
    if facts.public_keys:
        tree["public-keys"] = {str(number): {"openssh-key": key} for number, key in enumerate(facts.public_keys)}
    return tree


def _interface(interface: InterfaceFacts) -> Tree:
    return {
        "gateway": interface.gateway,
        "netmask": interface.netmask,
        "network-interface-id": interface.id,
        "primary-ip-address": interface.ip,
        "private-ipv4s": json.dumps([interface.ip]),
        "vpc-cidr-block": interface.vpc_cidr,
        "vpc-id": interface.vpc_id,
        "vswitch-cidr-block": interface.vswitch_cidr,
        "vswitch-id": interface.vswitch_id,
    }
