"""Our own actions for buckets and their objects, which ImportImage and ExportImage name (SPEC section 5)."""

from __future__ import annotations

import datetime as dt
from typing import Any

from agent.api.caller import caller
from agent.api.edge import paging
from agent.api.edge.call import Call
from agent.api.edge.paging import NumberedPages
from agent.api.edge.params import RegionParams
from agent.api.edge.registry import HOST, action
from agent.core.clock import iso_seconds
from agent.services import bucket as service
from agent.services import upload as uploads


class BucketParams(RegionParams):
    bucket: str


class DescribeBucketsParams(RegionParams, NumberedPages):
    bucket: list[str] = []


class DescribeObjectsParams(RegionParams, NumberedPages):
    bucket: str
    prefix: str = ""


class ObjectParams(RegionParams):
    bucket: str
    object: str


class CreateUploadParams(RegionParams):
    bucket: str = ""
    object: str
    size: int
    sha256: str = ""


class UploadParams(RegionParams):
    upload_id: str


@action("CreateBucket", version=HOST, params=BucketParams, resource="bucket/{bucket}", access="write")
def create_bucket(call: Call, p: BucketParams) -> dict[str, Any]:
    return {"Bucket": service.create(caller(call), p.bucket).name}


@action("DeleteBucket", version=HOST, params=BucketParams, resource="bucket/{bucket}", access="write")
def delete_bucket(call: Call, p: BucketParams) -> dict[str, Any]:
    service.delete(caller(call), p.bucket)
    return {}


@action("DescribeBuckets", version=HOST, params=DescribeBucketsParams, resource="bucket/{bucket}", access="read")
def describe_buckets(call: Call, p: DescribeBucketsParams) -> dict[str, Any]:
    page = paging.page_list(service.find(caller(call), p.bucket), p)
    return {"Buckets": {"Bucket": [_bucket(place) for place in page.items]}, **page.fields()}


def _bucket(place: service.Place) -> dict[str, Any]:
    """Kind and Endpoint say where it lies: `local` is this host."""
    return {
        "Bucket": place.name,
        "Kind": place.store.kind if place.store else "local",
        "Endpoint": place.store.endpoint if place.store else "",
        "CreationTime": iso_seconds(place.row.created_at) if place.row else "",
    }


@action("DescribeObjects", version=HOST, params=DescribeObjectsParams, resource="bucket/{bucket}", access="read")
def describe_objects(call: Call, p: DescribeObjectsParams) -> dict[str, Any]:
    page = paging.page_list(list(service.objects(caller(call), p.bucket, p.prefix)), p)
    rows = [
        {
            "Object": found.key,
            "Size": found.size,
            "LastModified": iso_seconds(dt.datetime.fromtimestamp(found.modified, dt.UTC)),
        }
        for found in page.items
    ]
    return {"Objects": {"Object": rows}, **page.fields()}


@action("DeleteObject", version=HOST, params=ObjectParams, resource="bucket/{bucket}", access="write")
def delete_object(call: Call, p: ObjectParams) -> dict[str, Any]:
    """Also when there is none, as object stores have it."""
    service.remove(caller(call), p.bucket, p.object)
    return {}


@action("OpenDownload", version=HOST, params=ObjectParams, resource="bucket/{bucket}", access="read")
def open_download(call: Call, p: ObjectParams) -> dict[str, Any]:
    """A GET of Path answers the object, with Range any part of it."""
    about, path = uploads.open_download(caller(call), p.bucket, p.object)
    return {"Path": path, "Size": about.size, "ExpiresInSeconds": uploads.TICKET_SECONDS}


@action("CreateUpload", version=HOST, params=CreateUploadParams, resource="bucket/{bucket}", access="write")
def create_upload(call: Call, p: CreateUploadParams) -> dict[str, Any]:
    """Pieces are PUT to Path from Offset on; with a checksum, one that was broken off goes on. Without Bucket it is the
    account's hidden one, for files that are only to be imported."""
    return _sent(uploads.create(caller(call), p.bucket, p.object, p.size, p.sha256))


@action("DescribeUpload", version=HOST, params=UploadParams, resource="bucket/*", access="read")
def describe_upload(call: Call, p: UploadParams) -> dict[str, Any]:
    return _sent(uploads.describe(caller(call), p.upload_id))


def _sent(sent: uploads.Sent) -> dict[str, Any]:
    return {
        "UploadId": sent.upload.id,
        "Bucket": sent.upload.bucket,
        "Object": sent.upload.object,
        "Size": sent.upload.size_bytes,
        "Offset": sent.offset,
        "Path": sent.path,
        "ExpiresInSeconds": uploads.TICKET_SECONDS,
    }


@action("AbortUpload", version=HOST, params=UploadParams, resource="bucket/*", access="write")
def abort_upload(call: Call, p: UploadParams) -> dict[str, Any]:
    gone = uploads.abort(caller(call), p.upload_id).id
    call.after_commit(lambda: call.services.uploads.files.remove(gone))
    return {}


@action("CompleteUpload", version=HOST, params=UploadParams, resource="bucket/*", access="write")
def complete_upload(call: Call, p: UploadParams) -> dict[str, Any]:
    done = uploads.complete(caller(call), p.upload_id)
    bucket, key, upload_id = done.bucket, done.object, done.id
    call.after_commit(lambda: call.services.uploads.files.remove(upload_id))
    return {"Bucket": bucket, "Object": key}
