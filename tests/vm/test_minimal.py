"""debian_12_x64_minimal keeps the contract of images/README.md: without cloud-init, and with it where only that
understands the user data. Both on one disk: the second guest is another instance, made of the first one's disk.
"""

from __future__ import annotations

from pathlib import Path

import paramiko
import pytest

from agent.core.specs import SeedSpec
from agent.drivers.guest.seed import seed_files
from tests.support import images
from tests.support.plain_guest import PlainGuest, run, write_seed
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

MAC = "52:54:00:12:34:56"
SCRIPT = b"#!/bin/sh\nhostname >>/root/script-ran\n"
CONFIGURATION = b"#cloud-config\nhostname: configured\nruncmd: ['echo yes >/root/configuration-ran']\n"


def seed(directory: Path, instance_id: str, key: paramiko.PKey, user_data: bytes) -> Path:
    public = f"{key.get_name()} {key.get_base64()}"
    spec = SeedSpec(instance_id, f"{instance_id}-host", (public,), None, MAC, user_data)
    return write_seed(directory, {name: content.decode() for name, content in seed_files(spec).items()})


def identity(client: paramiko.SSHClient) -> tuple[str, str]:
    transport = client.get_transport()
    assert transport is not None
    return transport.get_remote_server_key().get_base64(), run(client, "cat /etc/machine-id").strip()


def test_seed_and_identity(tmp_path: Path) -> None:
    image, first, second = (
        images.image("debian_12_x64_minimal"),
        paramiko.ECDSAKey.generate(),
        paramiko.ECDSAKey.generate(),
    )
    with PlainGuest(tmp_path, image, seed(tmp_path, "i-first", first, SCRIPT), memory_mib=512, disk_gib=4) as guest:
        client = guest.connect(200, pkey=first)
        wait_for("the script", lambda: "i-first-host" in run(client, "cat /root/script-ran 2>/dev/null || :"), 60)
        assert run(client, "cloud-init status").strip() == "status: disabled"  # it did not even start
        assert int(run(client, "df --output=size -BM / | tail -1").strip().rstrip("M")) > 3500
        wait_for("the end of the start", lambda: "running" in run(client, "systemctl is-system-running || :"), 60)
        assert run(client, "sed -n 's/^root:\\([^:]*\\):.*/\\1/p' /etc/shadow").strip().startswith(("!", "*"))
        known = identity(client)
        client.exec_command("poweroff")
        guest.wait_off(120)
    with PlainGuest(tmp_path, image, seed(tmp_path, "i-other", second, CONFIGURATION), memory_mib=512) as guest:
        client = guest.connect(300, pkey=second)
        assert run(client, "cloud-init status --wait").strip().endswith("status: done")
        assert run(client, "hostname; cat /root/configuration-ran /root/script-ran").split() == [
            "configured",
            "yes",
            "i-first-host",
        ]
        assert not set(identity(client)) & set(known)
        assert first.get_base64() not in run(client, "cat /root/.ssh/authorized_keys")
