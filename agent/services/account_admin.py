"""Accounts of the host beside the default one (SPEC M6, R1). Only the host's owner makes and deletes them, as the edge
makes sure.

An account begins with a network as the default one has it, and an access key; it sees nothing of any other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Select, delete, func, select

from agent.core import validate
from agent.core.errors import Conflict, DependencyViolation, EntityConflict, NotFound
from agent.services import account as accounts
from agent.services import bucket, default_network, security_group, vpc, vswitch
from agent.services.context import Caller
from agent.store.schema import (
    AccessKey,
    Account,
    AutoSnapshotPolicy,
    Bucket,
    ClientToken,
    Disk,
    Image,
    ImageShare,
    Instance,
    KeyPair,
    NetworkInterface,
    Policy,
    PolicyAttachment,
    PortForward,
    PublicAddress,
    Quota,
    Role,
    SecurityGroup,
    Setting,
    Snapshot,
    Tag,
    Upload,
    Vpc,
    VSwitch,
)

# What has an owner, in words; of networks only what the account has not been given at its beginning.
OWNED: dict[type[Any], str] = {
    Instance: "instances",
    Disk: "disks",
    Snapshot: "snapshots",
    Image: "images",
    KeyPair: "key pairs",
    AutoSnapshotPolicy: "automatic snapshot policies",
    NetworkInterface: "network interfaces",
    SecurityGroup: "security groups",
    VSwitch: "VSwitches",
    Vpc: "VPCs",
    Role: "RAM roles",
    Policy: "RAM policies",
    PublicAddress: "public addresses",
    PortForward: "port forwards",
    Bucket: "buckets",
    Upload: "unfinished uploads",
}
# What goes with an account.
GOING: tuple[type[Any], ...] = (AccessKey, ClientToken, Quota, ImageShare, Tag, PolicyAttachment)


def create(caller: Caller, name: str) -> tuple[Account, AccessKey, str]:
    """The account, its first access key, and the key's secret, which is shown only now."""
    _check_name(caller, name)
    now = caller.services.clock.now()
    account = Account(id=accounts.new_number(), name=name, created_at=now)
    caller.session.add(account)
    caller.session.flush()
    own = replace(caller, account_id=account.id)
    default_network.ensure_default_network(own)
    key, secret = accounts.create_access_key(own)
    return account, key, secret


def create_key(caller: Caller, account_id: str) -> tuple[AccessKey, str]:
    """Another access key for an account, whose owner may have lost theirs."""
    return accounts.create_access_key(replace(caller, account_id=get(caller, account_id).id))


def get(caller: Caller, account_id: str) -> Account:
    """Raises NotFound."""
    found = caller.session.get(Account, account_id)
    if found is None:
        raise NotFound("EntityNotExist.Account", "AccountId", account_id)
    return found


def find(caller: Caller, *, ids: list[str], name: str = "") -> Select[Account]:
    """All accounts, the oldest first."""
    found = select(Account)
    if ids:
        found = found.where(Account.id.in_(ids))
    if name:
        found = found.where(Account.name == name)
    return found.order_by(Account.created_at, Account.id)


def rename(caller: Caller, account_id: str, name: str) -> None:
    account = get(caller, account_id)
    _check_name(caller, name, account_id)
    account.name = name


def remove(caller: Caller, account_id: str) -> None:
    """Delete an account that owns nothing but the network it began with: with its keys, and what was shared with it."""
    account = get(caller, account_id)
    if account.is_default:
        raise Conflict("The default account is the host's own.", code="DeleteConflict.Account.Default")
    if owned := owns(caller, account_id):
        told = ", ".join(f"{what} ({count})" for what, count in owned.items())
        raise DependencyViolation(
            f'The account "{account_id}" ({account.name}) still owns {told}: delete these first.',
            code="DeleteConflict.Account.Resources",
        )
    own = replace(caller, account_id=account_id)
    _remove_network(own)
    bucket.forget_hidden(own)
    for table in GOING:
        caller.session.execute(delete(table).where(table.account_id == account_id))
    caller.session.execute(delete(Setting).where(Setting.name == default_network.made_setting(account_id)))
    caller.session.delete(account)
    caller.session.flush()


def owns(caller: Caller, account_id: str) -> dict[str, int]:
    """How many of what the account owns, in words."""
    found = {}
    for table, what in OWNED.items():
        mine = select(func.count()).select_from(table).where(table.account_id == account_id)
        if hasattr(table, "is_default"):
            mine = mine.where(~table.is_default)
        if table is Bucket:
            mine = mine.where(~Bucket.name.startswith(bucket.HIDDEN))
        if count := caller.session.scalar(mine):
            found[what] = count
    return found


def _remove_network(own: Caller) -> None:
    for one in own.session.scalars(select(VSwitch).where(VSwitch.account_id == own.account_id)).all():
        vswitch.delete_vswitch(own, one.id)
    for found in own.session.scalars(select(Vpc).where(Vpc.account_id == own.account_id)).all():
        vpc.delete_vpc(own, found.id)
    in_classic = select(SecurityGroup.id).where(SecurityGroup.account_id == own.account_id)  # the system's own
    for group_id in own.session.scalars(in_classic).all():
        security_group.delete_security_group(own, group_id)


def _check_name(caller: Caller, name: str, account_id: str = "") -> None:
    validate.name("AccountName", name, code="InvalidParameter.AccountName.InvalidChars")
    taken = select(Account.id).where(Account.name == name, Account.id != account_id)
    if caller.session.scalar(taken.limit(1)) is not None:
        raise EntityConflict(f'There is an account named "{name}" already.', code="EntityAlreadyExists.Account")
