"""The image that users get: real Debian with real cloud-init, through the whole of the product (SPEC M1, I1, L1)."""

from __future__ import annotations

import base64

import pytest

from tests.support.agent import AgentProcess
from tests.support.ssh import login, run

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1500)]

USER_DATA = "#!/bin/sh\necho once >> /root/user-data-ran\n"


@pytest.fixture(scope="module")
def key(agent: AgentProcess) -> str:
    return agent.call("CreateKeyPair", KeyPairName="debian-test")["PrivateKeyBody"]


def test_debian_boots_with_cloud_init_and_takes_our_seed(agent: AgentProcess, key: str) -> None:
    agent.ensure_image("debian_12_x64")
    instance_id = agent.run_instance(
        ImageId="debian_12_x64",
        HostName="bookworm",
        KeyPairName="debian-test",
        UserData=base64.b64encode(USER_DATA.encode()).decode(),
        SystemDisk={"Size": 6},
    )
    with login(agent, instance_id, key=key, seconds=600) as client:
        assert "status: done" in run(client, "cloud-init status --wait")
        assert run(client, "hostname").strip() == "bookworm"
        assert run(client, "cat /sys/class/dmi/id/product_name").strip() == "Alibaba Cloud ECS"
        assert run(client, "cat /root/user-data-ran").strip() == "once"
        assert run(client, "systemctl is-system-running --wait || systemctl --failed --no-legend").strip() == "running"
        gib = int(run(client, "df --output=size -B1 / | tail -1")) / 2**30
        assert gib > 5, "the root file system did not grow with the disk"
        serial = run(client, "lsblk -dno SERIAL /dev/vda").strip()
        assert f"d-{serial}" == agent.call("DescribeDisks", InstanceId=instance_id)["Disks"]["Disk"][0]["DiskId"]
    agent.call("StopInstance", InstanceId=instance_id)
    agent.wait_status(instance_id, "Stopped", 200)
    agent.call("StartInstance", InstanceId=instance_id)
    with login(agent, instance_id, key=key, seconds=600) as client:
        run(client, "cloud-init status --wait")
        assert run(client, "cat /root/user-data-ran").strip() == "once"
    agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
    agent.wait_status(instance_id, None)
