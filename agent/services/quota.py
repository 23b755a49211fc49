"""Quotas (SPEC section 0, G7): one table of defaults; the configuration and an account may say otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from agent.config import Config, ConfigError
from agent.core.errors import QuotaExceeded
from agent.services.context import Caller
from agent.store.schema import Quota


@dataclass(frozen=True)
class Limit:
    """One quota: its default, the public code answered beyond it, and what it counts, as a person reads it."""

    default: int
    code: str
    what: str


LIMITS: dict[str, Limit] = {
    "instances": Limit(10, "QuotaExceed.ElasticQuota", "pay-as-you-go instances of the account"),
    "data_disks_per_instance": Limit(16, "InstanceDiskLimitExceeded", "data disks of the instance"),
    "data_disk_gib_per_instance": Limit(32 * 1024, "InstanceDiskLimitExceeded", "GiB of data disks of the instance"),
    "cloud_disks": Limit(50, "QuotaExceed.PostPaidDisk", "pay-as-you-go cloud disks of the account"),
    "disks": Limit(250, "QuotaExceed.DiskNumber", "disks of the account"),
    "snapshots_per_disk": Limit(64, "QuotaExceed.Snapshot", "snapshots of the disk"),
    "auto_snapshot_policies": Limit(100, "AutoSnapshotPolicyLimitExceed", "automatic snapshot policies"),
    "image_share_accounts": Limit(50, "QuotaExceed.ShareImageUser", "accounts the image is shared with"),
    "security_groups": Limit(100, "QuotaExceed.SecurityGroup", "security groups of the account"),
    "security_group_rules": Limit(100, "AuthorizationLimitExceed", "rules of the security group"),
    "security_groups_per_instance": Limit(5, "InstanceSecurityGroupLimitExceeded", "security groups of the instance"),
    "instances_per_security_group": Limit(
        1000, "SecurityGroupInstanceLimitExceeded", "instances in the security group"
    ),
    "key_pairs": Limit(500, "QuotaExceed.KeyPair", "key pairs of the account"),
    "tags_per_resource": Limit(10, "QuotaExceed.TagsPerResource", "tags of the resource"),
    "tags_per_call": Limit(5, "NumberExceed.Tags", "tags in one call"),
    "vpcs": Limit(5, "QuotaExceeded.Vpc", "VPCs of the account"),
    "vswitches_per_vpc": Limit(24, "QuotaExceeded.VSwitch", "VSwitches of the VPC"),
    "secondary_ips_per_interface": Limit(
        49, "SecondaryPrivateIpCountLimitExceeded", "secondary private addresses of the network interface"
    ),
    "route_entries_per_table": Limit(48, "QuotaExceeded.RouteEntry", "entries of the route table"),
    "eips": Limit(20, "QuotaExceeded.Eip", "elastic addresses of the account"),
    "port_forwards": Limit(100, "QuotaExceed.PortForward", "ports of the host for the account"),
    "bandwidth_mbps": Limit(200, "InvalidParameter.Bandwidth", "Mbit/s of public bandwidth"),
}


CLOUD_DISKS_PER_INSTANCE = 5  # that the account may have


def check_names(config: Config) -> None:
    """Raises ConfigError for an override that names no quota or is negative; at the agent's start."""
    for name, value in config.quotas.items():
        if name not in LIMITS:
            raise ConfigError(f"quotas.{name}: there is no such quota; known are {', '.join(sorted(LIMITS))}")
        if type(value) is not int or value < 0:
            raise ConfigError(f"quotas.{name} = {value!r} must be a whole number, 0 or more")


def limit(caller: Caller, name: str) -> int:
    """What the caller's account may have of `name`: its own limit, else the host's, else the default."""
    return limit_of(caller.session, caller.services.config, caller.account_id, name)


def limit_of(session: Session, config: Config, account_id: str, name: str) -> int:
    """The same of any account."""
    own = session.get(Quota, (account_id, name))
    if own is not None:
        return own.value
    default = LIMITS[name].default
    if name == "cloud_disks":
        default = CLOUD_DISKS_PER_INSTANCE * limit_of(session, config, account_id, "instances")
    return config.quotas.get(name, default)


def limits(caller: Caller) -> dict[str, int]:
    """Every quota of the caller's account, by name."""
    return {name: limit(caller, name) for name in LIMITS}


def check(caller: Caller, name: str, used: int, asked: int = 1, *, of: str = "") -> None:
    """Raise QuotaExceeded, with the quota's public code, if `asked` more than `used` would be too many.

    `of` names the resource that is full, where the quota is not the account's.
    """
    allowed = limit(caller, name)
    if used + asked <= allowed:
        return
    where = f' "{of}"' if of else ""
    raise QuotaExceeded(
        f"The quota {name} is exceeded: {allowed} {LIMITS[name].what}{where} are allowed, "
        f"{used} are in use, {asked} more were asked for.",
        code=LIMITS[name].code,
    )
