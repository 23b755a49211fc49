"""What a signed request must prove, and how each failure is told."""

from __future__ import annotations

import datetime as dt
import hashlib
import re

import pytest
from aliyunsdkcore.auth.composer.rpc_signature_composer import get_signed_url

from agent.api.edge import request, signature
from agent.api.edge.nonces import NonceCache
from tests.api.live import KEY, SECRET, Edge
from tests.api.wire import Answer, call, exchange, send, signed_target

V3_NAMES = ("x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256", "host")


@pytest.mark.parametrize("value", ["", "a b", "+", "*", "~", "%", "/", "名", "é\u0301", "a=b&c", "'\"", "\n", "!()"])
def test_version_1_string_to_sign_is_the_sdks(value: str) -> None:
    target, string_to_sign = get_signed_url(
        {"Action": "DescribeRegions", "Z.1": value, "a": "1", "B": ""}, KEY, SECRET, "JSON", "POST", {"Body.1": value}
    )
    body = signature._canonical([("Body.1", value)]).encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    received = request.read("POST", target, headers, body, request.Peer())
    assert signature.v1_string_to_sign(received) == string_to_sign
    assert signature.v1_signature(string_to_sign, SECRET) == received.params["Signature"]


def test_a_replay_is_refused(edge: Edge) -> None:
    target = signed_target("DescribeRegions")
    assert send(edge, target).status == 200
    again = send(edge, target)
    assert (again.status, again.code) == (400, "SignatureNonceUsed")


def test_a_refused_signature_uses_up_no_nonce(edge: Edge) -> None:
    target = signed_target("DescribeRegions")
    forged = re.sub(r"Signature=[^&]+", "Signature=AAAA", target)
    assert send(edge, forged).code == "SignatureDoesNotMatch"
    assert send(edge, target).status == 200


@pytest.mark.parametrize("offset", [-16 * 60, 16 * 60])
def test_clock_skew(edge: Edge, offset: int) -> None:
    edge.clock.offset = offset
    refused = call(edge, "DescribeRegions")
    assert (refused.status, refused.code) == (400, "InvalidTimeStamp.Expired")
    edge.clock.offset = offset * 14 / 16
    assert call(edge, "DescribeRegions").status == 200


@pytest.mark.parametrize("timestamp", ["yesterday", "2026-13-01T00:00:00Z", "2026-11-23 07:35:00", "9" * 300])
def test_a_malformed_timestamp(edge: Edge, timestamp: str) -> None:
    target = re.sub(r"Timestamp=[^&]+", f"Timestamp={timestamp.replace(' ', '%20')}", signed_target("DescribeRegions"))
    refused = send(edge, target)
    assert (refused.status, refused.code) == (400, "IllegalTimestamp")


def test_a_changed_parameter_breaks_the_signature(edge: Edge) -> None:
    target = signed_target("DeleteInstance", InstanceId="i-1")
    refused = send(edge, target.replace("i-1", "i-2"))
    assert (refused.status, refused.code) == (400, "SignatureDoesNotMatch")
    assert "Specified signature is not matched with our calculation. server string to sign is:GET&%2F&" in (
        refused.message
    )


@pytest.mark.parametrize("name", ["Password", "UserData"])
def test_a_string_to_sign_that_holds_a_secret_is_not_told(edge: Edge, name: str) -> None:
    refused = send(edge, signed_target("RunInstances", **{name: "Secret-123"}).replace("Secret", "Other"))
    assert (refused.status, refused.code) == (400, "SignatureDoesNotMatch")
    assert "-123" not in refused.message


@pytest.mark.parametrize("name", ["AccessKeyId", "Signature", "SignatureNonce", "Timestamp", "SignatureMethod"])
def test_a_missing_part_is_named(edge: Edge, name: str) -> None:
    refused = send(edge, re.sub(rf"(?<=[?&]){name}=[^&]+&?", "", signed_target("DescribeRegions")))
    assert refused.status == 400
    assert refused.code == "MissingParameter"
    assert f'"{name}"' in refused.message


def test_other_algorithms_are_refused(edge: Edge) -> None:
    refused = send(edge, signed_target("DescribeRegions").replace("HMAC-SHA1", "HMAC-MD5"))
    assert refused.code == "IncompleteSignature"


def test_without_a_signature_the_network_gets_nothing(edge: Edge) -> None:
    refused = send(edge, "/?Action=DescribeRegions&Version=2014-05-26&Format=JSON")
    assert (refused.status, refused.code) == (400, "MissingParameter")
    refused = send(edge, "/", headers={"x-acs-action": "DescribeRegions", "x-acs-version": "2014-05-26"})
    assert (refused.status, refused.code) == (400, "MissingParameter")


