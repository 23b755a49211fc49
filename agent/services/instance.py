"""Creating instances (SPEC I1): everything is checked and written in one transaction, a job does the rest."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field

from sqlalchemy import func, select

from agent.core import states, validate
from agent.core.errors import (
    Conflict,
    DependencyViolation,
    IncorrectInstanceStatus,
    InvalidParameter,
    MissingParameter,
    NotFound,
)
from agent.core.ids import new_id
from agent.core.instance_types import InstanceType
from agent.jobs import journal
from agent.services import (
    capacity,
    classic,
    disk_plan,
    instance_disks,
    instance_type,
    internet_card,
    login,
    metadata_options,
    public_address,
    quota,
    security_group,
    space,
    tag,
    vswitch,
)
from agent.services import image as images
from agent.services import key_pair as key_pairs
from agent.services import role as roles
from agent.services.context import Caller
from agent.services.instance_disks import SystemDisk
from agent.services.internet import Internet, resolved
from agent.services.metadata_options import Options
from agent.store.schema import Image, Instance, NetworkInterface, SecurityGroup, VSwitch

MAX_USER_DATA_BYTES = 16 * 1024
WINDOWS = "windows"
WINDOWS_NAME_LENGTH = 15  # of a host name; longer ones would be cut off in the guest

# `web-[1,3]` or `web-[1,3]-lab`: numbers from 1 on, with at least 3 digits.
_SEQUENCE = re.compile(r"(?P<head>.*)\[(?P<first>[0-9]{0,6}),(?P<digits>[0-9]?)\](?P<tail>.*)\Z")


@dataclass(frozen=True)
class Request:
    """What RunInstances and CreateInstance ask for; None and empty mean: the system chooses."""

    image_id: str
    instance_type: str
    zone_id: str | None = None
    vswitch_id: str | None = None
    network_type: str = ""  # `classic`, or what is asked for otherwise tells
    security_group_ids: tuple[str, ...] = ()
    private_ip: str | None = None
    name: str = ""
    unique_suffix: bool = False
    host_name: str = ""
    description: str = ""
    system_disk: SystemDisk = field(default_factory=SystemDisk)
    data_disks: tuple[disk_plan.Wanted, ...] = ()
    key_pair_name: str = ""
    password: str = ""
    user_data: bytes = b""
    deletion_protection: bool = False
    tags: tuple[tuple[str, str], ...] = ()
    ram_role_name: str = ""
    metadata_options: Options = field(default_factory=Options)
    internet: Internet = field(default_factory=Internet)
    amount: int = 1


@dataclass(frozen=True)
class _Plan:
    """A request with every choice made and every reference resolved."""

    image: Image
    type: InstanceType
    vswitch: VSwitch
    groups: list[SecurityGroup]
    disk_gib: int
    data_disks: list[disk_plan.Plan]
    internet: Internet


def create(caller: Caller, request: Request, *, start: bool) -> list[Instance]:
    """Create `request.amount` instances, all or none; with `start` they run at once.

    Raises the public error of the first thing that is wrong; nothing is written then.
    """
    plan = _plan(caller, request)
    disks = request.amount * (1 + len(plan.data_disks))
    space.check(caller, space.NEW_LAYER_BYTES * disks, "create the instance's disks")
    if start:
        capacity.check_room(caller, plan.type.vcpus * request.amount, plan.type.memory_mib * request.amount)
    made = []
    for number in range(request.amount):
        made.append(_create_one(caller, request, plan, number, start))
    for instance in made:
        kind = "instance.run" if start else "instance.create"
        journal.enqueue(
            caller.session,
            kind,
            instance.id,
            caller.services.clock.now(),
            account_id=caller.account_id,
            request_id=caller.request_id,
        )
    return made


def _plan(caller: Caller, request: Request) -> _Plan:
    services = caller.services
    _check_texts(request)
    image = images.get_usable(caller, request.image_id)
    type_ = services.instance_types.get(request.instance_type)
    if type_ is None:
        known = ", ".join(sorted(services.instance_types))
        raise InvalidParameter(
            "InstanceType",
            request.instance_type,
            f"known types are {known}.",
            code="InvalidInstanceType.ValueNotSupported",
        )
    instance_type.check_image(type_, image)
    _check_windows(request, image)
    network = _network(caller, request)
    groups = _groups(caller, request, network)
    if request.key_pair_name:
        key_pairs.get_usable(caller, request.key_pair_name)
    if request.ram_role_name:
        roles.usable_by_ecs(caller, request.ram_role_name)
    data_disks = instance_disks.plan_data(caller, request.system_disk, request.data_disks, image)
    _check_quotas(caller, request, data_disks)
    instance_type.check_gpu(type_)
    return _Plan(
        image=image,
        type=type_,
        vswitch=network,
        groups=groups,
        disk_gib=instance_disks.system_size(caller, request.system_disk, image),
        data_disks=data_disks,
        internet=resolved(caller, request.internet),
    )


def _check_windows(request: Request, image: Image) -> None:
    """What holds for Windows alone: no key pairs and short host names."""
    if image.os_type != WINDOWS:
        return
    if request.key_pair_name:
        raise DependencyViolation(
            f'The image "{image.id}" is Windows: the key pair "{request.key_pair_name}" cannot be used to log in.',
            code="DependencyViolation.WindowsInstance",
        )
    if request.host_name:
        for number in (0, request.amount - 1):
            validate.windows_host_name("HostName", _host_name(request, image, "", number))


def _check_texts(request: Request) -> None:
    if request.name:
        validate.name("InstanceName", _names(request, "i-x")[0], code="InvalidInstanceName.Malformed")
    validate.description("Description", request.description, code="InvalidDescription.Malformed")
    if request.host_name:
        validate.host_name("HostName", request.host_name)
    if request.password:
        validate.password("Password", request.password)
    check_user_data(request.user_data)
    instance_disks.check_system(request.system_disk)


def check_user_data(user_data: bytes) -> None:
    """Raises InvalidParameter when it is too large (SPEC I11)."""
    if len(user_data) > MAX_USER_DATA_BYTES:
        raise InvalidParameter(
            "UserData",
            f"{len(user_data)} bytes",
            f"at most {MAX_USER_DATA_BYTES} bytes before encoding.",
            code="InvalidUserData.SizeExceeded",
        )


def _network(caller: Caller, request: Request) -> VSwitch:
    network = _chosen_network(caller, request)
    if request.zone_id and request.zone_id != network.zone_id:
        raise InvalidParameter(
            "ZoneId",
            request.zone_id,
            f"the VSwitch {network.id} is in zone {network.zone_id}.",
            code="InvalidParameter.Conflict"
            if request.zone_id == caller.services.config.zone_id
            else "InvalidZoneId.NotFound",
        )
    if request.private_ip and request.amount > 1:
        raise InvalidParameter(
            "PrivateIpAddress",
            request.private_ip,
            "one address cannot serve several instances.",
            code="InvalidParameter.Conflict",
        )
    return network


def _chosen_network(caller: Caller, request: Request) -> VSwitch:
    """As in the public API, a security group of the classic network puts an instance there (SPEC N4)."""
    if request.vswitch_id:
        if request.network_type == classic.CLASSIC:
            why = "an instance of the classic network has none."
            raise InvalidParameter("VSwitchId", request.vswitch_id, why, code="InvalidParameter.Conflict")
        return vswitch.get_vswitch(caller, request.vswitch_id)
    if request.network_type == classic.CLASSIC or classic.has_group(caller, request.security_group_ids):
        return classic.network(caller)
    return _default_vswitch(caller)


def _default_vswitch(caller: Caller) -> VSwitch:
    """The account's default VSwitch, or its only one."""
    own = list(caller.session.scalars(vswitch.find_vswitches(caller)))
    default = [found for found in own if found.is_default] or own
    if len(default) != 1:
        raise MissingParameter("VSwitchId")
    return default[0]


