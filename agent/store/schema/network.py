"""VPCs, their interfaces and security groups."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from agent.store.schema.base import Base


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
