"""The tree of the metadata service (SPEC I11)."""

from __future__ import annotations

import dataclasses
import json

import pytest

from agent.api.metadata import tree
from agent.services.metadata import DiskFacts, InstanceFacts, InterfaceFacts
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
    disks=(DiskFacts("aaaaaaaaaaaaaaaaaaaa", "d-aaaaaaaaaaaaaaaaaaaa", "system"),),
    role_name="worker",
)


class Signatures:
    """Live items that say what they would be made of."""

    def credentials(self, instance_id: str) -> str | None:
        return f"credentials of {instance_id}"

    def pkcs7(self, document: str) -> str:
        return f"pkcs7 of {document}"

    def signature(self, document: str) -> str:
        return f"signature of {document}"

    def certificate(self) -> str:
        return "certificate"


def build(facts: InstanceFacts) -> tree.Tree:
    return tree.build(facts, Signatures())


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
    golden.check("metadata/full.txt", "\n".join(walk(build(FACTS), "/latest/")) + "\n")


def test_what_an_instance_does_not_have_is_not_there() -> None:
    bare = build(dataclasses.replace(FACTS, public_keys=(), name_servers=(), user_data=b"", role_name="", disks=()))
    meta_data = ("public-keys/", "dns-conf/nameservers", "disks/", "ram/", "ram/security-credentials/worker")
    for path in ("/latest/user-data", *(f"/latest/meta-data/{item}" for item in meta_data)):
        assert tree.look_up(build(FACTS), path) is not None
        assert tree.look_up(bare, path) is None


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", "2016-01-01\nlatest"),
        ("/latest/", "dynamic/\nmeta-data/\nuser-data"),
        ("/latest", "dynamic/\nmeta-data/\nuser-data"),
        ("/2016-01-01/user-data", FACTS.user_data),
        ("/latest/meta-data/public-keys", "0/\n1/"),
        ("/latest/meta-data/instance-id", "i-1"),
    ],
)
def test_directories_are_listed_and_items_given(path: str, found: str | bytes) -> None:
    assert tree.look_up(build(FACTS), path) == found


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
        "/latest/meta-data/all/",
        "/latest/meta-data/ram/security-credentials/admin",
    ],
)
def test_other_paths_lead_nowhere(path: str) -> None:
    assert tree.look_up(build(FACTS), path) is None


def test_all_of_it_is_one_json_without_secrets() -> None:
    found = tree.look_up(build(FACTS), "/2016-01-01/meta-data/all")
    assert isinstance(found, str)
    assert "credentials" not in found
    whole = json.loads(found)
    # Every item of the tree is in it, as the same text at the same place.
    for line in walk(build(FACTS), "/latest/meta-data/"):
        path, _, text = line.partition(": ")
        if "/ram/" not in path:
            node = whole
            for name in path.removeprefix("/latest/meta-data/").split("/"):
                node = node[name]
            assert repr(node) == text
    assert "all" not in str(tree.look_up(build(FACTS), "/latest/meta-data/")).splitlines()


def test_credentials_that_are_gone_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Signatures, "credentials", lambda self, instance_id: None)
    assert tree.look_up(build(FACTS), "/latest/meta-data/ram/security-credentials/worker") is None


def test_an_audience_is_part_of_the_document_that_is_signed() -> None:
    identity, query = "/latest/dynamic/instance-identity", {"audience": "me, now", "other": "x"}
    plain, aimed = (tree.look_up(build(FACTS), f"{identity}/document", q) for q in ({}, query))
    assert json.loads(str(aimed)) == json.loads(str(plain)) | {"audience": "me, now"}
    assert tree.look_up(build(FACTS), f"{identity}/pkcs7", query) == f"pkcs7 of {aimed}"
    assert tree.look_up(build(FACTS), f"{identity}/signature") == f"signature of {plain}"


def test_public_addresses_are_there_only_when_it_has_them() -> None:
    def shown(**facts: str) -> tuple[object, object]:
        built = build(dataclasses.replace(FACTS, **facts))  # type: ignore[arg-type]
        return tuple(tree.look_up(built, f"/latest/meta-data/{name}") for name in ("public-ipv4", "eipv4"))  # type: ignore[return-value]

    assert shown() == (None, None)
    assert shown(public_ip="203.0.113.7") == ("203.0.113.7", None)
    assert shown(public_ip="203.0.113.8", eip="203.0.113.8") == ("203.0.113.8", "203.0.113.8")


def test_an_instance_of_the_classic_network_has_no_vpc() -> None:
    intranet = InterfaceFacts("eni-1", "00:16:3e:00:00:01", "10.168.0.1", "255.255.0.0", "10.168.255.253")
    internet = InterfaceFacts("eni-2", "02:16:3e:00:00:01", "100.125.0.1", "255.255.255.255", "100.100.100.253")
    built = build(dataclasses.replace(FACTS, interfaces=(intranet, internet), public_ip=internet.ip))
    listing = str(tree.look_up(built, "/latest/meta-data/"))
    assert not [name for name in listing.split() if name.startswith(("vpc", "vswitch"))]
    assert tree.look_up(built, "/latest/meta-data/network-type") == "classic"
    assert tree.look_up(built, "/latest/meta-data/private-ipv4") == "10.168.0.1"
    assert tree.look_up(built, "/latest/meta-data/public-ipv4") == "100.125.0.1"
    card = "/latest/meta-data/network/interfaces/macs/02:16:3e:00:00:01"
    assert tree.look_up(built, f"{card}/") == "gateway\nnetmask\nprimary-ip-address"
    assert tree.look_up(built, f"{card}/gateway") == "100.100.100.253"
