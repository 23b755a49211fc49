"""Objects that are sent in pieces, and go on after any break (SPEC M7); and tickets to send and fetch them with.

How far an upload came, its file says: a piece is answered when it is on the disk. Who has an upload's path may send to
it, so the path holds a sealed ticket.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import select

from agent.config import Config
from agent.core.clock import Clock
from agent.core.errors import ApiError, Conflict, DriverError, InvalidParameter, NotFound, WrongContent
from agent.core.ids import random_word
from agent.core.protocols import Objects, PartialFiles, Storage
from agent.core.specs import ObjectInfo
from agent.jobs import journal
from agent.services import bucket as buckets
from agent.services import space
from agent.services.context import Caller
from agent.store.schema import Bucket, Job, Upload
from agent.store.secrets import Sealer
from agent.store.store import Store

MOST_BYTES = 4 << 40  # of an object: twice the largest disk there is
LARGEST_PIECE = 16 << 20
LIFETIME = dt.timedelta(days=1)  # of an upload that nobody sends anything to
TOUCH = dt.timedelta(minutes=1)
TICKET_SECONDS = 24 * 3600
_UPLOAD, _DOWNLOAD = "upload", "download"
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class PieceRefused(ApiError):
    """A piece that cannot be taken as it is. `offset`: where the next one must begin."""

    def __init__(self, status: int, code: str, message: str, offset: int | None = None) -> None:
        super().__init__(message, code=code)
        self.status, self.offset = status, offset


@dataclass(frozen=True)
class Sent:
    """An upload with what is here of it, and the path to send the rest to."""

    upload: Upload
    offset: int
    path: str


# ------------------------------------------------------------------------------ actions


def create(caller: Caller, bucket: str, key: str, size_bytes: int, sha256: str) -> Sent:
    """Begin an upload, or go on with the same one (bucket, object, size and checksum) that was broken off.

    Without a bucket the object goes into the caller's hidden one. Raises NotFound, InvalidParameter, NoStock.
    """
    if not 0 < size_bytes <= MOST_BYTES:
        raise InvalidParameter("Size", size_bytes, f"1-{MOST_BYTES} bytes are possible.")
    sha256 = sha256.lower()
    if sha256 and not _SHA256.match(sha256):
        raise InvalidParameter("Sha256", sha256, "it must be 64 hexadecimal digits.")
    place = buckets.get(caller, bucket) if bucket else buckets.Place(buckets.hidden(caller).name)
    if place.store is not None:
        why = f"it is of {place.store.endpoint}: send the object there with that store's own client."
        raise InvalidParameter("Bucket", bucket, why, code="InvalidBucket.NotSupported")
    buckets.check_key("Object", key)
    found = _same(caller, place.name, key, size_bytes, sha256)
    files = caller.services.uploads.files
    space.check(caller, size_bytes - (files.offset(found.id) if found else 0), "take an upload")
    return _shown(caller, found or _add(caller, place.name, key, size_bytes, sha256))


def _same(caller: Caller, bucket: str, key: str, size_bytes: int, sha256: str) -> Upload | None:
    """Only with a checksum it is sure that it is the same file: without one an upload is never taken for another."""
    if not sha256:
        return None
    mine = select(Upload).where(Upload.account_id == caller.account_id, Upload.bucket == bucket, Upload.object == key)
    return caller.session.scalar(mine.where(Upload.size_bytes == size_bytes, Upload.sha256 == sha256).limit(1))


def _add(caller: Caller, bucket: str, key: str, size_bytes: int, sha256: str) -> Upload:
    now = caller.services.clock.now()
    upload = Upload(
        id=f"upload-{random_word(20)}",
        account_id=caller.account_id,
        bucket=bucket,
        object=key,
        size_bytes=size_bytes,
        sha256=sha256,
        created_at=now,
        touched_at=now,
    )
    caller.session.add(upload)
    caller.session.flush()
    caller.services.uploads.files.begin(upload.id)
    return upload


def get(caller: Caller, upload_id: str) -> Upload:
    """An upload of the caller's; raises NotFound."""
    upload = caller.session.get(Upload, upload_id)
    if upload is None or upload.account_id != caller.account_id:
        raise NotFound("NoSuchUpload", "UploadId", upload_id)
    return upload


def describe(caller: Caller, upload_id: str) -> Sent:
    """How far it came, and a path that is good for a day again."""
    return _shown(caller, get(caller, upload_id))


def abort(caller: Caller, upload_id: str) -> Upload:
    """Forget it; its file is to be removed after the commit (`Uploads.sweep`)."""
    upload = get(caller, upload_id)
    caller.session.delete(upload)
    return upload


def complete(caller: Caller, upload_id: str) -> Upload:
    """Make the object of a whole upload. Raises Conflict when something of it is missing."""
    upload, files = get(caller, upload_id), caller.services.uploads.files
    if not files.is_whole(upload.id):
        raise Conflict(
            f'The upload "{upload_id}" is not whole: {files.offset(upload_id)} of {upload.size_bytes} bytes are here.',
            code="InvalidUpload.Incomplete",
        )
    # Until the commit both names are there: whatever happens, completing it again does no harm.
    caller.services.objects.put(upload.bucket, upload.object, files.whole(upload.id))
    caller.session.delete(upload)
    return upload


def _shown(caller: Caller, upload: Upload) -> Sent:
    until = caller.services.clock.now().timestamp() + TICKET_SECONDS
    ticket = caller.services.sealer.seal_claims(_UPLOAD, {"id": upload.id, "until": until})
    return Sent(upload, caller.services.uploads.files.offset(upload.id), f"/upload/{ticket}")


