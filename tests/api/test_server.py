"""The doors: who may come in on the unix socket, odd but legal HTTP, and malformed input, which is never a 5xx."""

from __future__ import annotations

import gzip
import json
import random
import socket
import stat
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.api.edge.listen import ListenError, parse_address
from agent.api.edge.server import Doors, Server
from tests.api.live import ACCOUNT, Edge
from tests.api.wire import call, exchange, send, signed_target, unsigned_request

NOBODY = 65534
AS_OTHER = """
import os, socket, sys
uid, gid, groups = int(sys.argv[2]), int(sys.argv[3]), [int(g) for g in sys.argv[4:]]
os.setgroups(groups); os.setgid(gid); os.setuid(uid)
s = socket.socket(socket.AF_UNIX); s.settimeout(30); s.connect(sys.argv[1])
s.sendall(sys.stdin.buffer.read())
while data := s.recv(65536): sys.stdout.buffer.write(data)
"""


def as_user(path: Path, uid: int, gid: int, *groups: int) -> tuple[int, str]:
    """Status and body of an unsigned request made by a process of that user; (0, reason) when it cannot connect."""
    command = [sys.executable, "-c", AS_OTHER, str(path), *(str(n) for n in (uid, gid, *groups))]
    data = unsigned_request("DescribeRegions", more="Connection: close\r\n")
    done = subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)
    if done.returncode:
        return 0, done.stderr.decode().splitlines()[-1]
    head, _, body = done.stdout.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


def audit_lines(edge: Edge) -> list[dict[str, object]]:
    return [json.loads(line) for line in edge.audit_path.read_text().splitlines()]


# ------------------------------------------------------------------------------ the unix socket


def test_root_needs_no_key_on_the_unix_socket(edge: Edge) -> None:
    answer = exchange(str(edge.socket), unsigned_request("DescribeRegions"))
    assert (answer.status, answer.json["Regions"]["Region"][0]["RegionId"]) == (200, "local")
    line = audit_lines(edge)[-1]
    assert (line["source"], line["account"], line["access_key_id"]) == ("unix:uid=0", ACCOUNT, "")


def test_xml_on_the_unix_socket_by_query(edge: Edge) -> None:
    target = "/?Action=DescribeRegions&Version=2014-05-26"
    answer = exchange(str(edge.socket), f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.xml.tag == "DescribeRegionsResponse"


def test_the_socket_is_for_the_group(make_edge: Callable[..., Edge]) -> None:
    edge = make_edge(socket_group="nogroup")
    mode = edge.socket.stat()
    assert (stat.S_IMODE(mode.st_mode), mode.st_gid) == (0o660, NOBODY)
    status, _ = as_user(edge.socket, 12345, 54321, NOBODY)
    assert status == 200
    assert audit_lines(edge)[-1]["source"] == "unix:uid=12345"
    assert as_user(edge.socket, 12345, NOBODY)[0] == 200
    status, reason = as_user(edge.socket, 12345, 54321)
    assert (status, "PermissionError" in reason) == (0, True)


def test_strangers_are_forbidden_even_where_the_file_lets_them_in(make_edge: Callable[..., Edge]) -> None:
    edge = make_edge(socket_group="nogroup")
    edge.socket.chmod(0o666)
    status, body = as_user(edge.socket, 12345, 54321)
    assert status == 403
    assert json.loads(body)["Code"] == "Forbidden"
    assert "12345" in json.loads(body)["Message"]


def test_without_the_group_only_root(make_edge: Callable[..., Edge]) -> None:
    edge = make_edge(socket_group="no-such-group")
    assert stat.S_IMODE(edge.socket.stat().st_mode) == 0o600
    edge.socket.chmod(0o666)
    assert as_user(edge.socket, NOBODY, NOBODY)[0] == 403


def test_a_second_agent_does_not_take_the_socket(edge: Edge) -> None:
    second = Server(edge.server._endpoint, Doors(socket=edge.socket))
    with pytest.raises(ListenError, match="another agent"):
        edge.run(second.start())
    assert exchange(str(edge.socket), unsigned_request("DescribeRegions")).status == 200


def test_a_stale_socket_is_replaced_and_a_foreign_file_is_not(edge: Edge, tmp_path: Path) -> None:
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale))
    server = Server(edge.server._endpoint, Doors(socket=stale))
    edge.run(server.start())
    assert exchange(str(stale), unsigned_request("DescribeRegions")).status == 200
    edge.run(server.stop())
    assert not stale.exists()
    stale.write_text("precious")
    with pytest.raises(ListenError, match="no socket is in its place"):
        edge.run(Server(edge.server._endpoint, Doors(socket=stale)).start())
    assert stale.read_text() == "precious"


