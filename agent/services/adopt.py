"""Taking over guests that others ran on this host: they become images. Their disks are anybody's, and read by
name: only the host's owner may, which the edge sees to."""

from __future__ import annotations

from dataclasses import dataclass

from agent.core import validate
from agent.core.errors import Conflict, DriverError, InvalidParameter, NotFound
from agent.core.foreign import ForeignGuest, Source
from agent.core.ids import new_id, random_word
from agent.jobs import journal
from agent.jobs.kinds.adopt import ADOPT, foreign_host
from agent.services import image as images
from agent.services import space
from agent.services.context import Caller
from agent.store.schema import Image, Job

MOST_DISKS = 17  # a system disk, and the data disks that an instance may have
PARAMETERS = {"libvirt": "Guest", "config": "ConfigFile", "files": "File"}  # by Source.kind


@dataclass(frozen=True)
class Request:
    """What becomes of a guest. Empty and None: as the guest says itself. `setup`: none | seed | edit."""

    source: Source
    name: str = ""
    description: str = ""
    platform: str = ""
    os_type: str = ""
    setup: str = "none"
    virtio: bool | None = None


def guests(caller: Caller) -> list[ForeignGuest]:
    """Those of this host's libvirt. Raises DriverError when libvirt cannot be reached."""
    return foreign_host(caller.services.config).guests()


def find(caller: Caller, source: Source) -> ForeignGuest:
    """Raises NotFound, InvalidParameter for what cannot be read."""
    parameter, value = PARAMETERS[source.kind], ", ".join(source.names)
    try:
        found = foreign_host(caller.services.config).find(source)
    except DriverError as error:
        if error.transient:
            raise
        raise InvalidParameter(parameter, value, str(error)) from None
    if found is None:
        raise NotFound("InvalidGuest.NotFound", parameter, value)
    return found


def adopt(caller: Caller, request: Request) -> tuple[Image, Job]:
    """An image of the guest with all its disks, Creating, and the job that reads them. The guest stays as it is.

    Raises what `find` raises; Conflict when it cannot be taken over now; NoStock.
    """
    if request.name:
        validate.name("ImageName", request.name, code="InvalidImageName.Malformed")
    validate.description("Description", request.description, code="InvalidDescription.Malformed")
    guest = find(caller, request.source)
    problem = guest.problem
    if len(guest.disks) > MOST_DISKS:
        problem = f"the guest {guest.name} has {len(guest.disks)} disks; an instance has {MOST_DISKS} at most"
    if problem:
        raise Conflict(f"This guest cannot be adopted: {problem}.", code="InvalidOperation.GuestNotReady")
    space.check(caller, 0, "adopt a guest")  # nobody knows before what it will need
    image = _image(caller, request, guest)
    caller.session.add(image)
    caller.session.flush()
    job = journal.enqueue(
        caller.session,
        ADOPT,
        image.id,
        caller.services.clock.now(),
        account_id=caller.account_id,
        request_id=caller.request_id,
        data={
            "source": {"kind": request.source.kind, "names": list(request.source.names)},
            "files": [f"{image.id}-{random_word(8)}" for _ in guest.disks],
        },
    )
    return image, job


def _image(caller: Caller, request: Request, guest: ForeignGuest) -> Image:
    os_type = request.os_type or guest.os_type
    platform = request.platform or ("Windows Server 2012" if os_type == "windows" else "Others Linux")
    return Image(
        id=new_id("image"),
        account_id=caller.account_id,
        name=request.name or guest.name,
        description=request.description,
        status=images.CREATING,
        origin="import",
        source_id=guest.name,
        os_type=os_type,
        os_name=platform,
        platform=platform,
        architecture="x86_64",
        size_gib=1,
        virtio=guest.disks[0].virtio if request.virtio is None else request.virtio,
        setup=request.setup,
        created_at=caller.services.clock.now(),
    )
