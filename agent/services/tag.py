"""Tags of every kind of resource (SPEC T1-T5). A tag exists as long as a resource carries it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Select, delete, exists, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from agent.core.errors import InvalidParameter, MissingParameter, NotFound, QuotaExceeded
from agent.services import quota
from agent.services.context import Caller
from agent.store.queries import forget_tags
from agent.store.schema import (
    AutoSnapshotPolicy,
    Disk,
    Image,
    Instance,
    KeyPair,
    PublicAddress,
    SecurityGroup,
    Snapshot,
    Tag,
    Vpc,
    VSwitch,
)

T = TypeVar("T")

forget = forget_tags


# Public type -> the table and the error for an id that is not there.
RESOURCES: dict[str, tuple[type[Any], str]] = {
    "instance": (Instance, "InvalidInstanceId.NotFound"),
    "disk": (Disk, "InvalidDiskId.NotFound"),
    "snapshot": (Snapshot, "InvalidSnapshotId.NotFound"),
    "snapshotpolicy": (AutoSnapshotPolicy, "InvalidAutoSnapshotPolicyId.NotFound"),
    "image": (Image, "InvalidImageId.NotFound"),
    "securitygroup": (SecurityGroup, "InvalidSecurityGroupId.NotFound"),
    "keypair": (KeyPair, "InvalidKeyPair.NotFound"),
    "vpc": (Vpc, "InvalidVpcID.NotFound"),
    "vswitch": (VSwitch, "InvalidVSwitchId.NotFound"),
    "eip": (PublicAddress, "InvalidAllocationId.NotFound"),
}
MAX_RESOURCES = 50
_RESERVED = ("aliyun", "acs:", "http://", "https://")
_WEB = ("http://", "https://")

TagPair = tuple[str, str]
TagFilter = tuple[str, str | None]  # a value of None: the key alone matters


def resource_type(name: str) -> str:
    """The canonical name of a resource type given in any case."""
    folded = name.lower()
    if folded not in RESOURCES:
        known = ", ".join(sorted(RESOURCES))
        raise InvalidParameter("ResourceType", name, f"it must be one of {known}.", code="InvalidResourceType.NotFound")
    return folded


def set_tags(caller: Caller, kind: str, resource_id: str, tags: Sequence[TagPair]) -> None:
    """Put `tags` on a resource of the caller; a key that is there already takes the new value."""
    if not tags:
        return
    allowed = quota.limit(caller, "tags_per_call")
    if len(tags) > allowed:
        raise QuotaExceeded(
            f"The parameter Tag has {len(tags)} elements: at most {allowed} are allowed in one call.",
            code=quota.LIMITS["tags_per_call"].code,
        )
    new = {key.lower(): (key, value) for key, value in (_checked(index, *tag) for index, tag in enumerate(tags, 1))}
    old = {tag.folded: tag for tag in _of(caller.session, kind, [resource_id])}
    added = [folded for folded in new if folded not in old]
    quota.check(caller, "tags_per_resource", len(old), len(added), of=resource_id)
    for folded, (key, value) in new.items():
        if folded in old:
            old[folded].key, old[folded].value = key, value
        else:
            caller.session.add(
                Tag(
                    resource_type=kind,
                    resource_id=resource_id,
                    folded=folded,
                    key=key,
                    value=value,
                    account_id=caller.account_id,
                )
            )
    caller.session.flush()


def tag_resources(caller: Caller, kind_name: str, resource_ids: Sequence[str], tags: Sequence[TagPair]) -> None:
    """The same for several resources; nothing is done unless all of them exist."""
    if not tags:
        raise MissingParameter("Tag.1.Key")
    kind = resource_type(kind_name)
    for resource_id in resolve(caller, kind, resource_ids):
        set_tags(caller, kind, resource_id, tags)


def untag_resources(
    caller: Caller, kind_name: str, resource_ids: Sequence[str], keys: Sequence[str], *, everything: bool = False
) -> None:
    """Take tags off resources, by key or all of them; keys that are not there do not matter."""
    kind = resource_type(kind_name)
    found = resolve(caller, kind, resource_ids)
    doomed = delete(Tag).where(Tag.resource_type == kind, Tag.resource_id.in_(found))
    if keys:
        doomed = doomed.where(Tag.folded.in_([key.lower() for key in keys]))
    elif not everything:
        raise MissingParameter("TagKey.1")
    caller.session.execute(doomed)


def remove_tags(caller: Caller, kind_name: str, resource_id: str, tags: Sequence[TagFilter]) -> None:
    """Take tags off one resource where the key, and the value if given, are these; without `tags`, all."""
    kind = resource_type(kind_name)
    [found] = resolve(caller, kind, [resource_id])
    if not tags:
        forget(caller.session, kind, [found])
    for key, value in tags:
        doomed = delete(Tag).where(Tag.resource_type == kind, Tag.resource_id == found, Tag.folded == key.lower())
        caller.session.execute(doomed if value is None else doomed.where(Tag.value == value))


def tags_of(session: Session, kind: str, resource_ids: Iterable[str]) -> dict[str, list[TagPair]]:
    """(key, value) by resource id, in order of the keys; every id asked for is in the answer."""
    ids = list(resource_ids)
    answer: dict[str, list[TagPair]] = {resource_id: [] for resource_id in ids}
    for tag in _of(session, kind, ids):
        answer[tag.resource_id].append((tag.key, tag.value))
    return answer


def filter_by_tags(
    statement: Select[T], kind: str, id_column: InstrumentedAttribute[str], filters: Sequence[TagFilter]
) -> Select[T]:
    """Narrow `statement` to resources that carry every one of `filters` (SPEC T3)."""
    for key, value in filters:
        carried = exists().where(Tag.resource_type == kind, Tag.resource_id == id_column, Tag.folded == key.lower())
        statement = statement.where(carried if value is None else carried.where(Tag.value == value))
    return statement


def search(
    caller: Caller,
    kind_name: str | None,
    resource_ids: Sequence[str] = (),
    filters: Sequence[TagFilter] = (),
) -> Select[Tag]:
    """The caller's tags, ordered; with `filters`, the tags of resources that carry all of them."""
    found = select(Tag).where(Tag.account_id == caller.account_id)
    if kind_name is not None:
        kind = resource_type(kind_name)
        found = found.where(Tag.resource_type == kind)
        if resource_ids:
            found = found.where(Tag.resource_id.in_(_ids(caller, kind, resource_ids)))
    for key, value in filters:
        other = aliased(Tag)
        beside = exists().where(
            other.resource_type == Tag.resource_type, other.resource_id == Tag.resource_id, other.folded == key.lower()
        )
        found = found.where(beside if value is None else beside.where(other.value == value))
    return found.order_by(Tag.resource_type, Tag.resource_id, Tag.folded)


