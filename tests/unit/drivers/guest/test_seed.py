"""SeedSpec → NoCloud files → ISO."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.errors import DriverError
from agent.core.specs import SeedSpec
from agent.drivers import qemu_user
from agent.drivers.guest.seed import NEUTRAL_USER_DATA, SeedBuilder, seed_files
from agent.drivers.guest.user_data import with_boothook
from tests.support import golden
from tests.support.small_disk import small_disk

HASH = "$6$saltsaltsaltsalt$" + "x" * 86
PLAIN = SeedSpec("i-bp1000000000000000aa", "web-1", (), None, "00:16:3e:00:00:01", b"", "local", "local-a")
FULL = replace(
    PLAIN,
    public_keys=("ssh-ed25519 AAAAC3Nza one@example", 'ssh-rsa AAAAB3Nza o\'brien; $(reboot) "x" \\ ünï'),
    password_hash=HASH,
    user_data=b"#!/bin/sh\necho \xff\x00 as it is\r\n",
)


CLASSIC = replace(PLAIN, internet_mac="02:16:3e:00:00:01")


@pytest.mark.parametrize(("name", "spec"), [("plain", PLAIN), ("full", FULL)])
@pytest.mark.parametrize("file", ["meta-data", "network-config", "vendor-data"])
def test_golden(name: str, spec: SeedSpec, file: str) -> None:
    golden.check(f"seed/{name}/{file}", seed_files(spec)[file].decode())


def test_a_card_that_may_turn_up_later() -> None:
    golden.check("seed/classic/network-config", seed_files(CLASSIC)["network-config"].decode())


def test_user_data_is_the_users() -> None:
    assert seed_files(FULL)["user-data"] == FULL.user_data
    assert seed_files(PLAIN)["user-data"] == NEUTRAL_USER_DATA


def test_configuration_travels_with_the_boothook() -> None:
    spec = replace(PLAIN, user_data=b"#cloud-config\nvendor_data: {enabled: false}\n")
    files = seed_files(spec)
    assert files["user-data"] == with_boothook(spec.user_data, files["vendor-data"].decode())
    assert files["user-data"] != spec.user_data


@pytest.mark.parametrize("host_name", ['a"\nb', "a\0", "a\x7f", "\u2028"])
def test_values_that_could_break_out(host_name: str) -> None:
    with pytest.raises(DriverError, match="one line of printable characters"):
        seed_files(replace(PLAIN, host_name=host_name))


def test_hostile_values_stay_values() -> None:
    text = seed_files(replace(PLAIN, host_name='x", evil: "y'))["meta-data"].decode()
    assert 'local-hostname: "x\\", evil: \\"y"\n' in text


@pytest.fixture
def builder(tmp_path: Path) -> SeedBuilder:
    return SeedBuilder(tmp_path / "data")


def content(iso: Path, name: str, *tree: str) -> bytes:
    return subprocess.run(["isoinfo", *tree, "-i", iso, "-x", f"/{name}"], check=True, capture_output=True).stdout


@pytest.mark.parametrize("tree", ["-R", "-J"])
def test_the_iso_carries_the_files(builder: SeedBuilder, tree: str) -> None:
    iso = builder.write_seed(FULL)
    for name, expected in seed_files(FULL).items():
        assert content(iso, name, tree) == expected
    volume = subprocess.run(["isoinfo", "-d", "-i", iso], check=True, capture_output=True, text=True).stdout
    assert "Volume id: cidata" in volume
    assert iso.stat().st_size < 200_000


def test_the_same_seed_is_the_same_bytes(tmp_path: Path) -> None:
    first, second = (SeedBuilder(tmp_path / name).write_seed(FULL) for name in ("one", "another"))
    assert first.read_bytes() == second.read_bytes()


def test_replaced_listed_deleted(builder: SeedBuilder) -> None:
    iso = builder.write_seed(PLAIN)
    before = iso.stat().st_ino
    builder.write_seed(FULL)
    assert iso.stat().st_ino != before
    assert builder.list_seeds() == {PLAIN.instance_id}
    assert [path.name for path in iso.parent.iterdir()] == [iso.name]
    builder.delete_seed(PLAIN.instance_id)
    builder.delete_seed(PLAIN.instance_id)
    assert builder.list_seeds() == set()


def test_only_root_and_qemu_may_read(builder: SeedBuilder) -> None:
    status = builder.write_seed(FULL).stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, qemu_user.lookup().own_gid, 0o440)


def test_leftovers_go_when_it_is_made_again(builder: SeedBuilder, tmp_path: Path) -> None:
    leftover = builder.write_seed(PLAIN).parent / ".tmp-abc"
    leftover.mkdir()
    (leftover / "vendor-data").write_bytes(b"a hash")
    SeedBuilder(tmp_path / "data")
    assert not leftover.exists()


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 64) as root:
        builder = SeedBuilder(root / "data")
        with pytest.raises(DriverError, match=rf"cannot write the seed of {PLAIN.instance_id}"):
            builder.write_seed(FULL)
        assert list((root / "data/seeds").iterdir()) == []


@pytest.mark.parametrize("name", ["", "../x", "i-A", "i/x", ".i"])
def test_names_that_are_no_instance_ids(builder: SeedBuilder, name: str) -> None:
    with pytest.raises(DriverError, match="cannot be an instance id"):
        builder.delete_seed(name)
