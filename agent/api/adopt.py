"""Our own actions for guests that others ran on this host."""

from __future__ import annotations

from typing import Any, Literal

from agent.api.caller import caller
from agent.api.edge.call import Call
from agent.api.edge.params import RegionParams
from agent.api.edge.registry import HOST, action
from agent.core.errors import InvalidParameter
from agent.core.foreign import ForeignGuest, Source
from agent.services import adopt as service
from agent.services import mac_address


class SourceParams(RegionParams):
    guest: str = ""
    config_file: str = ""
    file: list[str] = []


class AdoptParams(SourceParams):
    image_name: str = ""
    description: str = ""
    platform: str = ""
    os_type: Literal["linux", "windows", ""] = ""
    setup: Literal["none", "seed", "edit"] = "none"
    virtio: bool | None = None


# The disks of others are the host's: `ecs:*` is not enough.
@action(
    "DescribeForeignGuests",
    version=HOST,
    params=SourceParams,
    resource="host/*",
    access="read",
    ram="host:DescribeForeignGuests",
)
def describe_foreign_guests(call: Call, p: SourceParams) -> dict[str, Any]:
    """All guests of libvirt that are not ours, or the one that is named."""
    named = p.guest or p.config_file or p.file
    found = [service.find(caller(call), _source(p))] if named else service.guests(caller(call))
    return {"Guests": {"Guest": [_shown(guest) for guest in found]}}


@action("AdoptGuest", version=HOST, params=AdoptParams, resource="image/*", access="write", ram="host:AdoptGuest")
def adopt_guest(call: Call, p: AdoptParams) -> dict[str, Any]:
    """An image is made of it; instances of that image are what it was."""
    request = service.Request(
        source=_source(p),
        name=p.image_name,
        description=p.description,
        platform=p.platform,
        os_type=p.os_type,
        setup=p.setup,
        virtio=p.virtio,
    )
    image, job = service.adopt(caller(call), request)
    call.after_commit(call.services.runner.wake)
    return {"ImageId": image.id, "JobId": job.id}


class MacAddressParams(RegionParams):
    instance_id: str
    mac_address: str


@action("SetMacAddress", version=HOST, params=MacAddressParams, resource="instance/{instance_id}", access="write")
def set_mac_address(call: Call, p: MacAddressParams) -> dict[str, Any]:
    """What a guest was known by on its old host."""
    mac_address.change(caller(call), p.instance_id, p.mac_address)
    call.after_commit(call.services.runner.wake)
    return {}


def _source(p: SourceParams) -> Source:
    given = {"libvirt": [p.guest], "config": [p.config_file], "files": p.file}
    named = {kind: [name for name in names if name] for kind, names in given.items()}
    kinds = [kind for kind, names in named.items() if names]
    if len(kinds) != 1:
        raise InvalidParameter("Guest", p.guest, "give one of Guest, ConfigFile and File.N.")
    return Source(kinds[0], tuple(named[kinds[0]]))


def _shown(guest: ForeignGuest) -> dict[str, Any]:
    disks = [{"Device": disk.device, "Path": str(disk.path), "Format": disk.format} for disk in guest.disks]
    return {
        "Name": guest.name,
        "Status": "Running" if guest.running else "Stopped",
        "Cpu": guest.vcpus,
        "Memory": guest.memory_mib,
        "OSType": guest.os_type,
        "MacAddresses": {"MacAddress": list(guest.macs)},
        "Disks": {"Disk": disks},
        "Problem": guest.problem,
    }
