"""Importing images (SPEC M7): from objects of buckets, or from files that callers handed over.

The image is there at once, Creating; a job looks into the files, which are strangers', converts them to our own and
makes the image usable. What it may be is checked here as far as that is known without its content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent.core import disk_categories, ids, validate
from agent.core.errors import InvalidParameter, MissingParameter
from agent.core.ids import random_word
from agent.core.specs import IMAGE_FORMATS
from agent.jobs import journal
from agent.services import bucket as buckets
from agent.services import disk_plan, handed_file, image, quota, space, tag
from agent.services.context import Caller
from agent.store.schema import Image, Job

LINUX, WINDOWS = "linux", "windows"
CUSTOMIZED, OTHERS = "Customized Linux", "Others Linux"
SYSTEM_DEVICE = "/dev/xvda"
SEED, EDIT, NONE = "seed", "edit", "none"
SETUPS = (SEED, EDIT, NONE)
ISO = "iso"  # no disk's content, but what instances install a system from on an empty system disk
ARCHITECTURES = ("x86_64", "i386")
PLATFORMS: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            "CentOS",
            "Ubuntu",
            "SUSE",
            "OpenSUSE",
            "Debian",
            "CoreOS",
            "FreeBSD",
            "RedHat",
            "Fedora",
            "AlmaLinux",
            "Rocky Linux",
            "Aliyun",
            "Anolis",
            "Gentoo",
            "Alpine",
            CUSTOMIZED,
            OTHERS,
        ),
        LINUX,
    ),
    **dict.fromkeys((f"Windows Server {year}" for year in (2003, 2008, 2012, 2016, 2019, 2022, 2025)), WINDOWS),
    "Other Windows": WINDOWS,
}
# `vpc` is what VHD is called where it comes from.
_FORMATS = {**{name: name for name in IMAGE_FORMATS}, "vpc": "vhd", ISO: ISO, "": ""}


@dataclass(frozen=True)
class Source:
    """Where a disk's content is: an object (`object` alone may be its whole address), or a file's handle."""

    bucket: str = ""
    object: str = ""
    handle: str = ""


@dataclass(frozen=True)
class Wanted:
    """A disk of the image. `size_gib` None: that of its content, or the smallest there may be."""

    source: Source
    format: str = ""
    size_gib: int | None = None
    device: str = ""


@dataclass(frozen=True)
class Request:
    """What ImportImage asks for. `virtio` and `setup` None: as is usual for the platform. `check`: look into the image
    when it is there."""

    disks: Sequence[Wanted]
    name: str = ""
    description: str = ""
    os_type: str = ""
    platform: str = ""
    architecture: str = "x86_64"
    virtio: bool | None = None
    setup: str | None = None
    check: bool = False
    tags: Sequence[tuple[str, str]] = field(default=())


def begin(caller: Caller, request: Request, *, kind: str = "image.import") -> tuple[Image, Job]:
    """The image that is to be, and the job that makes it; `kind` is one that does as image.import does.

    Raises the public error of the first thing that is wrong. Whoever needs more of the image's columns than an import
    says changes them in the same transaction.
    """
    os_type, platform = _system(request.os_type, request.platform)
    _check_texts(caller, request)
    if not request.disks:
        raise MissingParameter("DiskDeviceMapping.1.OSSObject")
    quota.check(caller, "data_disks_per_instance", 0, len(request.disks) - 1)
    disks = _plan(caller, request, os_type)
    space.check(caller, 0, "import an image")  # how much it takes, its content says
    made = _row(caller, request, os_type, platform, disks[0]["size_gib"])
    if disks[0]["iso"] and request.setup is None:
        made.setup = NONE  # nobody knows yet what will be installed
    for disk in disks:
        disk["file"] = f"{made.id}-{random_word(8)}"
    job = journal.enqueue(
        caller.session,
        kind,
        made.id,
        caller.services.clock.now(),
        account_id=caller.account_id,
        request_id=caller.request_id,
        data={"disks": disks, "check": request.check and not disks[0]["iso"]},
    )
    return made, job


def _system(os_type: str, platform: str) -> tuple[str, str]:
    """Operating system and platform, as they are spelt; each follows from the other where it is not said."""
    known = {name.lower(): name for name in PLATFORMS}
    if not platform:
        os_type = os_type or LINUX
        return os_type, OTHERS if os_type == LINUX else "Other Windows"
    found = known.get(platform.lower())
    if found is None:
        why = f"it must be one of {', '.join(PLATFORMS)}."
        raise InvalidParameter("Platform", platform, why, code="InvalidPlatform.ValueNotSupported")
    if os_type and PLATFORMS[found] != os_type:
        why = f"it is no {os_type}, which OSType says."
        raise InvalidParameter("Platform", platform, why, code="InvalidPlatform.ValueNotSupported")
    return PLATFORMS[found], found


def _check_texts(caller: Caller, request: Request) -> None:
    if request.name:
        image.check_new_name(caller, request.name)
    validate.description("Description", request.description)
    if request.architecture not in ARCHITECTURES:
        why = f"it must be one of {', '.join(ARCHITECTURES)}."
        raise InvalidParameter("Architecture", request.architecture, why, code="InvalidArchitecture.ValueNotSupported")
    if request.setup is not None and request.setup not in SETUPS:
        raise InvalidParameter("Setup", request.setup, f"it must be one of {', '.join(SETUPS)}.")


# ------------------------------------------------------------------------------ disks


def _plan(caller: Caller, request: Request, os_type: str) -> list[dict[str, Any]]:
    """What the job is to do for each disk, the system disk first."""
    taken = {SYSTEM_DEVICE}
    planned = []
    for number, wanted in enumerate(request.disks, 1):
        name = f"{'Disk' if wanted.source.handle else 'DiskDeviceMapping'}.{number}."
        system = number == 1
        if system and wanted.device not in ("", SYSTEM_DEVICE):
            why = f"the first disk is the system disk, {SYSTEM_DEVICE}."
            raise InvalidParameter(f"{name}Device", wanted.device, why, code="InvalidDevice.Malformed")
        device = SYSTEM_DEVICE if system else disk_plan.device(f"{name}Device", wanted.device, taken)
        taken.add(device)
        low, high = sizes(caller, os_type if system else "")
        _check_size(f"{name}DiskImageSize", wanted.size_gib, low, high)
        found = format_of(f"{name}Format", wanted.format, iso=True)
        if found == ISO and len(request.disks) > 1:
            why = "an image with an ISO has no other disk."
            raise InvalidParameter(f"{name}Format", wanted.format, why, code="InvalidFormat.ValueNotSupported")
        planned.append(
            {
                "device": device,
                "kind": "system" if system else "data",
                "format": "raw" if found == ISO else found,
                "iso": found == ISO,
                "size_gib": wanted.size_gib or low,
                "exact": wanted.size_gib is not None,
                "largest_gib": high,
                **located(caller, name, wanted.source),
            }
        )
    return planned


def sizes(caller: Caller, os_type: str) -> tuple[int, int]:
    """Smallest and largest disk of an image in GiB; of a data disk when `os_type` is empty."""
    if not os_type:
        return disk_plan.sizes(caller, disk_plan.CLOUD)
    low, high = disk_categories.SYSTEM_SIZES_GIB[os_type]
    low = caller.services.config.minimum_disk_gib.get("system", low)
    return low, max(low, high)


def _check_size(parameter: str, size_gib: int | None, low: int, high: int) -> None:
    if size_gib is not None and not low <= size_gib <= high:
        why = f"{low}-{high} GiB are possible."
        raise InvalidParameter(parameter, size_gib, why, code="InvalidDiskImageSize.ValueNotSupported")


def format_of(parameter: str, text: str, *, iso: bool = False) -> str:
    """One of IMAGE_FORMATS, or with `iso` ISO, or empty for none. Raises InvalidParameter."""
    found = _FORMATS.get(text.lower())
    if found is None or (found == ISO and not iso):
        known = (*IMAGE_FORMATS, ISO) if iso else IMAGE_FORMATS
        why = f"it must be one of {', '.join(known)}."
        raise InvalidParameter(parameter, text, why, code="InvalidFormat.ValueNotSupported")
    return found


def located(caller: Caller, name: str, source: Source) -> dict[str, str]:
    """What the job needs to find the content, which is there now."""
    if source.handle:
        return {"handle": source.handle, "name": handed_file.name_of(caller, f"{name}Source", source.handle)}
    if not source.object:
        raise MissingParameter(f"{name}OSSObject")
    bucket, key = source.bucket, source.object
    if "://" in key:
        found, key = buckets.address(caller, key, f"{name}OSSObject")
        if bucket and bucket != found:
            raise InvalidParameter(f"{name}OSSBucket", bucket, f"the OSSObject is in the bucket {found}.")
        bucket = found
    if not bucket:
        raise MissingParameter(f"{name}OSSBucket")
    buckets.about(
        caller,
        bucket,
        key,
        names=(f"{name}OSSBucket", f"{name}OSSObject"),
        codes=("InvalidOSSBucket.NotFound", "InvalidOSSObject.NotFound"),
    )
    # Whatever is in the hidden bucket was put there only for this.
    return {"bucket": bucket, "object": key, "after": "keep" if bucket != buckets.hidden_name(caller) else "remove"}


# ------------------------------------------------------------------------------ the image


def _row(caller: Caller, request: Request, os_type: str, platform: str, size_gib: int) -> Image:
    image_id = ids.new_id("image")
    bits = "64" if request.architecture == "x86_64" else "32"
    made = Image(
        id=image_id,
        account_id=caller.account_id,
        name=request.name or image_id,
        description=request.description,
        status=image.CREATING,
        origin="import",
        os_type=os_type,
        os_name=f"{platform} {bits} bit",
        platform=platform,
        architecture=request.architecture,
        size_gib=size_gib,
        virtio=_virtio(platform) if request.virtio is None else request.virtio,
        setup=request.setup or _setup(platform),
        created_at=caller.services.clock.now(),
    )
    caller.session.add(made)
    caller.session.flush()
    if request.tags:
        tag.set_tags(caller, "image", made.id, request.tags)
    return made


def _virtio(platform: str) -> bool:
    """Whether such a system has drivers for virtio: nobody knows it of Windows, and of what is none of the known."""
    return PLATFORMS[platform] == LINUX and platform != OTHERS


def _setup(platform: str) -> str:
    return {OTHERS: NONE, CUSTOMIZED: EDIT}.get(platform, SEED)
