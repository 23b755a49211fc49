"""The tables. What is written here is the *wanted* state; the reconciler makes the host agree with it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, ForeignKey, Index, LargeBinary, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class UtcDateTime(TypeDecorator[dt.datetime]):
    """Aware UTC in Python, naive UTC in the database (SQLite knows no time zones)."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        return None if value is None else value.astimezone(dt.UTC).replace(tzinfo=None)

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        return None if value is None else value.replace(tzinfo=dt.UTC)


class Base(DeclarativeBase):
    type_annotation_map = {dt.datetime: UtcDateTime, dict[str, Any]: JSON, list[str]: JSON, bytes: LargeBinary}


# ------------------------------------------------------------------------------ accounts


class Account(Base):
    """An owner of resources (SPEC R1). `id` is a 16-digit number as a string."""

    __tablename__ = "accounts"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    is_default: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[dt.datetime]


class AccessKey(Base):
    """Signs API calls. The secret is encrypted with the host key (agent/store/secrets.py)."""

    __tablename__ = "access_keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    user_name: Mapped[str | None]  # None: the account's owner
    secret: Mapped[bytes]
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[dt.datetime]


class Role(Base):
    """A RAM role (SPEC I12): who may assume it (`trust_policy`, JSON text), and for how long at most.

    A role has no keys of its own, only temporary credentials.
    """

    __tablename__ = "roles"
    id: Mapped[str] = mapped_column(primary_key=True)  # 18 digits
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    name: Mapped[str]
    folded: Mapped[str]  # names are unique without regard to case
    description: Mapped[str] = mapped_column(default="")
    trust_policy: Mapped[str]
    max_session_seconds: Mapped[int] = mapped_column(default=3600)
    created_at: Mapped[dt.datetime]
    updated_at: Mapped[dt.datetime]
    __table_args__ = (UniqueConstraint("account_id", "folded"),)


class Policy(Base):
    """A custom policy of an account; `document` is JSON text. System policies are in the code (agent/policy)."""

    __tablename__ = "policies"
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    folded: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    document: Mapped[str]
    created_at: Mapped[dt.datetime]
    updated_at: Mapped[dt.datetime]


class PolicyAttachment(Base):
    """What a principal may do. `principal_type`: role (later also user, group). `policy_type`: System | Custom."""

    __tablename__ = "policy_attachments"
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    principal_type: Mapped[str] = mapped_column(primary_key=True)
    principal_id: Mapped[str] = mapped_column(primary_key=True)
    policy_type: Mapped[str] = mapped_column(primary_key=True)
    policy_folded: Mapped[str] = mapped_column(primary_key=True)
    attached_at: Mapped[dt.datetime]


class ClientToken(Base):
    """The answer to a creating call, for its repetition (SPEC G5)."""

    __tablename__ = "client_tokens"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    action: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(primary_key=True)
    parameters_digest: Mapped[str]
    response: Mapped[dict[str, Any]]
    created_at: Mapped[dt.datetime] = mapped_column(index=True)


class Quota(Base):
    """An account's own limit in place of the default (SPEC G7)."""

    __tablename__ = "quotas"
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int]


class Setting(Base):
    """Facts the agent remembers about its host, such as the boot id it last saw."""

    __tablename__ = "settings"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


# ------------------------------------------------------------------------------ network


class Vpc(Base):
    """`link` is a small number, unique on the host, from which drivers derive names and link addresses."""

    __tablename__ = "vpcs"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    cidr: Mapped[str]
    link: Mapped[int] = mapped_column(unique=True)
    router_id: Mapped[str]
    route_table_id: Mapped[str]
    is_default: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[dt.datetime]
    vswitches: Mapped[list[VSwitch]] = relationship(back_populates="vpc", order_by="VSwitch.created_at")


class VSwitch(Base):
    __tablename__ = "vswitches"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    zone_id: Mapped[str]
    name: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    cidr: Mapped[str]
    is_default: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[dt.datetime]
    vpc: Mapped[Vpc] = relationship(back_populates="vswitches")