def test_a_taken_port_is_told_and_nothing_stays_open(edge: Edge, tmp_path: Path) -> None:
    server = Server(edge.server._endpoint, Doors(socket=tmp_path / "x.sock", http=edge.address))
    with pytest.raises(ListenError, match=edge.address):
        edge.run(server.start())
    assert not (tmp_path / "x.sock").exists()


def test_a_directory_that_cannot_be_made_is_told(edge: Edge, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x.sock"
    with pytest.raises(ListenError, match=f"cannot listen on {path}"):
        edge.run(Server(edge.server._endpoint, Doors(socket=path)).start())


@pytest.mark.parametrize("text", ["", "8800", "host:", ":1", "host:x", "host:70000"])
def test_addresses_to_listen_on(text: str) -> None:
    assert parse_address("[::1]:8800", "http") == ("::1", 8800)
    with pytest.raises(ListenError, match="http"):
        parse_address(text, "http")


# ------------------------------------------------------------------------------ odd but legal


def raw(edge: Edge) -> tuple[str, int]:
    return "127.0.0.1", edge.server.http_port


def test_absolute_targets(edge: Edge) -> None:
    target = signed_target("DescribeRegions", method="POST")
    line = f"POST http://ecs-cn-hangzhou.aliyuncs.com{target} HTTP/1.1\r\nHost: ecs-cn-hangzhou.aliyuncs.com\r\n"
    answer = exchange(raw(edge), f"{line}Content-Length: 0\r\n\r\n".encode())
    assert answer.status == 200
    bare = signed_target("DescribeRegions").removeprefix("/")
    answer = exchange(
        raw(edge), f"GET http://ecs.aliyuncs.com{bare} HTTP/1.1\r\nHost: ecs.aliyuncs.com\r\n\r\n".encode()
    )
    assert answer.status == 200


def test_http_1_0(edge: Edge) -> None:
    answer = exchange(raw(edge), f"GET {signed_target('DescribeRegions')} HTTP/1.0\r\n\r\n".encode())
    assert answer.status == 200


def test_expect_100_continue(edge: Edge) -> None:
    form = {"InstanceName": "late", "ImageId": "x"}
    target = signed_target("RunInstances", method="POST", form=form)
    body = b"InstanceName=late&ImageId=x"
    with socket.create_connection(raw(edge), timeout=30) as connection:
        connection.sendall(
            f"POST {target} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\n".encode()
        )
        assert connection.recv(64).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_bodies(edge: Edge, encoding: str) -> None:
    form = {"InstanceName": "packed", "ImageId": "x"}
    plain = b"InstanceName=packed&ImageId=x"
    body = gzip.compress(plain) if encoding == "gzip" else zlib.compress(plain)
    headers = {"Content-Encoding": encoding, "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
    answer = send(edge, signed_target("RunInstances", method="POST", form=form), "POST", body, headers)
    assert answer.status == 200
    assert edge.sample.seen[-1].instance_name == "packed"


def test_names_match_in_any_case(edge: Edge) -> None:
    assert call(edge, "RunInstances", imageId="x", datadisk__1__size="40", TAG__1__key="k").status == 200
    assert edge.sample.seen[-1].data_disk[0].size == 40


# ------------------------------------------------------------------------------ malformed

FORM = "Content-Type: application/x-www-form-urlencoded\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /?a=%ff&b=\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /?a=%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /?%00=%00&AccessKeyId=%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (f"POST / HTTP/1.1\r\nHost: x\r\n{FORM}Content-Length: 3\r\n\r\n".encode() + b"a=\xff", 400),
        (f"POST / HTTP/1.1\r\nHost: x\r\n{FORM}Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\na=b".encode(), 400),
        (f"POST / HTTP/1.1\r\nHost: x\r\n{FORM}Content-Encoding: br\r\nContent-Length: 3\r\n\r\na=b".encode(), 400),
        (f"POST / HTTP/1.1\r\nHost: x\r\n{FORM}Content-Length: 2000000\r\n\r\n".encode() + b"a" * 2000000, 413),
        (b"GET /?" + b"a=b&" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: x\r\n\r\n", 403),
        (b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", 403),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 403),
        (b"GET /?Format=YAML HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: nonsense\r\n\r\n", 417),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 100_000 + b"\r\n\r\n", 400),
        (b"GET /?" + b"x" * 400_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 403),
    ],
)
def test_malformed_requests(edge: Edge, data: bytes, status: int) -> None:
    answer = exchange(raw(edge), data)
    assert answer.status == status
    assert b"Traceback" not in answer.body


def test_a_compressed_bomb(edge: Edge) -> None:
    body = gzip.compress(b"a=" + b"b" * (64 << 20))
    head = f"POST / HTTP/1.1\r\nHost: x\r\n{FORM}Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = exchange(raw(edge), head.encode() + body)
    assert (answer.status, answer.code) == (413, "RequestTooLarge")


def test_random_garbage_never_is_a_server_error(edge: Edge) -> None:
    # Real requests, damaged: seeded, so that a failure can be repeated.
    dice = random.Random(20261123)
    for _ in range(300):
        data = bytearray(unsigned_request("RunInstances", {"ImageId": "x", "Tag.1.Key": "k", "InstanceIds": "[]"}))
        for _ in range(dice.randint(1, 12)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        answer = exchange(str(edge.socket), bytes(data) + b"\r\n\r\n" * 2 + b"&" * 200)
        assert answer.status < 500, bytes(data)


NASTY = ["", "\0", "\ud800", "-1", "0", "1e9", "NaN", "9" * 400, "true", "[", "[" * 5000, "{}", '["\\ud800"]', "null",
         "[null]", "[[]]", "[true]", "💥", "a" * 5000, "%", "../..", "${jndi}", "';--", "1.5", " 1", "٣"]  # fmt: skip
NAMES = ["ImageId", "Amount", "DataDisk", "DataDisk.1", "DataDisk.1.Size", "DataDisk.0.Size", "DataDisk.x.Size", "Tag",
         "DataDisk.1.Size.2", "Tag.1", "Tag.1.Key", "Tag.999999999999.Key", "SecurityGroupIds.1", "DeletionProtection",
         "SecurityGroupIds", ".", "..", "a..b", ".".join("a" * 400), "RegionId", "ClientToken", "DryRun", "Password",
         "InstanceIds", "PageNumber", "PageSize", "NextToken", "MaxResults", "Format", "Version"]  # fmt: skip


def test_nasty_values_never_are_a_server_error(edge: Edge) -> None:
    for action in ("RunInstances", "DescribeInstances"):
        for name in NAMES:
            for value in NASTY:
                form = {"ImageId": "x", "Amount": "1", name: value}
                text = "&".join(f"{k}={_escape(v)}" for k, v in form.items())
                data = unsigned_request(action).replace(b"Content-Length: 0", f"Content-Length: {len(text)}".encode())
                answer = exchange(str(edge.socket), data + text.encode())
                assert answer.status < 500, (action, name, value[:40], answer.body)
                assert answer.status, (action, name, value[:40])


def _escape(value: str) -> str:
    return "".join(f"%{byte:02x}" for byte in value.encode("utf-8", "surrogatepass"))


def test_errors_say_where_and_what(edge: Edge) -> None:
    refused = send(edge, signed_target("RunInstances", Amount="0", ImageId="x"), headers={"Host": "ecs.example"})
    assert refused.headers["x-acs-request-id"] == refused.json["RequestId"]
    assert refused.json == {
        "RequestId": refused.json["RequestId"],
        "HostId": "ecs.example",
        "Code": "InvalidAmount.ValueNotSupported",
        "Message": 'The specified parameter Amount "0" is not valid: it must be greater than or equal to 1.',
    }
    refused = send(edge, signed_target("RunInstances", accept="XML"))
    assert refused.xml.tag == "Error"
    assert [child.tag for child in refused.xml] == ["RequestId", "HostId", "Code", "Message"]
    assert refused.code == "MissingParameter"


def test_unknown_actions_and_versions(edge: Edge) -> None:
    refused = call(edge, "DestroyEverything")
    assert (refused.status, refused.code) == (404, "InvalidAction.NotFound")
    refused = call(edge, "DescribeRegions", Version="2001-01-01")
    assert (refused.status, refused.code) == (400, "InvalidVersion")
    refused = call(edge, "DescribeRegions", Version="2016-04-28")
    assert (refused.status, refused.code) == (404, "InvalidAction.NotFound")
    assert call(edge, "DescribeVpcs", Version="2016-04-28").status == 200


def test_unexpected_errors_stay_in_the_log(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    refused = call(edge, "FailUnexpectedly", Version="2026-11-01")
    assert (refused.status, refused.code) == (500, "InternalError")
    assert "secret detail" not in refused.body.decode()
    assert "secret detail" in caplog.text
    assert refused.json["RequestId"] in caplog.text
    refused = call(edge, "FailInDriver", Version="2026-11-01")
    assert (refused.status, refused.message) == (503, "cannot reach libvirt at qemu:///system: start libvirtd")


def test_more_at_once_than_there_are_workers(edge: Edge) -> None:
    connections = [socket.create_connection(raw(edge), timeout=30) for _ in range(100)]
    for connection in connections:
        target = signed_target("DescribeRegions")
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    for connection in connections:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.close()
