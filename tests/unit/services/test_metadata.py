"""Which instance is meant by an address (SPEC I11)."""

from __future__ import annotations

from agent.services.metadata import Instances
from agent.store.schema import Instance
from tests.support.cloud import Cloud


def make_vswitch(cloud: Cloud) -> tuple[str, str]:
    vpc_id = cloud.call("CreateVpc", {"CidrBlock": "192.168.0.0/16"})["VpcId"]
    where = {"VpcId": vpc_id, "ZoneId": "local-a", "CidrBlock": "192.168.1.0/24"}
    return vpc_id, cloud.call("CreateVSwitch", where)["VSwitchId"]


def make_instance(cloud: Cloud, vpc_id: str, vswitch_id: str, ip: str, key_pair_name: str | None = None) -> str:
    group = cloud.call("CreateSecurityGroup", {"VpcId": vpc_id})["SecurityGroupId"]
    return cloud.add_instance(vswitch_id, [group], ip=ip, key_pair_name=key_pair_name)


def test_the_same_address_in_two_vpcs_is_two_instances(cloud: Cloud) -> None:
    instances = Instances(cloud.store, cloud.services.config, ("9.9.9.9",))
    (vpc_a, in_a), (vpc_b, in_b) = make_vswitch(cloud), make_vswitch(cloud)
    one = make_instance(cloud, vpc_a, in_a, "192.168.1.5")
    other = make_instance(cloud, vpc_b, in_b, "192.168.1.5")
    found = instances.at(vpc_a, "192.168.1.5")
    assert found is not None
    assert (found.instance_id, found.name_servers, found.user_data) == (one, ("9.9.9.9",), b"")
    interface = found.interfaces[0]
    assert (interface.vpc_id, interface.vpc_cidr) == (vpc_a, "192.168.0.0/16")
    assert (interface.gateway, interface.netmask) == ("192.168.1.253", "255.255.255.0")
    there = instances.at(vpc_b, "192.168.1.5")
    assert there is not None
    assert there.instance_id == other
    assert instances.at(vpc_a, "192.168.1.6") is None
    assert instances.at("vpc-none", "192.168.1.5") is None
    assert instances.at(vpc_a, "") is None
    params = {"NetworkInterfaceId": interface.id, "PrivateIpAddress.1": "192.168.1.6"}
    cloud.call("AssignPrivateIpAddresses", params)
    assert (further := instances.at(vpc_a, "192.168.1.6"))
    assert (further.instance_id, further.interfaces[0].secondary) == (one, ("192.168.1.6",))


def test_a_released_instance_has_none_while_its_address_is_still_kept(cloud: Cloud) -> None:
    instances = Instances(cloud.store, cloud.services.config, ())
    vpc_id, vswitch_id = make_vswitch(cloud)
    instance_id = make_instance(cloud, vpc_id, vswitch_id, "192.168.1.5")
    with cloud.store.write() as session:
        session.get_one(Instance, instance_id).releasing = True
    assert instances.at(vpc_id, "192.168.1.5") is None


def test_the_keys_of_its_seed_and_its_user_data(cloud: Cloud) -> None:
    instances = Instances(cloud.store, cloud.services.config, ())
    vpc_id, vswitch_id = make_vswitch(cloud)
    # What counts is what the guest was started with, not what is bound since.
    cloud.call("CreateKeyPair", {"KeyPairName": "newer"})
    instance_id = make_instance(cloud, vpc_id, vswitch_id, "192.168.1.5", "newer")
    with cloud.store.write() as session:
        instance = session.get_one(Instance, instance_id)
        instance.user_data, instance.seeded_keys = b"\x00\xffbytes", ["ssh-rsa AAAA"]
    found = instances.at(vpc_id, "192.168.1.5")
    assert found is not None
    assert found.user_data == b"\x00\xffbytes"
    assert found.public_keys == ("ssh-rsa AAAA",)


def test_its_public_address(cloud: Cloud) -> None:
    instances = Instances(cloud.store, cloud.services.config, ())
    vpc_id, vswitch_id = make_vswitch(cloud)
    instance_id = make_instance(cloud, vpc_id, vswitch_id, "192.168.1.5")
    given = cloud.call("AllocateEipAddress")
    cloud.call("AssociateEipAddress", {"AllocationId": given["AllocationId"], "InstanceId": instance_id})
    found = instances.at(vpc_id, "192.168.1.5")
    assert found is not None
    assert (found.eip, found.public_ip) == (given["EipAddress"], given["EipAddress"])