def counts(caller: Caller, kind_name: str | None, resource_id: str | None, filters: Sequence[TagFilter]) -> Any:
    """Rows of (key, value, resource type, number of resources), in order, for DescribeTags."""
    found = select(func.min(Tag.key), Tag.value, Tag.resource_type, func.count()).where(
        Tag.account_id == caller.account_id
    )
    if kind_name is not None:
        kind = resource_type(kind_name)
        found = found.where(Tag.resource_type == kind)
        if resource_id:
            found = found.where(Tag.resource_id.in_(_ids(caller, kind, [resource_id])))
    for key, value in filters:
        found = found.where(Tag.folded == key.lower())
        found = found if value is None else found.where(Tag.value == value)
    grouped = found.group_by(Tag.folded, Tag.value, Tag.resource_type).order_by(Tag.folded, Tag.value)
    return caller.session.execute(grouped).all()


def resolve(caller: Caller, kind: str, resource_ids: Sequence[str]) -> list[str]:
    """The ids of the caller's own resources; a key pair may be given by name. Raises NotFound naming the first
    that is not there, or InvalidParameter for more than 50."""
    if not resource_ids:
        raise MissingParameter("ResourceId.1")
    if len(resource_ids) > MAX_RESOURCES:
        raise InvalidParameter(
            "ResourceId", len(resource_ids), f"at most {MAX_RESOURCES} are allowed.", code="NumberExceed.ResourceIds"
        )
    table, code = RESOURCES[kind]
    known = select(table.id).where(
        table.account_id == caller.account_id, table.id.in_(_ids(caller, kind, resource_ids))
    )
    if kind == "instance":
        known = known.where(~Instance.releasing)
    if kind == "keypair":
        known = known.where(~KeyPair.retired)
    mine = set(caller.session.scalars(known))
    translated = _ids(caller, kind, resource_ids)
    for given, resource_id in zip(resource_ids, translated, strict=True):
        if resource_id not in mine:
            raise NotFound(code, "ResourceId", given)
    return list(dict.fromkeys(translated))


def public_ids(caller: Caller, tags: Iterable[Tag]) -> dict[str, str]:
    """The names of the key pairs among the tagged resources, by id: what the public API calls their ids."""
    ids = {tag.resource_id for tag in tags if tag.resource_type == "keypair"}
    named = select(KeyPair.id, KeyPair.name).where(KeyPair.account_id == caller.account_id, KeyPair.id.in_(ids))
    return dict(caller.session.execute(named).all()) if ids else {}


def _ids(caller: Caller, kind: str, given: Sequence[str]) -> list[str]:
    """Key pairs are known by name in the public API; everything else by id."""
    if kind != "keypair":
        return list(given)
    named = select(KeyPair.name, KeyPair.id).where(
        KeyPair.account_id == caller.account_id, KeyPair.name.in_(given), ~KeyPair.retired
    )
    ids = dict(caller.session.execute(named).all())
    return [ids.get(name, name) for name in given]


def _of(session: Session, kind: str, ids: Sequence[str]) -> Sequence[Tag]:
    found = select(Tag).where(Tag.resource_type == kind, Tag.resource_id.in_(ids))
    return session.scalars(found.order_by(Tag.resource_id, Tag.folded)).all()


def _checked(index: int, key: str, value: str) -> TagPair:
    if not 1 <= len(key) <= 64 or key.lower().startswith(_RESERVED):
        raise InvalidParameter(
            f"Tag.{index}.Key",
            key,
            "1-64 characters, not starting with aliyun, acs:, http:// or https://.",
            code="InvalidTagKey.Malformed",
        )
    if len(value) > 128 or value.lower().startswith(_WEB):
        raise InvalidParameter(
            f"Tag.{index}.Value",
            value,
            "at most 128 characters, not starting with http:// or https://.",
            code="InvalidTagValue.Malformed",
        )
    return key, value
