"""The disks that an instance is created with (SPEC I1): one system disk, and data disks in the order they are given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from agent.core import disk_categories, validate
from agent.core.errors import InvalidParameter
from agent.core.ids import new_id
from agent.jobs.layers import tree
from agent.services import disk_plan
from agent.services import image as images
from agent.services.context import Caller
from agent.services.disk_plan import Plan, Wanted
from agent.store.schema import Disk, Image, ImageDisk, Instance

CATEGORIES = (*disk_categories.SIZES_GIB, "cloud_essd")
SYSTEM_DEVICE = "/dev/xvda"


@dataclass(frozen=True)
class SystemDisk:
    category: str = "cloud_efficiency"
    size_gib: int | None = None
    name: str = ""
    description: str = ""


def check_system(disk: SystemDisk) -> None:
    """Raises InvalidParameter for what is wrong with it whatever its image."""
    if disk.category not in CATEGORIES:
        raise InvalidParameter(
            "SystemDisk.Category",
            disk.category,
            f"it must be one of {', '.join(CATEGORIES)}.",
            code="InvalidSystemDiskCategory.ValueNotSupported",
        )
    if disk.name:
        validate.name("SystemDisk.DiskName", disk.name, code="InvalidDiskName.Malformed")
    validate.description("SystemDisk.Description", disk.description, code="InvalidDiskDescription.Malformed")


def system_size(caller: Caller, disk: SystemDisk, image: Image) -> int:
    """In GiB: as asked for, or the smallest that is possible. Raises InvalidParameter."""
    low, high = disk_categories.SYSTEM_SIZES_GIB[image.os_type]
    low = max(image.size_gib, caller.services.config.minimum_disk_gib.get("system", low))
    size = disk.size_gib or low
    if not low <= size <= max(high, low):
        too_large = size > high
        raise InvalidParameter(
            "SystemDisk.Size",
            size,
            f"{low}-{high} GiB are possible with the image {image.id}.",
            code=f"InvalidSystemDiskSize.{'ValueNotSupported' if too_large else 'LessThanImageSize'}",
        )
    return size


def plan_data(caller: Caller, system: SystemDisk, wanted: Sequence[Wanted], image: Image) -> list[Plan]:
    """The data disks with every choice made, those of the image among them (SPEC M4). Raises the public error of the
    first thing that is wrong."""
    taken = {SYSTEM_DEVICE}
    plans = []
    for number, (one, of_image) in enumerate(_with_image(wanted, image.data), 1):
        names = disk_plan.of_list(number)
        if not disk_categories.is_cloud(one.category) and not one.delete_with_instance:
            raise InvalidParameter(
                names.parameter("DeleteWithInstance"), "false", f"{one.category} disks always go with their instance."
            )
        plans.append(disk_plan.plan(caller, one, names, of_image))
        if one.device:  # those that are asked for come before those that are chosen
            taken.add(disk_plan.device(names.parameter("Device"), one.device, taken))
    sizes = [(made.wanted.category, made.size_gib) for made in plans]
    disk_plan.check_instance(caller, "", system.category, [], sizes)
    return [_with_device(made, taken) for made in plans]


def _with_image(wanted: Sequence[Wanted], of_image: Sequence[ImageDisk]) -> Iterator[tuple[Wanted, ImageDisk | None]]:
    """What is wanted, with the image's disk that it describes: the one of its device, or else the next one that nobody
    names, unless it is to be made of a snapshot. Then the image's disks that nobody describes."""
    by_device = {disk.device: disk for disk in of_image}
    named = {one.device for one in wanted}
    unnamed = iter([disk for disk in of_image if disk.device not in named])
    for one in wanted:
        disk = by_device.get(one.device)
        if not one.device and not one.snapshot_id:
            disk = next(unnamed, None)
        yield (one if disk is None else replace(one, device=disk.device)), disk
    for disk in unnamed:
        yield Wanted(_category(disk), device=disk.device, delete_with_instance=True), disk


def _category(disk: ImageDisk) -> str:
    """Of a disk that is made unasked: the smallest that holds it."""
    return disk_plan.CLOUD if disk.size_gib <= disk_categories.SIZES_GIB[disk_plan.CLOUD][1] else "cloud_efficiency"


def _with_device(made: Plan, taken: set[str]) -> Plan:
    if made.wanted.device:
        return made
    chosen = disk_plan.device("Device", "", taken)
    taken.add(chosen)
    return replace(made, wanted=replace(made.wanted, device=chosen))


def add(
    caller: Caller, instance: Instance, system: SystemDisk, image: Image, size_gib: int, data: Sequence[Plan]
) -> None:
    """The rows of all disks of a new instance, in state Creating; its creation makes their files."""
    caller.session.add(_system(caller, instance, system, image, size_gib))
    for one in data:
        disk_plan.add(caller, one, instance.zone_id, instance, one.wanted.device)


def _system(caller: Caller, instance: Instance, wanted: SystemDisk, image: Image, size_gib: int) -> Disk:
    now, disk_id = caller.services.clock.now(), new_id("disk")
    layer = tree.from_image(caller.session, disk_id, size_gib, now, images.system_of(image))
    return Disk(
        id=disk_id,
        layer_id=layer.id,
        account_id=caller.account_id,
        instance_id=instance.id,
        zone_id=instance.zone_id,
        name=wanted.name,
        description=wanted.description,
        kind="system",
        category=wanted.category,
        size_gib=size_gib,
        device=SYSTEM_DEVICE,
        status="Creating",
        image_id=image.id,
        image_file=layer.image_file,
        source_snapshot_id=images.system_of(image).snapshot_id,
        delete_with_instance=True,
        delete_auto_snapshot=True,
        created_at=now,
        attached_at=now,
    )
