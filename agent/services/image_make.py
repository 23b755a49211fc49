"""Images made on this host: of an instance with all its disks, or of snapshots (SPEC M2, M3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.core import disk_categories, validate
from agent.core.errors import Conflict, InvalidParameter, MissingParameter
from agent.core.ids import new_id
from agent.jobs import journal
from agent.jobs import snapshots as taken
from agent.jobs.kinds.image_check import begin_check
from agent.jobs.kinds.image_create import CREATE
from agent.services import disk_plan, quota, tag
from agent.services import image as images
from agent.services import instance as instances
from agent.services import snapshot as snapshots
from agent.services.context import Caller
from agent.services.instance_disks import SYSTEM_DEVICE
from agent.store.schema import Image, ImageDisk, Snapshot

SYSTEM, DATA = "system", "data"
EMPTY_DISK_GIB = 5
LARGEST_DATA_DISK_GIB = 2000
PLATFORMS = {
    "linux": (
        *("Aliyun", "AlmaLinux", "Anolis", "CentOS", "CentOS Stream", "CoreOS", "Customized Linux", "Debian", "Fedora"),
        *("Fedora CoreOS", "FreeBSD", "Gentoo", "OpenSUSE", "Others Linux", "RedHat", "Rocky Linux", "SUSE", "Ubuntu"),
    ),
    "windows": tuple(f"Windows Server {year}" for year in (2003, 2008, 2012, 2016, 2019, 2022, 2025)),
}


@dataclass(frozen=True)
class Mapping:
    """A disk of the image: what a snapshot holds, or without one an empty data disk. Empty: the system chooses."""

    snapshot_id: str = ""
    kind: str = ""  # system | data
    device: str = ""
    size_gib: int | None = None


@dataclass(frozen=True)
class Request:
    """What CreateImage asks for. `instance_id` comes before `mappings`, these before `snapshot_id`. `check`:
    look into the image when it is there."""

    instance_id: str = ""
    snapshot_id: str = ""
    mappings: Sequence[Mapping] = ()
    name: str = ""
    description: str = ""
    family: str = ""
    version: str = ""
    platform: str = ""
    architecture: str = ""
    check: bool = False
    tags: Sequence[tag.TagPair] = ()


def create(caller: Caller, request: Request) -> Image:
    """The image; Creating until the job that is journalled has ended if it is of an instance, else Available at once.

    Raises the public error of the first thing that is wrong; nothing is written then.
    """
    image_id = new_id("image")
    if request.name:
        images.check_new_name(caller, request.name)
    check_texts(request.description, request.family, request.version)
    if request.instance_id:
        disks = _of_instance(caller, request.instance_id, image_id)
    elif request.mappings or request.snapshot_id:
        disks = _of_snapshots(caller, request)
    else:
        raise MissingParameter("SnapshotId or InstanceId or DiskDeviceMapping")
    image = _add(caller, request, image_id, disks)
    if request.instance_id:
        journal.enqueue(
            caller.session,
            CREATE,
            image.id,
            caller.services.clock.now(),
            account_id=caller.account_id,
            request_id=caller.request_id,
            data={"check": request.check},
        )
    elif request.check:
        begin_check(caller.session, image, caller.services.clock.now())
    return image


def check_texts(description: str, family: str, version: str) -> None:
    """Raises InvalidParameter for a description, family or version that cannot be one; empty ones are none."""
    validate.description("Description", description)
    if family:
        validate.name("ImageFamily", family, code="InvalidImageFamily.Malformed")
    if len(version) > 40 or not version.isprintable():
        raise InvalidParameter(
            "ImageVersion", version[:40], "up to 40 characters.", code="InvalidImageVersion.Malformed"
        )


# ------------------------------------------------------------------------------ of an instance


def _of_instance(caller: Caller, instance_id: str, image_id: str) -> list[ImageDisk]:
    """A new snapshot of each disk, which stay when the image is deleted, and are deleted should it fail."""
    instance = instances.get_for(caller, instance_id, "create_image")
    made = []
    for disk in instance.disks:
        snapshot = snapshots.create_snapshot(caller, disk_id=disk.id, name=f"of-image-{image_id}")
        made.append(_disk(disk.device or SYSTEM_DEVICE, disk.kind, snapshot.size_gib, snapshot))
    return made


# ------------------------------------------------------------------------------ of snapshots


def _of_snapshots(caller: Caller, request: Request) -> list[ImageDisk]:
    found = [(one, _snapshot(caller, one.snapshot_id)) for one in request.mappings]
    if request.snapshot_id and not any(_is_system(one, snapshot) for one, snapshot in found):
        found.insert(0, (Mapping(kind=SYSTEM), _snapshot(caller, request.snapshot_id)))
    system = [pair for pair in found if _is_system(*pair)]
    if len(system) != 1:
        what = "no" if not system else "more than one"
        raise Conflict(f"There is {what} snapshot of a system disk: an image has one.", code="OperationDenied")
    rest = [pair for pair in found if pair is not system[0]]
    quota.check(caller, "data_disks_per_instance", 0, len(rest))
    return [_system_disk(*system[0]), *_data_disks(rest)]


def _snapshot(caller: Caller, snapshot_id: str) -> Snapshot | None:
    """One that has content; None for an empty disk."""
    return disk_plan.usable_snapshot(caller, snapshot_id, "InvalidSnapshotId.NotReady") if snapshot_id else None


def _is_system(wanted: Mapping, snapshot: Snapshot | None) -> bool:
    """A system disk's snapshot may become a data disk, if that is said."""
    if wanted.kind:
        return wanted.kind == SYSTEM
    return snapshot is not None and snapshot.disk_kind == SYSTEM