class NetworkInterface(Base):
    """An instance's link: its MAC, private address and tap belong to it for life (SPEC N2)."""

    __tablename__ = "network_interfaces"
    __table_args__ = (UniqueConstraint("vpc_id", "ip"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    vswitch_id: Mapped[str] = mapped_column(ForeignKey("vswitches.id"), index=True)
    instance_id: Mapped[str | None] = mapped_column(ForeignKey("instances.id"), index=True)
    mac: Mapped[str] = mapped_column(unique=True)
    ip: Mapped[str]
    tap: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[dt.datetime]
    vswitch: Mapped[VSwitch] = relationship()
    memberships: Mapped[list[GroupMembership]] = relationship(
        back_populates="interface", cascade="all, delete-orphan", order_by="GroupMembership.position"
    )


class SecurityGroup(Base):
    """`is_default`: the system's own group of its VPC, with its rules at priority 110 (SPEC F4)."""

    __tablename__ = "security_groups"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    name: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    is_default: Mapped[bool] = mapped_column(default=False)
    inner_access: Mapped[bool] = mapped_column(default=True)  # members reach each other
    created_at: Mapped[dt.datetime]
    rules: Mapped[list[SecurityGroupRule]] = relationship(
        foreign_keys="SecurityGroupRule.group_id", cascade="all, delete-orphan", order_by="SecurityGroupRule.created_at"
    )


class SecurityGroupRule(Base):
    """One rule (SPEC F2); `peer_group_id` or `peer_cidr` is set, never both."""

    __tablename__ = "security_group_rules"
    id: Mapped[str] = mapped_column(primary_key=True)
    group_id: Mapped[str] = mapped_column(ForeignKey("security_groups.id"), index=True)
    direction: Mapped[str]  # ingress | egress
    policy: Mapped[str]  # Accept | Drop
    protocol: Mapped[str]  # ALL | TCP | UDP | ICMP | GRE
    port_range: Mapped[str]  # `22/22`, `-1/-1`
    peer_cidr: Mapped[str | None]
    peer_group_id: Mapped[str | None] = mapped_column(ForeignKey("security_groups.id"), index=True)
    nic_type: Mapped[str]  # intranet | internet
    priority: Mapped[int]
    description: Mapped[str] = mapped_column(default="")
    created_at: Mapped[dt.datetime]


class GroupMembership(Base):
    __tablename__ = "group_memberships"
    group_id: Mapped[str] = mapped_column(ForeignKey("security_groups.id"), primary_key=True)
    interface_id: Mapped[str] = mapped_column(ForeignKey("network_interfaces.id"), primary_key=True, index=True)
    position: Mapped[int] = mapped_column(default=0)
    interface: Mapped[NetworkInterface] = relationship(back_populates="memberships")


# ------------------------------------------------------------------------------ compute and storage


class KeyPair(Base):
    """A public key (SPEC K1-K4). `retired`: deleted while bound, its name is shown on and never used again."""

    __tablename__ = "key_pairs"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    name: Mapped[str]
    fingerprint: Mapped[str]
    public_key: Mapped[str]
    retired: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[dt.datetime]
    __table_args__ = (UniqueConstraint("account_id", "name"),)


class Image(Base):
    """`account_id` None: a public image. `status`: Creating | Available | UnAvailable | CreateFailed."""

    __tablename__ = "images"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    status: Mapped[str]
    os_type: Mapped[str]
    os_name: Mapped[str]
    platform: Mapped[str]
    architecture: Mapped[str]
    size_gib: Mapped[int]
    virtio: Mapped[bool] = mapped_column(default=True)  # the guest has drivers for virtio disks and network
    file: Mapped[str | None]  # storage's image id of the layer; one image may be built several times
    created_at: Mapped[dt.datetime]


class Instance(Base):
    """`power` is what should be (`on`/`off`); `status` is what callers are shown. `releasing`: invisible."""

    __tablename__ = "instances"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    uuid: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    host_name: Mapped[str]
    zone_id: Mapped[str]
    instance_type: Mapped[str]
    vcpus: Mapped[int]
    memory_mib: Mapped[int]
    image_id: Mapped[str]
    os_type: Mapped[str]
    os_name: Mapped[str]
    key_pair_name: Mapped[str | None]
    password_hash: Mapped[str | None]
    password: Mapped[bytes | None]  # of Windows, sealed, until delivered: cloudbase-init needs the plain text
    windows_seed_id: Mapped[str | None]  # of the last seed that a Windows guest has worked through
    user_data: Mapped[bytes] = mapped_column(default=b"")
    seeded_keys: Mapped[list[str]] = mapped_column(default=list)  # public keys since the last console start
    virtio: Mapped[bool] = mapped_column(default=True)  # of its image when the system disk was made
    ram_role_name: Mapped[str | None]
    metadata_enabled: Mapped[bool] = mapped_column(default=True)
    metadata_token_required: Mapped[bool] = mapped_column(default=False)  # hardened mode
    vnc_password: Mapped[bytes | None]  # wanted, sealed; in effect from the next console start
    vnc_password_active: Mapped[bytes | None]  # in effect, sealed
    vnc_password_shown: Mapped[bool] = mapped_column(default=False)
    charge_type: Mapped[str] = mapped_column(default="PostPaid")
    deletion_protection: Mapped[bool] = mapped_column(default=False)
    status: Mapped[str] = mapped_column(index=True)
    status_reason: Mapped[str] = mapped_column(default="")
    power: Mapped[str] = mapped_column(default="off")
    releasing: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[dt.datetime]
    started_at: Mapped[dt.datetime | None]
    interfaces: Mapped[list[NetworkInterface]] = relationship(order_by="NetworkInterface.created_at")
    disks: Mapped[list[Disk]] = relationship(back_populates="instance", order_by="Disk.device")


class Disk(Base):
    """`image_file` names the layer a system disk is an overlay on; it keeps that file alive."""

    __tablename__ = "disks"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    instance_id: Mapped[str | None] = mapped_column(ForeignKey("instances.id"), index=True)
    zone_id: Mapped[str]
    name: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    kind: Mapped[str]  # system | data
    category: Mapped[str]
    size_gib: Mapped[int]
    device: Mapped[str | None]  # /dev/xvda
    status: Mapped[str]  # Creating | Available | In_use | Attaching | Detaching
    image_id: Mapped[str | None]
    image_file: Mapped[str | None] = mapped_column(index=True)
    delete_with_instance: Mapped[bool] = mapped_column(default=True)
    delete_auto_snapshot: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[dt.datetime]
    attached_at: Mapped[dt.datetime | None]
    instance: Mapped[Instance | None] = relationship(back_populates="disks")


class Tag(Base):
    """`folded` is the key in lower case: keys are unique in a resource without regard to case (SPEC T2)."""

    __tablename__ = "tags"
    __table_args__ = (Index("ix_tags_lookup", "account_id", "resource_type", "folded", "value"),)
    resource_type: Mapped[str] = mapped_column(primary_key=True)
    resource_id: Mapped[str] = mapped_column(primary_key=True)
    folded: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str]
    value: Mapped[str] = mapped_column(default="")
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))


# ------------------------------------------------------------------------------ journal


class Job(Base):
    """One journalled operation. `step` is the first step not yet done; `data` passes values between steps.

    `lock` is the resource that no two jobs work on at once, in order of `sequence`.
    """

    __tablename__ = "jobs"
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    account_id: Mapped[str | None] = mapped_column(index=True)
    kind: Mapped[str]
    lock: Mapped[str] = mapped_column(index=True)
    resource_id: Mapped[str] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(index=True)  # pending | running | undoing | succeeded | failed
    step: Mapped[int] = mapped_column(default=0)
    step_count: Mapped[int]
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    progress: Mapped[int] = mapped_column(default=0)
    message: Mapped[str] = mapped_column(default="")
    failures: Mapped[int] = mapped_column(default=0)
    request_id: Mapped[str] = mapped_column(default="")
    created_at: Mapped[dt.datetime]
    step_started_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]
