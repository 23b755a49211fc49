"""The tree of the metadata service (SPEC I11)."""

from __future__ import annotations

import dataclasses

import pytest

from agent.api.metadata import tree
from agent.services.metadata import InstanceFacts, InterfaceFacts
from tests.support import golden

INTERFACE = InterfaceFacts(
    id="eni-1",
    mac="00:16:3e:00:00:01",
    ip="192.168.1.5",
    netmask="255.255.255.0",
    gateway="192.168.1.253",
    vswitch_id="vsw-1",
    vswitch_cidr="192.168.1.0/24",
    vpc_id="vpc-1",
    vpc_cidr="192.168.0.0/16",
)
FACTS = InstanceFacts(
    instance_id="i-1",
    name="web",
    host_name="web-host",
    instance_type="ecs.s1.small",
    image_id="debian_12_x64",
    serial_number="7e6d3c4e-0000-4000-8000-000000000001",
    owner_id="1000000000000001",
    region_id="local",
    zone_id="local-a",
    interfaces=(INTERFACE,),
    public_keys=("ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two"),
    name_servers=("9.9.9.9", "1.1.1.1"),
    user_data=b"#!/bin/sh\necho \xff\n",
)


def walk(node: tree.Tree, directory: str) -> list[str]:
    """What a client that follows the listings finds, one item a line."""
    listing = tree.look_up(node, directory)
    assert isinstance(listing, str)
    lines = []
    for name in listing.splitlines():
        path = directory + name
        if path.endswith("/"):
            lines += walk(node, path)
        else:
            lines.append(f"{path}: {tree.look_up(node, path)!r}")
    return lines


def test_a_walk_through_the_tree() -> None:
    golden.check("metadata/full.txt", "\n".join(walk(tree.build(FACTS), "/latest/")) + "\n")


def test_what_an_instance_does_not_have_is_not_there() -> None:
    bare = tree.build(dataclasses.replace(FACTS, public_keys=(), name_servers=(), user_data=b""))
    for path in ("/latest/user-data", "/latest/meta-data/public-keys/", "/latest/meta-data/dns-conf/nameservers"):
        assert tree.look_up(tree.build(FACTS), path) is not None
        assert tree.look_up(bare, path) is None


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", "2016-01-01\nlatest"),
        ("/latest/", "meta-data/\nuser-data"),
        ("/latest", "meta-data/\nuser-data"),
        ("/2016-01-01/user-data", FACTS.user_data),
        ("/latest/meta-data/public-keys", "0/\n1/"),
        ("/latest/meta-data/instance-id", "i-1"),
    ],
)
def test_directories_are_listed_and_items_given(path: str, found: str | bytes) -> None:
    assert tree.look_up(tree.build(FACTS), path) == found


@pytest.mark.parametrize(
    "path",
    [
        "",
        "*",
        "latest/",
        "//",
        "/latest//",
        "//latest/",
        "/1.0/",
        "/latest/vendor-data",
        "/latest/meta-data/instance-id/",
        "/latest/meta-data/instance-id/x",
        "/latest/meta-data/../user-data",
        "/latest/meta-data/nothing",
        "/latest/user-data/",
    ],
)
def test_other_paths_lead_nowhere(path: str) -> None:
    assert tree.look_up(tree.build(FACTS), path) is None
