"""Buckets and their objects (SPEC section 5): directories of this host, and the buckets of configured stores.

What is in a bucket only its files say; so, other than elsewhere, objects are changed right here and by no job.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from sqlalchemy import select

from agent.core import object_names
from agent.core.errors import ApiError, Conflict, DriverError, InvalidParameter, NoSuchObject, NotFound
from agent.core.specs import ObjectInfo
from agent.jobs import journal
from agent.services.context import Caller
from agent.services.stores import ConfiguredStore, stores_of
from agent.store.schema import Account, Bucket, Job, Upload

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]\Z")
HIDDEN = "ecs-import-"  # begins the name of the bucket that an account's files are imported from; it is not listed
NO_BUCKET, NO_OBJECT = "NoSuchBucket", "NoSuchKey"


class BucketExists(ApiError):
    code, status = "BucketAlreadyExists", 409


@dataclass(frozen=True)
class Place:
    """A bucket that the caller may use. `store` None: it is this host's."""

    name: str
    store: ConfiguredStore | None = None
    row: Bucket | None = None


# ------------------------------------------------------------------------------ buckets


def create(caller: Caller, name: str) -> Bucket:
    """A bucket of this host; one that the caller has is left as it is. Raises BucketExists."""
    if not _NAME.match(name) or name.startswith(HIDDEN):
        why = f"3-63 lower-case letters, digits and inner hyphens, not beginning with {HIDDEN}."
        raise InvalidParameter("Bucket", name, why, code="InvalidBucketName")
    found = caller.session.get(Bucket, name)
    if found is not None and found.account_id == caller.account_id:
        return found
    if found is not None or name in stores_of(caller.services.config):
        raise BucketExists(f'The bucket "{name}" exists already, and is not yours.')
    return _add(caller, name)


def hidden(caller: Caller) -> Bucket:
    """The bucket that the caller's files are put in only to be imported; made when it is needed."""
    name = hidden_name(caller)
    return caller.session.get(Bucket, name) or _add(caller, name)


def forget_hidden(caller: Caller) -> None:
    """Delete the caller's hidden bucket, if there is one, with what nobody came for."""
    row = caller.session.get(Bucket, hidden_name(caller))
    if row is None:
        return
    for found in list(caller.services.objects.find(row.name)):
        caller.services.objects.remove(row.name, found.key)
    caller.services.objects.drop_bucket(row.name)
    caller.session.delete(row)


def hidden_name(caller: Caller) -> str:
    return HIDDEN + caller.account_id


def _add(caller: Caller, name: str) -> Bucket:
    made = Bucket(name=name, account_id=caller.account_id, created_at=caller.services.clock.now())
    caller.session.add(made)
    caller.session.flush()
    # A directory that no row knows does no harm, and is taken by the next bucket of that name.
    caller.services.objects.make_bucket(name)
    return made


def delete(caller: Caller, name: str) -> None:
    """Delete an empty bucket of this host. Raises Conflict."""
    place = get(caller, name)
    if place.row is None:
        raise Conflict(f'The bucket "{name}" is not this host\'s: delete it in its own store.', code="AccessDenied")
    sent = caller.session.scalar(select(Upload.id).where(Upload.bucket == name).limit(1))
    if sent is not None:
        raise Conflict(f'The upload "{sent}" to the bucket "{name}" is not complete: abort it.', code="BucketNotEmpty")
    _check_no_export(caller, name)
    try:
        caller.services.objects.drop_bucket(name)
    except DriverError as error:
        raise Conflict(f"The bucket cannot be deleted: {error}.", code="BucketNotEmpty") from None
    caller.session.delete(place.row)


def _check_no_export(caller: Caller, name: str) -> None:
    unfinished = select(Job).where(Job.kind == "image.export", Job.state.in_(journal.UNFINISHED))
    for job in caller.session.scalars(unfinished.where(Job.account_id == caller.account_id)):
        if job.data["bucket"] == name:
            why = f'The image "{job.resource_id}" is being exported to the bucket "{name}" by the task "{job.id}".'
            raise Conflict(why, code="BucketNotEmpty")


def get(caller: Caller, name: str, *, parameter: str = "Bucket", code: str = NO_BUCKET) -> Place:
    """A bucket that the caller may use. Raises NotFound."""
    store = stores_of(caller.services.config).get(name)
    if store is not None and _may_use(caller, store):
        return Place(name, store=store)
    row = caller.session.get(Bucket, name) if store is None else None
    if row is None or row.account_id != caller.account_id:
        raise NotFound(code, parameter, name)
    return Place(name, row=row)


def find(caller: Caller, names: Sequence[str] = ()) -> list[Place]:
    """The caller's buckets by name, the hidden one only when it is asked for."""
    rows = caller.session.scalars(select(Bucket).where(Bucket.account_id == caller.account_id))
    found = [Place(row.name, row=row) for row in rows if row.name in names or not row.name.startswith(HIDDEN)]
    configured = stores_of(caller.services.config)
    found += [Place(name, store=store) for name, store in configured.items() if _may_use(caller, store)]
    return sorted((one for one in found if not names or one.name in names), key=lambda one: one.name)


def _may_use(caller: Caller, store: ConfiguredStore) -> bool:
    """The credentials are the host's owner's: nobody else uses them who was not named."""
    if store.accounts:
        return caller.account_id in store.accounts
    account = caller.session.get(Account, caller.account_id)
    return account is not None and account.is_default


# ------------------------------------------------------------------------------ objects


def objects(caller: Caller, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
    """Those whose names begin so, by name. Raises NotFound."""
    return caller.services.objects.find(get(caller, bucket).name, prefix)


def about(
    caller: Caller,
    bucket: str,
    key: str,
    *,
    names: tuple[str, str] = ("Bucket", "Object"),
    codes: tuple[str, str] = (NO_BUCKET, NO_OBJECT),
) -> ObjectInfo:
    """One object; raises NotFound. `names` and `codes` are those of the action's parameters."""
    place = get(caller, bucket, parameter=names[0], code=codes[0])
    try:
        return caller.services.objects.about(place.name, key)
    except NoSuchObject:
        raise NotFound(codes[1], names[1], key) from None


def remove(caller: Caller, bucket: str, key: str) -> None:
    """Delete an object; raises NotFound when the bucket is not there."""
    place = get(caller, bucket)
    caller.services.objects.remove(place.name, key)


def check_key(parameter: str, key: str) -> str:
    """A name for a new object; raises InvalidParameter."""
    try:
        object_names.parts(key)
    except ValueError as error:
        raise InvalidParameter(parameter, key, f"{error}.", code="InvalidObjectName") from None
    return key


# ------------------------------------------------------------------------------ addresses


def address(caller: Caller, text: str, parameter: str) -> tuple[str, str]:
    """Bucket and name of an object from `oss://bucket/name`, or from the https address of one in a configured store.

    Nothing else that looks like an address is ever opened. Raises InvalidParameter."""
    parts = urlsplit(text)
    if parts.scheme == "oss" and parts.netloc and parts.path.strip("/"):
        return parts.netloc, unquote(text.split("://", 1)[1].partition("/")[2])
    if parts.scheme in ("http", "https") and parts.hostname:
        for name, store in stores_of(caller.services.config).items():
            if parts.hostname == f"{name}.{store.host}" and parts.path.strip("/"):
                return name, unquote(parts.path.removeprefix("/"))
    why = "it must be oss://BUCKET/OBJECT, or the https address of an object in a bucket configured on the host."
    raise InvalidParameter(parameter, text, why, code="InvalidOSSObject.Malformed")