def open_download(caller: Caller, bucket: str, key: str) -> tuple[ObjectInfo, str]:
    """The object, and the path to fetch it from for a day. Raises NotFound."""
    about = buckets.about(caller, bucket, key)
    until = caller.services.clock.now().timestamp() + TICKET_SECONDS
    claims = {"bucket": bucket, "object": key, "until": until}
    return about, f"/download/{caller.services.sealer.seal_claims(_DOWNLOAD, claims)}"


# ------------------------------------------------------------------------------ what is sent


@dataclass
class Uploads:
    """Takes the pieces that are sent to the paths. Thread-safe."""

    files: PartialFiles
    store: Store
    sealer: Sealer
    clock: Clock
    config: Config
    storage: Storage
    objects: Objects
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _at_work: set[str] = field(default_factory=set)

    def find(self, ticket: str) -> tuple[str, int]:
        """Id and size of the upload that a path is of; raises PieceRefused."""
        claims = self._claims(_UPLOAD, ticket)
        with self.store.read() as session:
            upload = session.get(Upload, claims["id"])
        if upload is None:
            raise PieceRefused(404, "NoSuchUpload", "The upload is complete, was aborted, or waited too long.")
        return upload.id, upload.size_bytes

    def object_of(self, ticket: str) -> tuple[str, str]:
        """Bucket and name of the object that a path is of; raises PieceRefused."""
        claims = self._claims(_DOWNLOAD, ticket)
        return claims["bucket"], claims["object"]

    def take(self, upload_id: str, offset: int, piece: bytes, digest: bytes | None) -> tuple[int, bool]:
        """How much is here with this piece, and whether that is all and right. `digest`: the piece's SHA-256."""
        if digest is not None and hashlib.sha256(piece).digest() != digest:
            raise PieceRefused(
                422, "BadDigest", "The piece has another SHA-256 than Content-Digest says: send it again."
            )
        with self._alone(upload_id):
            upload = self._touched(upload_id)
            here = self._write(upload, offset, piece)
            if here == upload.size_bytes:
                self.files.finish(upload.id, upload.sha256)
            return here, here == upload.size_bytes

    def sweep(self) -> list[str]:
        """Forget uploads that nobody sent anything to for long, and remove the files of those that are forgotten."""
        over = self.clock.now() - LIFETIME
        with self.store.write() as session:
            for upload in session.scalars(select(Upload).where(Upload.touched_at < over)).all():
                session.delete(upload)
            session.flush()
            known = set(session.scalars(select(Upload.id)))
            gone = sorted(self.files.list() - known)
        for upload_id in gone:
            self.files.remove(upload_id)
        self._sweep_hidden(over)
        return gone

    def _sweep_hidden(self, over: dt.datetime) -> None:
        """Objects that were to be imported, or fetched, at once, and were not."""
        with self.store.read() as session:
            at_work = select(Job.id).where(Job.kind.like("image.%"), Job.state.in_(journal.UNFINISHED)).limit(1)
            if session.scalar(at_work) is not None:
                return
            hidden = session.scalars(select(Bucket.name).where(Bucket.name.startswith(buckets.HIDDEN))).all()
        for name in hidden:
            for found in list(self.objects.find(name)):
                if found.modified < over.timestamp():
                    self.objects.remove(name, found.key)

    def _claims(self, kind: str, ticket: str) -> dict[str, str]:
        claims = self.sealer.open_claims(kind, ticket)
        if claims is None or claims["until"] < self.clock.now().timestamp():
            raise PieceRefused(404, "InvalidPath", "The path is not one of ours, or too old: ask for a new one.")
        return claims

    def _touched(self, upload_id: str) -> Upload:
        now = self.clock.now()
        with self.store.read() as session:
            upload = session.get(Upload, upload_id)
        if upload is None:
            raise PieceRefused(404, "NoSuchUpload", "The upload is complete, was aborted, or waited too long.")
        if now - upload.touched_at > TOUCH:
            with self.store.write() as session:
                session.get_one(Upload, upload_id).touched_at = now
        return upload

    def _write(self, upload: Upload, offset: int, piece: bytes) -> int:
        here = self.files.offset(upload.id)
        if here != offset:
            raise PieceRefused(409, "InvalidOffset", f"The piece must begin at byte {here}.", here)
        if offset + len(piece) > upload.size_bytes:
            raise PieceRefused(400, "InvalidRange", f"The object has {upload.size_bytes} bytes.", here)
        if why := space.lacking(self.config, self.storage, len(piece), "take more of the upload"):
            raise PieceRefused(507, "OperationDenied.NoStock", why, here)
        return self.files.append(upload.id, offset, piece)

    @contextlib.contextmanager
    def _alone(self, upload_id: str) -> Iterator[None]:
        with self._guard:
            if upload_id in self._at_work:
                raise PieceRefused(409, "InvalidOffset", "A piece of this upload is just being written.")
            self._at_work.add(upload_id)
        try:
            yield
        finally:
            with self._guard:
                self._at_work.discard(upload_id)


def refusal(error: DriverError) -> PieceRefused:
    """What a sender is told when a piece could not be kept."""
    if isinstance(error, WrongContent):
        return PieceRefused(422, "BadDigest", f"{error}.", 0)
    return PieceRefused(507, "InternalError", f"{error}.")