# ------------------------------------------------------------------------------ version 3


def v3(
    edge: Edge,
    *,
    signed: tuple[str, ...] = V3_NAMES,
    sent_body: bytes | None = None,
    change: dict[str, str] | None = None,
    nonce: str = "n",
    query: str = "",
) -> Answer:
    """A request of version 3, signed over `signed`, then changed by `change`."""
    body = b"InstanceName=x"
    headers = {
        "host": edge.address,
        "x-acs-action": "DescribeRegions",
        "x-acs-version": "2014-05-26",
        "x-acs-date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": nonce,
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
    }
    received = request.read("POST", "/" + query, headers, body, request.Peer())
    proof = signature.v3_signature(signature.v3_string_to_sign(received, signed), SECRET)
    headers["Authorization"] = f"ACS3-HMAC-SHA256 Credential={KEY},SignedHeaders={';'.join(signed)},Signature={proof}"
    headers.update(change or {})
    return send(edge, "/" + query, "POST", body if sent_body is None else sent_body, headers)


def test_version_3_by_hand(edge: Edge) -> None:
    assert v3(edge).status == 200
    assert v3(edge).code == "SignatureNonceUsed"
    assert v3(edge, nonce="m", query="?b=&a=%E4%B8%80+x").status == 200


@pytest.mark.parametrize("name", V3_NAMES[:4] + V3_NAMES[5:])
def test_what_decides_the_request_must_be_signed(edge: Edge, name: str) -> None:
    refused = v3(edge, signed=tuple(n for n in V3_NAMES if n != name))
    assert (refused.status, refused.code) == (400, "IncompleteSignature")
    assert name in refused.message


def test_a_changed_body_is_refused(edge: Edge) -> None:
    refused = v3(edge, sent_body=b"InstanceName=y")
    assert (refused.status, refused.code) == (400, "IncompleteSignature")


@pytest.mark.parametrize("change", [{"x-acs-action": "DeleteInstance"}, {"x-acs-signature-nonce": "other"}])
def test_a_changed_header_breaks_the_signature(edge: Edge, change: dict[str, str]) -> None:
    refused = v3(edge, change=change)
    assert (refused.status, refused.code) == (400, "SignatureDoesNotMatch")
    assert "server StringToSign is [ACS3-HMAC-SHA256\n" in refused.message


@pytest.mark.parametrize(
    "header",
    [
        "ACS3-HMAC-SHA256",
        "ACS3-HMAC-SHA256 Credential=,SignedHeaders=host,Signature=00",
        "ACS3-HMAC-SHA256 Credential=a,Signature=00",
        "ACS3-HMAC-SM3 Credential=a,SignedHeaders=host,Signature=00",
        "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host,Signature=\xff\xfe",
    ],
)
def test_a_malformed_authorization(edge: Edge, header: str) -> None:
    refused = v3(edge, change={"Authorization": header})
    assert (refused.status, refused.code) == (400, "IncompleteSignature")


def test_an_action_that_is_not_signed_decides_nothing(edge: Edge) -> None:
    # Signed by version 1 for a harmless action, with the header of another one added on the way.
    target = signed_target("DescribeRegions")
    answer = send(edge, target, headers={"x-acs-action": "DeleteInstance", "x-acs-version": "2014-05-26"})
    assert "Regions" in answer.json


def test_an_authorization_of_another_kind_is_no_signature(edge: Edge) -> None:
    refused = send(edge, "/?Action=DescribeRegions&Version=2014-05-26", headers={"Authorization": "Basic eDp5"})
    assert refused.code == "MissingParameter"


def test_a_signed_request_on_the_unix_socket_is_checked_like_any_other(edge: Edge) -> None:
    target = signed_target("DescribeRegions", secret="wrong")
    refused = exchange(str(edge.socket), f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert refused.code == "SignatureDoesNotMatch"
    good = exchange(str(edge.socket), f"GET {signed_target('DescribeRegions')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert good.status == 200


# ------------------------------------------------------------------------------ nonces


def test_nonces_are_forgotten_when_their_requests_have_expired() -> None:
    cache = NonceCache()
    assert cache.add("k", "n", expires=900, now=0)
    assert not cache.add("k", "n", expires=900, now=899)
    assert cache.add("other", "n", expires=900, now=899)
    assert cache.add("k", "n", expires=2000, now=1100)
    assert len(cache) == 1


def test_nonces_are_bounded_for_each_key() -> None:
    cache = NonceCache(per_key=3)
    for number in range(3):
        assert cache.add("k", str(number), expires=900, now=0)
    with pytest.raises(OverflowError):
        cache.add("k", "3", expires=900, now=0)
    assert cache.add("other", "3", expires=900, now=0)
