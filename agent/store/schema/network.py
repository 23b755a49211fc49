"""VPCs, their interfaces and security groups."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import ForeignKey, UniqueConstraint, false, true
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
    # The classic network (SPEC N4): one of the host, of all accounts, shown to nobody as a VPC.
    is_classic: Mapped[bool] = mapped_column(default=False, server_default=false())
    created_at: Mapped[dt.datetime]
    vswitches: Mapped[list[VSwitch]] = relationship(back_populates="vpc", order_by="VSwitch.created_at")
    routes: Mapped[list[RouteEntry]] = relationship(
        back_populates="vpc", cascade="all, delete-orphan", order_by="RouteEntry.created_at"
    )


class VSwitch(Base):
    """`nat`: instances without a public address may go out through the host, where that has an uplink (SPEC N5)."""

    __tablename__ = "vswitches"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    zone_id: Mapped[str]
    name: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    cidr: Mapped[str]
    is_default: Mapped[bool] = mapped_column(default=False)
    nat: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_at: Mapped[dt.datetime]
    vpc: Mapped[Vpc] = relationship(back_populates="vswitches")


class NetworkInterface(Base):
    """An instance's link: its MAC, private address and tap belong to it for life (SPEC N2).

    `nic_type` is intranet but for the second one of an instance in the classic network, whose `ip` is its public
    address (SPEC N4).
    """

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
    nic_type: Mapped[str] = mapped_column(default="intranet", server_default="intranet")  # | internet
    created_at: Mapped[dt.datetime]
    vswitch: Mapped[VSwitch] = relationship()
    secondary: Mapped[list[SecondaryAddress]] = relationship(
        cascade="all, delete-orphan", order_by="SecondaryAddress.created_at"
    )
    public: Mapped[list[PublicAddress]] = relationship(back_populates="interface", order_by="PublicAddress.created_at")
    forwards: Mapped[list[PortForward]] = relationship(
        back_populates="interface", cascade="all, delete-orphan", order_by="PortForward.created_at"
    )
    memberships: Mapped[list[GroupMembership]] = relationship(
        back_populates="interface", cascade="all, delete-orphan", order_by="GroupMembership.position"
    )


class SecondaryAddress(Base):
    """A further private address of an interface. No address of a VPC is here and in `network_interfaces`."""

    __tablename__ = "secondary_addresses"
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), primary_key=True)
    ip: Mapped[str] = mapped_column(primary_key=True)
    interface_id: Mapped[str] = mapped_column(ForeignKey("network_interfaces.id"), index=True)
    created_at: Mapped[dt.datetime]


class PublicAddress(Base):
    """An address of the host's pool that an account has (SPEC N3). `kind`: `eip`, which is kept without an instance,
    or `public`, which came with its instance and goes with it. Bound, it stands for the interface's `ip`, or for
    `private_ip`, a secondary one."""

    __tablename__ = "public_addresses"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    kind: Mapped[str]
    ip: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    bandwidth_mbps: Mapped[int]  # of 1,024 kbit/s each way; of kind `public` the instance's columns count
    charge_type: Mapped[str] = mapped_column(default="PayByTraffic")  # | PayByBandwidth
    interface_id: Mapped[str | None] = mapped_column(ForeignKey("network_interfaces.id"), index=True)
    private_ip: Mapped[str | None]
    created_at: Mapped[dt.datetime]
    interface: Mapped[NetworkInterface | None] = relationship(back_populates="public")


class PortForward(Base):
    """A port of the host that leads to one of an instance. `host_address` empty: all of the host's own."""

    __tablename__ = "port_forwards"
    __table_args__ = (UniqueConstraint("protocol", "host_port", "host_address"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    protocol: Mapped[str]  # tcp | udp
    host_address: Mapped[str] = mapped_column(default="")
    host_port: Mapped[int]
    interface_id: Mapped[str] = mapped_column(ForeignKey("network_interfaces.id"), index=True)
    port: Mapped[int]
    description: Mapped[str] = mapped_column(default="")
    created_at: Mapped[dt.datetime]
    interface: Mapped[NetworkInterface] = relationship(back_populates="forwards")


class RouteEntry(Base):
    """A custom entry of a VPC's route table (SPEC N1). `next_hop_type`: `Instance` or `NetworkInterface` with an
    `interface_id`, or `Host`: out through the host, translated to its address, whatever the VSwitch's `nat` says."""

    __tablename__ = "route_entries"
    __table_args__ = (UniqueConstraint("vpc_id", "cidr"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    cidr: Mapped[str]
    next_hop_type: Mapped[str]
    interface_id: Mapped[str | None] = mapped_column(ForeignKey("network_interfaces.id"), index=True)
    name: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    created_at: Mapped[dt.datetime]
    vpc: Mapped[Vpc] = relationship(back_populates="routes")
    interface: Mapped[NetworkInterface | None] = relationship()


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


class FilterChange(Base):
    """Something that filters are made of changed on a security group or a network interface. Triggers write these, see
    store/filter_changes.py; a `sequence` is never used again."""

    __tablename__ = "filter_changes"
    __table_args__ = {"sqlite_autoincrement": True}
    sequence: Mapped[int] = mapped_column(primary_key=True)
    resource_id: Mapped[str]


class GroupMembership(Base):
    __tablename__ = "group_memberships"
    group_id: Mapped[str] = mapped_column(ForeignKey("security_groups.id"), primary_key=True)
    interface_id: Mapped[str] = mapped_column(ForeignKey("network_interfaces.id"), primary_key=True, index=True)
    position: Mapped[int] = mapped_column(default=0)
    interface: Mapped[NetworkInterface] = relationship(back_populates="memberships")