def _groups(caller: Caller, request: Request, network: VSwitch) -> list[SecurityGroup]:
    if request.security_group_ids:
        ids = list(request.security_group_ids)
        return security_group.check_groups(caller, network.vpc_id, ids, instances=request.amount)
    return [security_group.default_group(caller, network.vpc)]


def _check_quotas(caller: Caller, request: Request, data_disks: list[disk_plan.Plan]) -> None:
    owned = select(func.count()).select_from(Instance).where(Instance.account_id == caller.account_id)
    quota.check(caller, "instances", caller.session.scalar(owned) or 0, request.amount)
    categories = [request.system_disk.category, *(disk.wanted.category for disk in data_disks)]
    disk_plan.check_account(caller, categories * request.amount)


def _names(request: Request, instance_id: str) -> list[str]:
    """The name of each instance: numbered by a `[first,digits]` in it or by UniqueSuffix, else all alike."""
    match = _SEQUENCE.match(request.name)
    if match:
        first, digits = int(match["first"] or 0), int(match["digits"] or 3)
        return [f"{match['head']}{first + n:0{digits}d}{match['tail']}" for n in range(request.amount)]
    if request.unique_suffix and request.amount > 1 and request.name:
        return [f"{request.name}{n + 1:03d}" for n in range(request.amount)]
    return [request.name or instance_id] * request.amount


