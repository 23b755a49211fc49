"""The network an account starts with: one VPC, one VSwitch and the system's security group in it (SPEC N1, F4)."""

from __future__ import annotations

from sqlalchemy import select

from agent.services import security_group, vpc, vswitch
from agent.services.context import Caller
from agent.store.schema import Setting, VSwitch

# Not 192.168.0.0/16: homes and labs use that themselves, and guests shall reach them through the uplink.
VPC_CIDR = "172.16.0.0/16"
VSWITCH_CIDR = "172.16.0.0/20"


def ensure_default_network(caller: Caller) -> VSwitch | None:
    """Make the default network, once per account: what its owner deletes stays away.

    Answers the default VSwitch, None if it was deleted. The jobs it journals wait for the runner to be woken.
    """
    made = made_setting(caller.account_id)
    if caller.session.get(Setting, made) is not None:
        return default_vswitch(caller)
    network = vpc.create_vpc(caller, cidr=VPC_CIDR, name="default", description="Made at setup")
    network.is_default = True
    first = vswitch.create_vswitch(
        caller,
        vpc_id=network.id,
        zone_id=caller.services.config.zone_id,
        cidr=VSWITCH_CIDR,
        name="default",
        description="Made at setup",
    )
    first.is_default = True
    security_group.default_group(caller, network)
    caller.session.add(Setting(name=made, value=network.id))
    caller.session.flush()
    return first


def made_setting(account_id: str) -> str:
    """The name of the setting that says that the account got its network."""
    return f"default-network:{account_id}"


def default_vswitch(caller: Caller) -> VSwitch | None:
    """The account's default VSwitch, if it still has one."""
    mine = select(VSwitch).where(VSwitch.account_id == caller.account_id, VSwitch.is_default)
    return caller.session.scalar(mine.limit(1))
