"""Images, whom they are shared with, and the buckets that files come from and go to."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from agent.store.schema.base import Base
from agent.store.schema.storage import Snapshot


class Image(Base):
    """What instances are made from (SPEC section 5). `account_id` None: a public image.

    `status`: Creating | Waiting | Available | UnAvailable | CreateFailed | Deprecated. `origin`: catalogue | snapshot |
    instance | import | copy. `setup`, how an instance gets its name, keys and password: seed (cloud-init, or what
    understands its seed) | edit (files in its system disk are changed) | none (its owner does it by the console).
    """

    __tablename__ = "images"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    family: Mapped[str] = mapped_column(default="", server_default="")
    version: Mapped[str] = mapped_column(default="", server_default="")
    status: Mapped[str]
    message: Mapped[str] = mapped_column(default="", server_default="")  # why it failed
    origin: Mapped[str] = mapped_column(default="catalogue", server_default="catalogue")
    source_id: Mapped[str] = mapped_column(default="", server_default="")  # an instance, an image elsewhere, a checksum
    os_type: Mapped[str]
    os_name: Mapped[str]
    platform: Mapped[str]
    architecture: Mapped[str]
    size_gib: Mapped[int]
    virtio: Mapped[bool] = mapped_column(default=True)  # the guest has drivers for virtio disks and network
    setup: Mapped[str] = mapped_column(default="seed", server_default="seed")
    default_user: Mapped[str] = mapped_column(default="root", server_default="root")
    created_at: Mapped[dt.datetime]
    disks: Mapped[list[ImageDisk]] = relationship(order_by="ImageDisk.device", cascade="all, delete-orphan")

    @property
    def system(self) -> ImageDisk | None:
        """What system disks are made of; None while there is nothing yet."""
        return next((disk for disk in self.disks if disk.kind == "system"), None)

    @property
    def data(self) -> list[ImageDisk]:
        """The data disks that instances get, too, by device."""
        return [disk for disk in self.disks if disk.kind == "data"]


class ImageDisk(Base):
    """One disk of an image. Its content is that of a snapshot, or of a file (storage's image id), or it is empty.

    A snapshot is kept while an image has it. `format`: qcow2, or iso: an empty system disk and an ISO to install from.
    """

    __tablename__ = "image_disks"
    image_id: Mapped[str] = mapped_column(ForeignKey("images.id"), primary_key=True)
    device: Mapped[str] = mapped_column(primary_key=True)  # /dev/xvda
    kind: Mapped[str]  # system | data
    size_gib: Mapped[int]
    snapshot_id: Mapped[str | None] = mapped_column(ForeignKey("snapshots.id"), index=True)
    file: Mapped[str | None] = mapped_column(index=True)
    format: Mapped[str] = mapped_column(default="qcow2")
    import_format: Mapped[str] = mapped_column(default="")  # as it came
    import_bucket: Mapped[str] = mapped_column(default="")
    import_object: Mapped[str] = mapped_column(default="")
    snapshot: Mapped[Snapshot | None] = relationship()

    @property
    def iso_file(self) -> str | None:
        """The ISO that instances get in their drive."""
        return self.file if self.format == "iso" else None


class ImageShare(Base):
    """An account that may use another one's image (SPEC M6)."""

    __tablename__ = "image_shares"
    image_id: Mapped[str] = mapped_column(ForeignKey("images.id"), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True, index=True)
    shared_at: Mapped[dt.datetime]


class Bucket(Base):
    """A directory of the host that files are imported from and exported to; its files are its objects."""

    __tablename__ = "buckets"
    name: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    created_at: Mapped[dt.datetime]


class Upload(Base):
    """An object that is being sent in pieces; how much of it is there, its file says."""

    __tablename__ = "uploads"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    bucket: Mapped[str]
    object: Mapped[str]
    size_bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(default="")  # hex, if the sender said it
    created_at: Mapped[dt.datetime]
    touched_at: Mapped[dt.datetime] = mapped_column(index=True)
