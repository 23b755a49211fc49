"""What can be asked of the metadata service, as a tree: pure.

Directories are dicts, everything else is text, or bytes where it is the user's own, or a function of the query that
makes the text when it is asked for. What an instance does not have is not in the tree.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from agent.services.metadata import InstanceFacts, InterfaceFacts

Query: TypeAlias = Mapping[str, str]
Made: TypeAlias = Callable[[Query], str]
Tree: TypeAlias = "dict[str, Tree | str | bytes | Made]"

VERSIONS = ("2016-01-01", "latest")
MAX_AUDIENCE = 128  # characters

# As with the provider: all of meta-data at once, but not one of its items.
_ALL = "all"


class Live(Protocol):
    """What is made when it is asked for."""

    def credentials(self, instance_id: str) -> str | None:
        """JSON; None when there are none, after all."""

    def pkcs7(self, document: str) -> str: ...

    def signature(self, document: str) -> str: ...

    def certificate(self) -> str: ...


def build(facts: InstanceFacts, live: Live) -> Tree:
    """Everything there is about the instance. All versions are the same."""
    meta_data = _meta_data(facts)
    all_of_it = json.dumps(meta_data)  # without secrets: the role's credentials are asked for by name only
    if facts.role_name:
        meta_data["ram"] = {"security-credentials": {facts.role_name: _credentials(facts, live)}}
    meta_data[_ALL] = all_of_it
    version: Tree = {"meta-data": meta_data, "dynamic": {"instance-identity": _identity(facts, live)}}
    if facts.user_data:
        version["user-data"] = facts.user_data
    return dict.fromkeys(VERSIONS, version)


def look_up(tree: Tree, path: str, query: Query | None = None) -> str | bytes | None:
    """The item at `path`, or the listing of the directory, whether `path` ends in `/` or not; None: nothing there."""
    if not path.startswith("/"):
        return None
    names = path[1:].split("/")
    as_directory = names[-1] == ""
    if as_directory:
        names.pop()
    node: Tree | str | bytes | Made | None = tree
    for name in names:
        node = node.get(name) if isinstance(node, dict) else None
    if isinstance(node, dict):
        return _listing(node, slash="/" if names else "")
    if as_directory or node is None:
        return None
    return node(query or {}) or None if callable(node) else node


def _listing(directory: Tree, slash: str) -> str:
    """One name a line. Directories end in `/`, which is how clients know what to walk into."""
    names = sorted(name for name in directory if name != _ALL)
    return "\n".join(f"{name}{slash}" if isinstance(directory[name], dict) else name for name in names)


def _meta_data(facts: InstanceFacts) -> Tree:
    primary = facts.interfaces[0]
    tree: Tree = {
        "hostname": facts.host_name,
        "image-id": facts.image_id,
        "instance": {"instance-name": facts.name, "instance-type": facts.instance_type},
        "instance-id": facts.instance_id,
        "mac": primary.mac,
        "network": {"interfaces": {"macs": {one.mac: _interface(one) for one in facts.interfaces}}},
        "network-type": "vpc" if primary.vpc_id else "classic",
        "owner-account-id": facts.owner_id,
        "private-ipv4": primary.ip,
        "region-id": facts.region_id,
        "serial-number": facts.serial_number,
        "zone-id": facts.zone_id,
        **_vpc(primary),
    }
    if facts.public_ip:
        tree["public-ipv4"] = facts.public_ip
    if facts.eip:
        tree["eipv4"] = facts.eip
    if facts.disks:
        tree["disks"] = {disk.serial: {"id": disk.id, "name": disk.name} for disk in facts.disks}
    if facts.name_servers:
        tree["dns-conf"] = {"nameservers": "\n".join(facts.name_servers)}
    if facts.public_keys:
        tree["public-keys"] = {str(number): {"openssh-key": key} for number, key in enumerate(facts.public_keys)}
    return tree


def _interface(interface: InterfaceFacts) -> Tree:
    tree: Tree = {
        "gateway": interface.gateway,
        "netmask": interface.netmask,
        "primary-ip-address": interface.ip,
    }
    if interface.vpc_id:
        tree["network-interface-id"] = interface.id
        tree["private-ipv4s"] = json.dumps([interface.ip, *interface.secondary])
    return tree | _vpc(interface)


def _vpc(interface: InterfaceFacts) -> dict[str, str]:
    if not interface.vpc_id:
        return {}
    return {
        "vpc-cidr-block": interface.vpc_cidr,
        "vpc-id": interface.vpc_id,
        "vswitch-cidr-block": interface.vswitch_cidr,
        "vswitch-id": interface.vswitch_id,
    }


def _credentials(facts: InstanceFacts, live: Live) -> Made:
    return lambda query: live.credentials(facts.instance_id) or ""


# ------------------------------------------------------------------------------ identity


def _identity(facts: InstanceFacts, live: Live) -> Tree:
    def signed(sign: Callable[[str], str]) -> Made:
        return lambda query: sign(identity_document(facts, query.get("audience", "")))

    return {
        "certificate": lambda query: live.certificate(),
        "document": signed(str),
        "pkcs7": signed(live.pkcs7),
        "signature": signed(live.signature),
    }


def identity_document(facts: InstanceFacts, audience: str = "") -> str:
    """Who the instance is. `audience`, chosen by whoever shall believe it, makes a signature good for him only."""
    primary = facts.interfaces[0]
    document = {
        "owner-account-id": facts.owner_id,
        "instance-id": facts.instance_id,
        "mac": primary.mac,
        "region-id": facts.region_id,
        "zone-id": facts.zone_id,
        "serial-number": facts.serial_number,
        "instance-type": facts.instance_type,
        "image-id": facts.image_id,
        "private-ipv4": primary.ip,
    }
    if audience:
        document["audience"] = audience
    return json.dumps(document, separators=(",", ":"))
