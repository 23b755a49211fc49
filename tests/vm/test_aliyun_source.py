"""cloud-init's AliYun source in the real Debian image: without a seed disk, all comes from the metadata (SPEC I11)."""

from __future__ import annotations

import base64
import contextlib
import json
import xml.etree.ElementTree as ET

import libvirt
import pytest

from agent.policy import trust
from tests.support.agent import RAM, AgentProcess
from tests.support.libvirtd import PrivateLibvirt
from tests.support.ssh import login, run
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

USER_DATA = "#!/bin/sh\necho once >>/root/user-data-ran\n"
ROLE_PATH = "http://100.100.100.200/latest/meta-data/ram/security-credentials/"


def take_the_seed_away(libvirtd: PrivateLibvirt, domain_name: str) -> None:
    """Eject the seed's CD-ROM and press reset: from here on the guest boots as if it never had one."""
    with contextlib.closing(libvirt.open(libvirtd.uri)) as connection:
        domain = connection.lookupByName(domain_name)
        [drive] = ET.fromstring(domain.XMLDesc()).findall("devices/disk[@device='cdrom']")
        for name in ("source", "alias", "address", "backingStore"):
            for element in drive.findall(name):
                drive.remove(element)
        description = ET.tostring(drive, encoding="unicode")
        wait_for("the drive's opening", lambda: _ejected(domain, description), every=0.2)
        domain.reset()


def _ejected(domain: libvirt.virDomain, description: str) -> bool:
    """A guest that is just looking at the drive may close its tray again before the medium is out."""
    try:
        domain.updateDeviceFlags(description, libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE)
    except libvirt.libvirtError as error:
        if "is not open" in str(error):
            return False
        raise
    return True


def test_debian_boots_from_the_metadata_alone(agent: AgentProcess, libvirtd: PrivateLibvirt) -> None:
    agent.ensure_image("debian_12_x64")
    key = agent.call("CreateKeyPair", KeyPairName="aliyun-source")["PrivateKeyBody"]
    agent.call("CreateRole", RAM, RoleName="in-debian", AssumeRolePolicyDocument=trust.document([trust.ECS_SERVICE]))
    instance_id = agent.run_instance(
        ImageId="debian_12_x64",
        HostName="from-metadata",
        KeyPairName="aliyun-source",
        RamRoleName="in-debian",
        UserData=base64.b64encode(USER_DATA.encode()).decode(),
        SystemDisk={"Size": 6},
    )
    agent.wait_status(instance_id, "Running")
    take_the_seed_away(libvirtd, f"{agent.prefix}-{instance_id}")
    with login(agent, instance_id, key=key, seconds=600) as client:
        assert "status: done" in run(client, "cloud-init status --wait")
        assert run(client, "cloud-id").strip() == "aliyun"
        assert run(client, "hostname").strip() == "from-metadata"
        assert run(client, "cat /root/user-data-ran").strip() == "once"
        fetch = f"import urllib.request as u; print(u.urlopen('{ROLE_PATH}in-debian').read().decode())"
        assert json.loads(run(client, f'python3 -c "{fetch}"'))["Code"] == "Success"
    agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
    agent.wait_status(instance_id, None)
    agent.call("DeleteRole", RAM, RoleName="in-debian")
    agent.call("DeleteKeyPairs", KeyPairNames='["aliyun-source"]')
