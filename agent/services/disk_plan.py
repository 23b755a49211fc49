"""Disks that are to be made, alone or with an instance: what is wanted is checked, then written (SPEC D1)."""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from agent.core import disk_categories, states, validate
from agent.core.errors import Conflict, InvalidParameter, MissingParameter, QuotaExceeded
from agent.core.ids import new_id
from agent.jobs.layers import tree
from agent.services import quota
from agent.services import snapshot as snapshots
from agent.services.context import Caller
from agent.store.schema import Disk, ImageDisk, Instance, Snapshot

CLOUD = "cloud"
_DEVICE = re.compile(r"/dev/xvd[b-z]\Z")


@dataclass(frozen=True)
class Wanted:
    """A data disk; without a size it has that of its snapshot, or of the image's disk that it is made of."""

    category: str = CLOUD
    size_gib: int | None = None
    snapshot_id: str = ""
    name: str = ""
    description: str = ""
    device: str = ""  # empty: the first free one
    delete_with_instance: bool = False


@dataclass(frozen=True)
class Plan:
    """A wanted disk that can be made: of a snapshot, of an image's disk, or empty."""

    wanted: Wanted
    size_gib: int
    snapshot: Snapshot | None
    image_disk: ImageDisk | None = None


@dataclass(frozen=True)
class Names:
    """How parameters are called, and what codes they have, in the action that is asked for."""

    prefix: str = ""  # of parameters: `DataDisk.1.`
    category: str = "DiskCategory"
    code: str = "Disk"  # in `Invalid…Category.ValueNotSupported`

    def parameter(self, name: str) -> str:
        return self.prefix + (self.category if name == "Category" else name)


def of_list(number: int) -> Names:
    """For the `number`th DataDisk of an instance."""
    return Names(f"DataDisk.{number}.", "Category", "DataDisk")


def plan(caller: Caller, wanted: Wanted, names: Names, image_disk: ImageDisk | None = None) -> Plan:
    """A snapshot that is asked for comes before what the image has. Raises the public error of the first thing that is
    wrong with the disk alone."""
    if wanted.name:
        validate.name(names.parameter("DiskName"), wanted.name, code="InvalidDiskName.Malformed")
    validate.description(names.parameter("Description"), wanted.description, code="InvalidDiskDescription.Malformed")
    if wanted.category not in disk_categories.SIZES_GIB:
        raise InvalidParameter(
            names.parameter("Category"),
            wanted.category,
            f"it must be one of {', '.join(disk_categories.SIZES_GIB)}.",
            code=f"Invalid{names.code}Category.ValueNotSupported",
        )
    snapshot = usable_snapshot(caller, wanted.snapshot_id) if wanted.snapshot_id else None
    source = snapshot or image_disk
    return Plan(wanted, _size(caller, wanted, source, names), snapshot, None if snapshot else image_disk)


def usable_snapshot(caller: Caller, snapshot_id: str, code: str = "IncorrectSnapshotStatus") -> Snapshot:
    """A snapshot of the caller's that has content; raises NotFound, or Conflict with `code`."""
    snapshot = snapshots.get_snapshot(caller, snapshot_id)
    if snapshot.status != "accomplished" or snapshot.layer is None:
        raise Conflict(f'The snapshot "{snapshot_id}" is {snapshot.status}: it must be accomplished.', code=code)
    return snapshot


def sizes(caller: Caller, category: str) -> tuple[int, int]:
    """(smallest, largest) data disk of a category on this host, in GiB."""
    low, high = disk_categories.SIZES_GIB.get(category, disk_categories.SIZES_GIB["cloud_ssd"])
    low = caller.services.config.minimum_disk_gib.get(category, low)
    return low, max(low, high)


def _size(caller: Caller, wanted: Wanted, source: Snapshot | ImageDisk | None, names: Names) -> int:
    low, high = sizes(caller, wanted.category)
    parameter = names.parameter("Size")
    if wanted.size_gib is None:
        if source is None:
            raise MissingParameter(parameter)
        return _within(parameter, max(low, source.size_gib), low, high, wanted.category, names)
    _within(parameter, wanted.size_gib, low, high, wanted.category, names)
    if source and wanted.size_gib < source.size_gib:
        what = f"snapshot {source.id}" if isinstance(source, Snapshot) else f"disk {source.device} of the image"
        raise InvalidParameter(
            parameter,
            wanted.size_gib,
            f"the {what} has {source.size_gib} GiB, a disk made of it not less.",
            code="InvalidDiskSize.TooSmall",
        )
    return wanted.size_gib


