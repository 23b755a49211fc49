"""Disks, the layers they are made of, and their snapshots."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, Index, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from agent.store.schema.base import Base

if TYPE_CHECKING:
    from agent.store.schema.compute import Instance


class Layer(Base):
    """One qcow2 file of a tree (its rules: agent/jobs/layers). `id` is its name; `tree` the id of the tree's root.

    `parent_id`: the layer it is an overlay on; a root may be one on an image's file instead. `state`: creating |
    taking (a disk is to write to it once its snapshot is taken) | ready | merging (its only child is being written
    into it: its own content is lost). A layer is kept while a disk, a snapshot or more than one child needs it.
    """

    __tablename__ = "layers"
    id: Mapped[str] = mapped_column(primary_key=True)
    tree: Mapped[str] = mapped_column(index=True)
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("layers.id"), index=True)
    image_file: Mapped[str | None] = mapped_column(index=True)
    size_gib: Mapped[int]
    state: Mapped[str]
    created_at: Mapped[dt.datetime]


class AutoSnapshotPolicy(Base):
    """When snapshots are taken of its disks by themselves (SPEC S5).

    `hours` 0-23 and `weekdays` 1 (Monday) - 7 are read in `time_zone`, None: the region's; `retention_days` -1: for
    ever. `last_hour`: hours that began until then were honoured, or are not to be.
    """

    __tablename__ = "auto_snapshot_policies"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str] = mapped_column(default="")
    hours: Mapped[list[int]]
    weekdays: Mapped[list[int]]
    retention_days: Mapped[int]
    time_zone: Mapped[str | None]
    last_hour: Mapped[dt.datetime | None]
    created_at: Mapped[dt.datetime]


class Disk(Base):
    """`layer_id` is the layer that is written to. `image_file` or `source_snapshot_id` name what the disk is made of
    and can be initialised to again (SPEC D6); with `image_id` only as long as that image can be used.

    `auto_snapshot_hour`: the beginning of the hour its policy was last heeded for; `auto_snapshot_skipped`: why no
    snapshot was taken then, None: one was."""

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
    status: Mapped[str]  # Creating | Available | In_use | Attaching | Detaching | ReIniting
    # Every disk has one; SQLite can add a reference only to a column that may be empty.
    layer_id: Mapped[str] = mapped_column(ForeignKey("layers.id"), index=True, unique=True, nullable=True)
    image_id: Mapped[str | None]
    image_file: Mapped[str | None] = mapped_column(index=True)
    source_snapshot_id: Mapped[str | None] = mapped_column(index=True)  # which may be gone
    auto_snapshot_policy_id: Mapped[str | None] = mapped_column(ForeignKey("auto_snapshot_policies.id"), index=True)
    auto_snapshot_hour: Mapped[dt.datetime | None]
    auto_snapshot_skipped: Mapped[str | None]
    delete_with_instance: Mapped[bool] = mapped_column(default=True)
    delete_auto_snapshot: Mapped[bool] = mapped_column(default=True)
    enable_auto_snapshot: Mapped[bool] = mapped_column(default=True, server_default=true())  # a policy works on it
    created_at: Mapped[dt.datetime]
    attached_at: Mapped[dt.datetime | None]
    detached_at: Mapped[dt.datetime | None]
    instance: Mapped[Instance | None] = relationship(back_populates="disks")
    layer: Mapped[Layer] = relationship()


class Snapshot(Base):
    """A disk as it was (SPEC S1). `disk_id` may be of a disk that is gone, as may `image_id`, its image.

    `layer_id` None: not taken (yet). `kind`: user | auto. `expires_at`, only of automatic ones: None: never. `system`:
    columns of Image that say what is on a system disk, for an image made of it; None: of a time without images.
    """

    __tablename__ = "snapshots"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    disk_id: Mapped[str] = mapped_column(index=True)
    layer_id: Mapped[str | None] = mapped_column(ForeignKey("layers.id"), unique=True)
    name: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    kind: Mapped[str]
    policy_id: Mapped[str | None]  # which may be gone
    status: Mapped[str]  # progressing | accomplished | failed
    message: Mapped[str] = mapped_column(default="")  # why it failed
    progress: Mapped[int] = mapped_column(default=0)  # percent
    consistency: Mapped[str] = mapped_column(default="crash")  # crash | filesystem
    size_gib: Mapped[int]  # of the disk then
    disk_kind: Mapped[str]  # system | data
    category: Mapped[str]
    image_id: Mapped[str | None]
    system: Mapped[dict[str, Any] | None]
    retention_days: Mapped[int | None]
    expires_at: Mapped[dt.datetime | None] = mapped_column(index=True)
    created_at: Mapped[dt.datetime]
    finished_at: Mapped[dt.datetime | None]
    layer: Mapped[Layer | None] = relationship()


class DiskSample(Base):
    """What a disk did in the `period` seconds from `start` on (SPEC D11): requests, bytes, and their microseconds.

    `seconds`: how long it was watched. Rates are per these, for a period may be known in part only.
    """

    __tablename__ = "disk_samples"
    disk_id: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[int] = mapped_column(primary_key=True)
    start: Mapped[dt.datetime] = mapped_column(primary_key=True)
    seconds: Mapped[int]
    reads: Mapped[int]
    writes: Mapped[int]
    bytes_read: Mapped[int]
    bytes_written: Mapped[int]
    read_us: Mapped[int]
    write_us: Mapped[int]
    __table_args__ = (Index("ix_disk_samples_age", "period", "start"), {"sqlite_with_rowid": False})