def _system_disk(wanted: Mapping, snapshot: Snapshot | None) -> ImageDisk:
    if snapshot is None or snapshot.disk_kind != SYSTEM:
        what = f'The snapshot "{snapshot.id}" is of a data disk' if snapshot else "There is no snapshot"
        raise Conflict(f"{what}: a system disk is made of the snapshot of one.", code="OperationDenied")
    if wanted.device not in ("", SYSTEM_DEVICE):
        why = f"a system disk is {SYSTEM_DEVICE}."
        raise InvalidParameter("DiskDeviceMapping.Device", wanted.device, why, code="InvalidDevice.Malformed")
    os_type = "windows" if (snapshot.system or {}).get("os_type") == "windows" else "linux"
    size_gib = _size(wanted, snapshot, disk_categories.SYSTEM_SIZES_GIB[os_type][1])
    return _disk(SYSTEM_DEVICE, SYSTEM, size_gib, snapshot)


def _data_disks(wanted: Sequence[tuple[Mapping, Snapshot | None]]) -> list[ImageDisk]:
    """Those that ask for a device come before those that get one."""
    used, devices = {SYSTEM_DEVICE}, dict[int, str]()
    for named in (True, False):
        for number, (one, _) in enumerate(wanted):
            if bool(one.device) is named:
                devices[number] = disk_plan.device("DiskDeviceMapping.Device", one.device, used)
                used.add(devices[number])
    return [
        _disk(devices[number], DATA, _size(one, snapshot, LARGEST_DATA_DISK_GIB), snapshot)
        for number, (one, snapshot) in enumerate(wanted)
    ]


def _size(wanted: Mapping, snapshot: Snapshot | None, largest: int) -> int:
    smallest = snapshot.size_gib if snapshot else EMPTY_DISK_GIB
    largest = max(largest, smallest)
    size = smallest if wanted.size_gib is None else wanted.size_gib
    if not smallest <= size <= largest:
        raise InvalidParameter(
            "DiskDeviceMapping.Size",
            size,
            f"{smallest}-{largest} GiB are possible{f' with the snapshot {snapshot.id}' if snapshot else ''}.",
            code="InvalidSize.ValueNotSupported",
        )
    return size


# ------------------------------------------------------------------------------ writing


def _disk(device: str, kind: str, size_gib: int, snapshot: Snapshot | None) -> ImageDisk:
    snapshot_id = snapshot.id if snapshot else None
    return ImageDisk(device=device, kind=kind, size_gib=size_gib, snapshot_id=snapshot_id, snapshot=snapshot)


def _add(caller: Caller, request: Request, image_id: str, disks: list[ImageDisk]) -> Image:
    disk = next(disk for disk in disks if disk.kind == SYSTEM)
    system = disk.snapshot
    assert system is not None
    image = Image(
        id=image_id,
        account_id=caller.account_id,
        name=request.name or image_id,
        description=request.description,
        family=request.family,
        version=request.version,
        status=images.CREATING if request.instance_id else images.AVAILABLE,
        origin=images.INSTANCE if request.instance_id else images.SNAPSHOT,
        source_id=request.instance_id or system.id,
        size_gib=disk.size_gib,
        created_at=caller.services.clock.now(),
        disks=disks,
        **_told(caller, request, system),
    )
    caller.session.add(image)
    caller.session.flush()
    tag.set_tags(caller, "image", image_id, list(request.tags))
    return image


def _told(caller: Caller, request: Request, snapshot: Snapshot) -> dict[str, Any]:
    """What is on the snapshot's disk, and what the caller knows better: platform and architecture."""
    facts = dict(snapshot.system or taken.system_of(caller.session, snapshot.image_id))
    if request.platform:
        allowed = PLATFORMS[facts["os_type"]]
        if request.platform not in allowed:
            why = f"it must be one of {', '.join(allowed)}."
            raise InvalidParameter("Platform", request.platform, why, code="InvalidPlatform.ValueNotSupported")
        facts["platform"] = request.platform
    if request.architecture:
        facts["architecture"] = request.architecture
    return facts