def _within(parameter: str, size: int, low: int, high: int, category: str, names: Names) -> int:
    if not low <= size <= high:
        raise InvalidParameter(
            parameter,
            size,
            f"{low}-{high} GiB are possible with the category {category}.",
            code=f"Invalid{names.code}Size.ValueNotSupported",
        )
    return size


# ------------------------------------------------------------------------------ quotas


def check_account(caller: Caller, categories: Sequence[str]) -> None:
    """Raises QuotaExceeded when the account may not have disks of these categories more."""
    mine = select(func.count()).select_from(Disk).where(Disk.account_id == caller.account_id)
    quota.check(caller, "disks", caller.session.scalar(mine) or 0, len(categories))
    cloud = mine.where(Disk.category.not_like("ephemeral%"))
    asked = sum(disk_categories.is_cloud(category) for category in categories)
    quota.check(caller, "cloud_disks", caller.session.scalar(cloud) or 0, asked)


def check_instance(
    caller: Caller, where: str, system: str, there: Sequence[tuple[str, int]], more: Sequence[tuple[str, int]]
) -> None:
    """Whether an instance with a system disk of the category `system` and the data disks `there` may have `more`: pairs
    of category and GiB. Raises Conflict or QuotaExceeded; `where` names the instance in it."""
    both = [*there, *more]
    for category, _ in more:
        if disk_categories.is_cloud(system) and not disk_categories.is_cloud(category):
            raise Conflict(
                f'The category "{category}" does not go with the system disk, which is {system}: all its data disks '
                "are cloud disks then.",
                code="InvalidDataDiskCategory.NotSupported",
            )
    quota.check(caller, "data_disks_per_instance", len(there), len(more), of=where)
    size = sum(gib for _, gib in there)
    quota.check(caller, "data_disk_gib_per_instance", size, sum(gib for _, gib in more), of=where)
    for category, most in disk_categories.SUMS_GIB.items():
        total = sum(gib for name, gib in both if name == category)
        if total > most:
            raise QuotaExceeded(
                f"{total} GiB of {category} data disks were asked for; an instance may have {most} GiB.",
                code="InstanceDiskLimitExceeded",
            )


# ------------------------------------------------------------------------------ devices


def device(parameter: str, asked: str, taken: Collection[str | None]) -> str:
    """The device that was asked for, or the first free one of /dev/xvdb … /dev/xvdz. Raises InvalidParameter."""
    if asked:
        if not _DEVICE.match(asked):
            raise InvalidParameter(
                parameter, asked, "it must be one of /dev/xvdb … /dev/xvdz.", code="InvalidDevice.Malformed"
            )
        if asked in taken:
            raise InvalidParameter(parameter, asked, "another disk has it.", code="InvalidDevice.InUse")
        return asked
    free = (name for letter in string.ascii_lowercase[1:] if (name := f"/dev/xvd{letter}") not in taken)
    found = next(free, None)
    if found is None:
        raise QuotaExceeded("The instance has no free device left for one more disk.", code="InstanceDiskLimitExceeded")
    return found


# ------------------------------------------------------------------------------ writing


def add(caller: Caller, made: Plan, zone_id: str, instance: Instance | None = None, device: str | None = None) -> Disk:
    """The row of a planned data disk, in state Creating, with its first layer; a job makes the file."""
    session, now, disk_id, of = caller.session, caller.services.clock.now(), new_id("disk"), made.image_disk
    if of is not None:
        layer = tree.from_image(session, disk_id, made.size_gib, now, of)
    elif made.snapshot is not None and made.snapshot.layer is not None:
        layer = tree.new_child(session, disk_id, made.size_gib, now, made.snapshot.layer)
    else:
        layer = tree.new_root(session, disk_id, made.size_gib, now)
    disk = Disk(
        id=disk_id,
        layer_id=layer.id,
        account_id=caller.account_id,
        instance_id=instance.id if instance else None,
        zone_id=zone_id,
        name=made.wanted.name,
        description=made.wanted.description,
        kind="data",
        category=made.wanted.category,
        size_gib=made.size_gib,
        device=device,
        status=states.CREATING,
        image_id=of.image_id if of else None,
        image_file=layer.image_file,
        source_snapshot_id=made.snapshot.id if made.snapshot else of.snapshot_id if of else None,
        delete_with_instance=made.wanted.delete_with_instance,
        created_at=now,
        attached_at=now if instance else None,
    )
    session.add(disk)
    session.flush()
    return disk