def _create_one(caller: Caller, request: Request, plan: _Plan, number: int, start: bool) -> Instance:
    session, now = caller.session, caller.services.clock.now()
    instance_id = new_id("instance")
    instance = Instance(
        id=instance_id,
        account_id=caller.account_id,
        uuid=str(uuid.uuid4()),
        name=_names(request, instance_id)[number],
        description=request.description,
        host_name=_host_name(request, plan.image, instance_id, number),
        zone_id=plan.vswitch.zone_id,
        instance_type=plan.type.id,
        vcpus=plan.type.vcpus,
        memory_mib=plan.type.memory_mib,
        image_id=plan.image.id,
        os_type=plan.image.os_type,
        os_name=plan.image.os_name,
        key_pair_name=request.key_pair_name or None,
        virtio=plan.image.virtio,
        setup=plan.image.setup,
        iso_file=images.system_of(plan.image).iso_file,
        user_data=request.user_data,
        deletion_protection=request.deletion_protection,
        ram_role_name=request.ram_role_name or None,
        status=states.PENDING,
        power="on" if start else "off",
        created_at=now,
    )
    # A key pair switches password login off (SPEC K3), so a password given beside it is checked and dropped.
    if request.password and not request.key_pair_name:
        login.set_password(caller, instance, request.password)
    metadata_options.put(instance, request.metadata_options)
    plan.internet.put(instance)
    session.add(instance)
    session.flush()
    address = vswitch.allocate_address(caller, plan.vswitch, request.private_ip)
    interface = vswitch.new_interface(caller, plan.vswitch, plan.groups, address, instance_id=instance_id)
    if start and plan.internet.out_mbps:  # as with the provider, one that is only created gets none yet
        _give_public_address(caller, instance, interface)
    instance_disks.add(caller, instance, request.system_disk, plan.image, plan.disk_gib, plan.data_disks)
    tag.set_tags(caller, "instance", instance_id, list(request.tags))
    session.flush()
    return instance


def _give_public_address(caller: Caller, instance: Instance, interface: NetworkInterface) -> None:
    if public_address.in_classic(instance):
        internet_card.add(caller, instance)
    else:
        public_address.take(caller, interface)


def _host_name(request: Request, image: Image, instance_id: str, number: int) -> str:
    if not request.host_name:
        return default_host_name(instance_id, image.os_type)
    return f"{request.host_name}{number + 1:03d}" if request.unique_suffix and request.amount > 1 else request.host_name


def default_host_name(instance_id: str, os_type: str) -> str:
    return instance_id[:WINDOWS_NAME_LENGTH] if os_type == WINDOWS else instance_id


def get(caller: Caller, instance_id: str) -> Instance:
    """The caller's instance; raises NotFound for anything else, also for one that is being released."""
    found = caller.session.get(Instance, instance_id)
    if found is None or found.account_id != caller.account_id or found.releasing:
        raise NotFound("InvalidInstanceId.NotFound", "InstanceId", instance_id)
    return found


def get_for(caller: Caller, instance_id: str, operation: str) -> Instance:
    """As get; raises IncorrectInstanceStatus when its state does not allow `operation` (states.ALLOWED), or an image is
    being made of it (SPEC M3)."""
    instance = get(caller, instance_id)
    check_state(instance, operation)
    if operation in states.NOT_WHILE_IMAGED and (image_id := images.being_made_of(caller.session, instance_id)):
        raise Conflict(
            f'The image "{image_id}" is being made of the instance "{instance_id}": try again when it is done.',
            code="IncorrectInstanceStatus",
        )
    return instance


def check_state(instance: Instance, operation: str) -> None:
    """Raises IncorrectInstanceStatus when the instance's state does not allow `operation` (states.ALLOWED)."""
    if instance.status not in states.ALLOWED[operation]:
        raise IncorrectInstanceStatus(instance.id, instance.status, states.ALLOWED[operation])
