"""Creating disks of their own (SPEC D1): all that are asked for at once, or none."""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.core import disk_categories
from agent.core.errors import Conflict, InvalidParameter, MissingParameter, NotFound
from agent.jobs.kinds.disk import CREATE, CREATE_ATTACHED
from agent.services import disk as disks
from agent.services import disk_attach, disk_plan, space, tag
from agent.services.context import Caller
from agent.services.disk_plan import Names, Plan, Wanted
from agent.store.schema import Disk

NAMES = Names()


@dataclass(frozen=True)
class Request:
    """`instance_id`: attach it there at once; its zone is the instance's."""

    wanted: Wanted
    zone_id: str = ""
    instance_id: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    amount: int = 1


def create(caller: Caller, request: Request) -> list[Disk]:
    """Create `request.amount` disks. Raises the error of the first thing that is wrong; nothing is written then."""
    if not disk_categories.is_cloud(request.wanted.category):
        raise InvalidParameter(
            "DiskCategory",
            request.wanted.category,
            "ephemeral disks come with an instance and go with it.",
            code="InvalidDiskCategory.ValueNotSupported",
        )
    plan = disk_plan.plan(caller, request.wanted, NAMES)
    disk_plan.check_account(caller, [plan.wanted.category] * request.amount)
    space.check(caller, space.NEW_LAYER_BYTES * request.amount, "create a disk")
    if request.instance_id:
        return [_attached(caller, request, plan)]
    zone_id = _zone(caller, request.zone_id)
    return [_alone(caller, request, plan, zone_id, number) for number in range(1, request.amount + 1)]


def _zone(caller: Caller, zone_id: str) -> str:
    if not zone_id:
        raise MissingParameter("ZoneId")
    if zone_id != caller.services.config.zone_id:
        raise NotFound("InvalidZoneId.NotFound", "ZoneId", zone_id)
    return zone_id


def _alone(caller: Caller, request: Request, plan: Plan, zone_id: str, number: int) -> Disk:
    """Several have the number of each behind their name."""
    name = plan.wanted.name
    numbered = f"{name}{number:03d}" if name and request.amount > 1 else name
    disk = disk_plan.add(caller, replace(plan, wanted=replace(plan.wanted, name=numbered)), zone_id)
    tag.set_tags(caller, "disk", disk.id, list(request.tags))
    disks.enqueue(caller, CREATE, disk)
    return disk


def _attached(caller: Caller, request: Request, plan: Plan) -> Disk:
    if request.amount > 1:
        raise Conflict("Several disks cannot be created and attached in one call.", code="InvalidParameter.Conflict")
    instance = disk_attach.instance_for(caller, request.instance_id, plan.wanted.category, plan.size_gib)
    if request.zone_id and request.zone_id != instance.zone_id:
        raise InvalidParameter(
            "ZoneId",
            request.zone_id,
            f"the instance {instance.id} is in {instance.zone_id}.",
            code="ResourcesNotInSameZone",
        )
    device = disk_plan.device("Device", "", [disk.device for disk in instance.disks])
    disk = disk_plan.add(caller, plan, instance.zone_id, instance, device)
    tag.set_tags(caller, "disk", disk.id, list(request.tags))
    disks.enqueue(caller, CREATE_ATTACHED, disk)
    return disk
