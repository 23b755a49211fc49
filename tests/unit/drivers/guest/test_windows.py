"""The seed of a Windows guest: config drive and NoCloud, as cloudbase-init reads them."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.specs import SeedSpec, WindowsSeed
from agent.drivers import qemu_user
from agent.drivers.guest.seed import SeedBuilder, seed_files
from agent.drivers.guest.windows import config_drive_files
from tests.support import golden

FIRST = WindowsSeed("6d1a3c4e-0000-5000-8000-0123456789ab", 'Pa"ss<w0rd>')
SPEC = SeedSpec(
    "i-bp1000000000000000aa",
    "win-1",
    (),
    None,
    "00:16:3e:00:00:01",
    b"rem cmd\r\necho \xff\r\n",
    "local",
    "local-a",
    FIRST,
)
LATER = replace(SPEC, windows=replace(FIRST, password=None), user_data=b"")


def all_files(spec: SeedSpec) -> dict[str, bytes]:
    assert spec.windows
    return {f"nocloud/{name}": content for name, content in seed_files(spec).items()} | {
        f"config-drive/{name}": content for name, content in config_drive_files(spec, spec.windows).items()
    }


@pytest.mark.parametrize(("name", "spec"), [("windows", SPEC), ("windows-later", LATER)])
def test_golden(name: str, spec: SeedSpec) -> None:
    for path, content in all_files(spec).items():
        if not path.endswith(("user-data", "user_data")):  # the user's own bytes
            golden.check(f"seed/{name}/{path}", content.decode())


def test_what_cloudbase_init_looks_for() -> None:
    meta = json.loads(all_files(SPEC)["config-drive/openstack/latest/meta_data.json"])
    assert (meta["uuid"], meta["admin_pass"], meta["meta"]["admin_username"]) == (
        FIRST.id,
        FIRST.password,
        "Administrator",
    )
    assert not meta["public_keys"]
    assert all_files(SPEC)["config-drive/openstack/latest/user_data"] == SPEC.user_data
    assert all_files(SPEC)["nocloud/user-data"] == SPEC.user_data


def test_the_password_is_in_one_place_and_goes_when_it_was_delivered() -> None:
    holders = [path for path, content in all_files(SPEC).items() if b"ss<w0rd>" in content]
    assert holders == ["config-drive/openstack/latest/meta_data.json"]
    assert not any(b"admin_pass" in content for content in all_files(LATER).values())
    assert "w0rd" not in repr(SPEC)


def test_two_isos_for_root_and_qemu_alone(tmp_path: Path) -> None:
    builder = SeedBuilder(tmp_path / "data")
    seed = builder.write_seed(SPEC)
    drive = builder.config_drive_path(SPEC.instance_id)
    for iso, label in ((seed, "cidata"), (drive, "config-2")):
        volume = subprocess.run(["isoinfo", "-d", "-i", iso], check=True, capture_output=True, text=True).stdout
        assert f"Volume id: {label}" in volume
        status = iso.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, qemu_user.lookup().own_gid, 0o440)
    command = ["isoinfo", "-J", "-i", drive, "-x", "/openstack/latest/meta_data.json"]
    meta = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert meta["admin_pass"] == FIRST.password
    assert builder.list_seeds() == {SPEC.instance_id}
    builder.delete_seed(SPEC.instance_id)
    assert list(seed.parent.iterdir()) == []
