"""Instances, and what they are made of and with."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from agent.store.schema.base import Base

if TYPE_CHECKING:
    from agent.store.schema.network import NetworkInterface
    from agent.store.schema.storage import Disk


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
    setup: Mapped[str] = mapped_column(default="seed", server_default="seed")  # of its image, likewise
    edited: Mapped[str] = mapped_column(default="", server_default="")  # what its disk's files say, with setup `edit`
    iso_file: Mapped[str | None]  # storage's image id of the ISO in its drive
    ram_role_name: Mapped[str | None]
    metadata_enabled: Mapped[bool] = mapped_column(default=True)
    metadata_token_required: Mapped[bool] = mapped_column(default=False)  # hardened mode
    vnc_password: Mapped[bytes | None]  # wanted, sealed; in effect from the next console start
    vnc_password_active: Mapped[bytes | None]  # in effect, sealed
    vnc_password_shown: Mapped[bool] = mapped_column(default=False)
    charge_type: Mapped[str] = mapped_column(default="PostPaid")
    # Of its own public address (SPEC N3), in Mbit/s of 1,024 kbit/s; out 0: it has none.
    internet_in_mbps: Mapped[int] = mapped_column(default=0, server_default="0")
    internet_out_mbps: Mapped[int] = mapped_column(default=0, server_default="0")
    internet_charge_type: Mapped[str] = mapped_column(default="PayByTraffic", server_default="PayByTraffic")
    deletion_protection: Mapped[bool] = mapped_column(default=False)
    status: Mapped[str] = mapped_column(index=True)
    status_reason: Mapped[str] = mapped_column(default="")
    power: Mapped[str] = mapped_column(default="off")
    releasing: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[dt.datetime]
    started_at: Mapped[dt.datetime | None]
    interfaces: Mapped[list[NetworkInterface]] = relationship(  # the intranet's first, for it has the same time
        order_by="[NetworkInterface.created_at, NetworkInterface.nic_type.desc()]"
    )
    disks: Mapped[list[Disk]] = relationship(back_populates="instance", order_by="Disk.device")


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
