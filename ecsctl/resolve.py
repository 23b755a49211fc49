"""Names wherever ids are accepted: an id's shape is taken as it is, anything else is looked up by name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ecsctl.client import ECS, OWN, VPC, Client, Json
from ecsctl.errors import CliError, NotFound


@dataclass(frozen=True)
class Kind:
    """How a kind of resource is listed. `filter_parameter`: the list's own filter by name, if it has one."""

    noun: str
    prefix: str
    action: str
    wrapper: str
    id_field: str
    name_field: str
    filter_parameter: str = ""
    version: str = ECS
    tag_type: str = ""

    def is_id(self, text: str) -> bool:
        return bool(self.prefix) and re.fullmatch(re.escape(self.prefix) + r"[a-z0-9]{20}", text) is not None


INSTANCE = Kind(
    "instance",
    "i-",
    "DescribeInstances",
    "Instances.Instance",
    "InstanceId",
    "InstanceName",
    filter_parameter="InstanceName",
    tag_type="instance",
)
IMAGE = Kind(
    "image",
    "m-",
    "DescribeImages",
    "Images.Image",
    "ImageId",
    "ImageName",
    filter_parameter="ImageName",
    tag_type="image",
)
DISK = Kind(
    "disk", "d-", "DescribeDisks", "Disks.Disk", "DiskId", "DiskName", filter_parameter="DiskName", tag_type="disk"
)
SNAPSHOT = Kind(
    "snapshot",
    "s-",
    "DescribeSnapshots",
    "Snapshots.Snapshot",
    "SnapshotId",
    "SnapshotName",
    filter_parameter="SnapshotName",
    tag_type="snapshot",
)
SNAPSHOT_POLICY = Kind(
    "snapshot policy",
    "sp-",
    "DescribeAutoSnapshotPolicyEx",
    "AutoSnapshotPolicies.AutoSnapshotPolicy",
    "AutoSnapshotPolicyId",
    "AutoSnapshotPolicyName",
    filter_parameter="AutoSnapshotPolicyName",
    tag_type="snapshotpolicy",
)
SECURITY_GROUP = Kind(
    "security group",
    "sg-",
    "DescribeSecurityGroups",
    "SecurityGroups.SecurityGroup",
    "SecurityGroupId",
    "SecurityGroupName",
    filter_parameter="SecurityGroupName",
    tag_type="securitygroup",
)
KEY_PAIR = Kind(
    "key pair", "", "DescribeKeyPairs", "KeyPairs.KeyPair", "KeyPairName", "KeyPairName", tag_type="keypair"
)
VPC_NETWORK = Kind("VPC", "vpc-", "DescribeVpcs", "Vpcs.Vpc", "VpcId", "VpcName", version=VPC, tag_type="vpc")
VSWITCH = Kind(
    "VSwitch",
    "vsw-",
    "DescribeVSwitches",
    "VSwitches.VSwitch",
    "VSwitchId",
    "VSwitchName",
    version=VPC,
    tag_type="vswitch",
)
EIP = Kind(
    "EIP",
    "eip-",
    "DescribeEipAddresses",
    "EipAddresses.EipAddress",
    "AllocationId",
    "Name",
    filter_parameter="EipName",
    version=VPC,
    tag_type="eip",
)
PORT_FORWARD = Kind(
    "port forward",
    "fwd-",
    "DescribePortForwards",
    "PortForwards.PortForward",
    "PortForwardId",
    "PortForwardId",
    version=OWN,
)

BY_NOUN = {
    "instance": INSTANCE,
    "image": IMAGE,
    "disk": DISK,
    "snapshot": SNAPSHOT,
    "snapshot-policy": SNAPSHOT_POLICY,
    "security-group": SECURITY_GROUP,
    "key-pair": KEY_PAIR,
    "vpc": VPC_NETWORK,
    "vswitch": VSWITCH,
    "eip": EIP,
}


def describe(client: Client, kind: Kind, **filters: object) -> list[Json]:
    """All resources of a kind that the filters let through."""
    return list(client.items(kind.action, kind.wrapper, kind.version, **filters))


def find_id(client: Client, kind: Kind, text: str, **filters: object) -> str:
    """The id `text` means. NotFound when nothing has this name, CliError with the candidates when several do."""
    if kind.is_id(text):
        return text
    if kind.filter_parameter:
        filters = {kind.filter_parameter: text, **filters}
    found = [item for item in describe(client, kind, **filters) if item.get(kind.name_field) == text]
    if not found:
        raise NotFound(f"there is no {kind.noun} named {text!r}")
    if len(found) > 1:
        raise ambiguous(kind, text, found)
    return str(found[0][kind.id_field])


def find_ids(client: Client, kind: Kind, texts: tuple[str, ...]) -> list[str]:
    """The ids of several, each once."""
    return list(dict.fromkeys(find_id(client, kind, text) for text in texts))


def find_image(client: Client, text: str, **filters: object) -> str:
    """An image's id: public ids have no shape of their own, so what nothing is named after is taken as an id."""
    if IMAGE.is_id(text):
        return text
    found = [item for item in describe(client, IMAGE, ImageName=text, **filters) if item.get("ImageName") == text]
    if any(item["ImageId"] == text for item in found) or not found:
        return text
    if len(found) > 1:
        raise ambiguous(IMAGE, text, found)
    return str(found[0]["ImageId"])


def ambiguous(kind: Kind, text: str, found: list[Json]) -> CliError:
    shown = ", ".join(
        str(item[kind.id_field]) + (f" ({detail})" if (detail := _detail(item)) else "") for item in found
    )
    noun = f"{kind.noun[:-1]}ies" if kind.noun.endswith("y") else f"{kind.noun}s"
    return CliError(f"{text!r} names {len(found)} {noun}, use an id: {shown}")


def _detail(item: Json) -> object:
    """What tells it from others of its name: automatic snapshots of a day by the time, most things by the status."""
    return (item.get("SnapshotId") and item.get("CreationTime")) or item.get("Status") or item.get("VpcId")
