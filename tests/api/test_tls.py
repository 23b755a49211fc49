"""The own certificate authority: made once, trusted by clients, server certificates renewed by themselves."""

from __future__ import annotations

import datetime as dt
import http.client
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from alibabacloud_ecs20140526 import models as tea_models
from alibabacloud_ecs20140526.client import Client as TeaClient
from alibabacloud_tea_openapi.models import Config as TeaConfig

from agent.api.edge.tls import LIFE, Tls, host_names
from agent.core.clock import ManualClock
from tests.api.live import KEY, SECRET, Edge
from tests.api.wire import answer_of, signed_target


def get(edge: Edge, host: str, ca: Path | None) -> int:
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    connection = http.client.HTTPSConnection(host, edge.server.https_port, context=context, timeout=30)
    try:
        connection.request("GET", signed_target("DescribeRegions"))
        return answer_of(connection.getresponse()).status
    finally:
        connection.close()


def test_https_with_our_authority(make_edge: Callable[..., Edge]) -> None:
    edge = make_edge(https="127.0.0.1:0")
    ca = edge.server.ca_path
    assert ca is not None
    assert get(edge, "127.0.0.1", ca) == 200
    assert get(edge, "localhost", ca) == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        get(edge, "127.0.0.1", None)


def test_the_sdk_trusts_it(make_edge: Callable[..., Edge]) -> None:
    edge = make_edge(https="127.0.0.1:0")
    assert edge.server.ca_path is not None
    client = TeaClient(
        TeaConfig(
            access_key_id=KEY,
            access_key_secret=SECRET,
            endpoint=f"127.0.0.1:{edge.server.https_port}",
            protocol="https",
            ca=str(edge.server.ca_path),
        )
    )
    assert client.describe_regions(tea_models.DescribeRegionsRequest()).body.regions.region[0].region_id == "local"


def test_old_tls_is_off(tmp_path: Path) -> None:
    assert Tls(tmp_path).context().minimum_version == ssl.TLSVersion.TLSv1_2


def test_keys_are_private_and_everything_is_kept(tmp_path: Path) -> None:
    Tls(tmp_path / "tls").context()
    files = {path.name: path.read_bytes() for path in (tmp_path / "tls").iterdir()}
    assert sorted(files) == ["ca.key", "ca.pem", "server.key", "server.pem"]
    for name, mode in (("ca.key", 0o600), ("server.key", 0o600), ("ca.pem", 0o644)):
        assert stat.S_IMODE((tmp_path / "tls" / name).stat().st_mode) == mode
    again = Tls(tmp_path / "tls")
    again.context()
    assert not again.renew()
    assert {path.name: path.read_bytes() for path in (tmp_path / "tls").iterdir()} == files


def test_renewal_before_expiry_keeps_the_authority(tmp_path: Path) -> None:
    clock = ManualClock(dt.datetime(2026, 11, 23, tzinfo=dt.UTC))
    tls = Tls(tmp_path, clock=clock)
    tls.context()
    ca, server = (tmp_path / "ca.pem").read_bytes(), (tmp_path / "server.pem").read_bytes()
    clock.advance((LIFE - dt.timedelta(days=31)).total_seconds())
    assert not tls.renew()
    clock.advance(2 * 86400)
    assert tls.renew()
    assert (tmp_path / "server.pem").read_bytes() != server
    assert tls.ca_path.read_bytes() == ca


def test_a_new_name_makes_a_new_certificate(tmp_path: Path) -> None:
    Tls(tmp_path).context()
    assert Tls(tmp_path, ["cloud.example"]).renew()
    assert not Tls(tmp_path, ["cloud.example"]).renew()
    assert Tls(tmp_path, ["192.0.2.7", "not a name", ""]).renew()


@pytest.mark.parametrize("name", ["ca.pem", "ca.key", "server.pem", "server.key"])
def test_a_damaged_or_missing_file_is_made_anew(tmp_path: Path, name: str) -> None:
    Tls(tmp_path).context()
    (tmp_path / name).write_bytes(b"damaged")
    assert Tls(tmp_path).context().cert_store_stats()
    (tmp_path / name).unlink()
    assert Tls(tmp_path).context().cert_store_stats()


def test_the_hosts_own_names() -> None:
    names = host_names()
    assert {"localhost", "127.0.0.1", "::1", socket.gethostname()} <= names
