"""Sending objects to an agent and fetching them, as any client does."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from tests.support.agent import HOST, AgentProcess
from tests.support.waiting import wait_for

PIECE = 8 << 20


def put(agent: AgentProcess, path: str, content: bytes, start: int) -> tuple[int, dict[str, Any]]:
    """One piece of an upload from `start` on; status and answer."""
    piece = content[start : start + PIECE]
    digest = base64.b64encode(hashlib.sha256(piece).digest()).decode()
    headers = {
        "Content-Range": f"bytes {start}-{start + len(piece) - 1}/{len(content)}",
        "Content-Digest": f"sha-256=:{digest}:",
    }
    connection = agent.connect()
    try:
        connection.request("PUT", path, piece, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def begin(agent: AgentProcess, bucket: str, key: str, content: bytes) -> dict[str, Any]:
    """CreateUpload with the content's size and checksum."""
    sha256 = hashlib.sha256(content).hexdigest()
    return agent.call("CreateUpload", HOST, Bucket=bucket, Object=key, Size=len(content), Sha256=sha256)


def upload(agent: AgentProcess, bucket: str, key: str, content: bytes) -> None:
    sent = begin(agent, bucket, key, content)
    offset = int(sent["Offset"])
    while offset < len(content):
        status, answer = put(agent, sent["Path"], content, offset)
        assert status == 200, answer
        offset = answer["Offset"]
    agent.call("CompleteUpload", HOST, UploadId=sent["UploadId"])


def download(agent: AgentProcess, bucket: str, key: str) -> bytes:
    path = agent.call("OpenDownload", HOST, Bucket=bucket, Object=key)["Path"]
    connection = agent.connect()
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        return response.read()
    finally:
        connection.close()


def put_by_hand(agent: AgentProcess, bucket: str, key: str, content: bytes) -> None:
    """As the host's owner may: a file in the bucket's directory."""
    path = Path(agent.settings["data_dir"]) / "buckets" / bucket / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def objects(agent: AgentProcess, bucket: str) -> list[str]:
    found = agent.call("DescribeObjects", HOST, Bucket=bucket, PageSize=100)["Objects"]["Object"]
    return [one["Object"] for one in found]


def ended(agent: AgentProcess, task_id: str, seconds: float = 120) -> dict[str, Any]:
    """The task, when it has ended."""
    found: dict[str, Any] = {}

    def is_over() -> bool:
        found.update(agent.call("DescribeTaskAttribute", TaskId=task_id))
        return found["TaskStatus"] not in ("Waiting", "Processing")

    wait_for(f"the end of {task_id}", is_over, seconds)
    return found
