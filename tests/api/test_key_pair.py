"""Key pairs over the API: creation, import, listing, deletion (SPEC K1, K2, K4)."""

from __future__ import annotations

import base64
import hashlib
import json
import threading

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from agent.core.errors import ApiError, InvalidParameter
from agent.core.ids import is_id
from agent.store.schema import KeyPair
from tests.support.cloud import Cloud

OPENSSH = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


def public_text(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return private.public_key().public_bytes(*OPENSSH).decode()


@pytest.fixture(scope="module")
def ed25519_text() -> str:
    return public_text(ed25519.Ed25519PrivateKey.generate())


def test_a_created_key_is_shown_once_and_only_its_public_half_is_kept(cloud: Cloud) -> None:
    made = cloud.call("CreateKeyPair", {"KeyPairName": "mine", "Tag.1.Key": "team", "Tag.1.Value": "a"})
    assert is_id("keypair", made["KeyPairId"])
    assert made["PrivateKeyBody"].startswith("-----BEGIN PRIVATE KEY-----\n")  # PKCS#8, not encrypted
    private = serialization.load_pem_private_key(made["PrivateKeyBody"].encode(), password=None)
    assert isinstance(private, rsa.RSAPrivateKey)
    assert private.key_size == 2048
    public = public_text(private)
    digest = hashlib.md5(base64.b64decode(public.split()[1])).hexdigest()
    assert made["KeyPairFingerPrint"].replace(":", "") == digest
    [shown] = cloud.call("DescribeKeyPairs", {"IncludePublicKey": True})["KeyPairs"]["KeyPair"]
    assert shown["PublicKey"] == public
    assert shown["Tags"] == {"Tag": [{"TagKey": "team", "TagValue": "a"}]}
    assert "PRIVATE" not in cloud.store.path.read_bytes().decode("latin-1")


@pytest.mark.parametrize("form", ["text", "text with comment", "base64", "base64 in lines"])
def test_a_key_is_imported_as_text_or_base64_of_it(cloud: Cloud, ed25519_text: str, form: str) -> None:
    text = ed25519_text + (" me@host\n" if "comment" in form else "")
    body = base64.b64encode(text.encode()).decode() if "base64" in form else text
    if "lines" in form:
        body = "\n".join(body[i : i + 40] for i in range(0, len(body), 40))
    cloud.call("ImportKeyPair", {"KeyPairName": "mine", "PublicKeyBody": body})
    [shown] = cloud.call("DescribeKeyPairs", {"IncludePublicKey": True})["KeyPairs"]["KeyPair"]
    assert shown["PublicKey"] == ed25519_text


def test_what_is_no_usable_public_key_is_refused_and_not_repeated(cloud: Cloud, ed25519_text: str) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    bad = {
        "private key": pem,
        "a private key": base64.b64encode(pem.encode()).decode(),
        "DSA": "ssh-dss AAAAB3NzaC1kc3MAAACBAPkd1qxcQZ6V0rS7Mz8pVwqv2mRzT5",
        "1024 bits": public_text(rsa.generate_private_key(65537, 1024)),
        "damaged": ed25519_text[:-10],
        "one line": ed25519_text + "\n" + ed25519_text,
        "nor Base64": "garbage!",
        "not supported": "ssh-rainbow AAAAC3Nz",
    }
    for why, body in bad.items():
        with pytest.raises(ApiError, match=why) as caught:
            cloud.call("ImportKeyPair", {"KeyPairName": "mine", "PublicKeyBody": body})
        assert caught.value.code == "InvalidPublicKeyBody.Malformed", why
        assert body.strip()[4:60] not in caught.value.message
    assert cloud.call("DescribeKeyPairs")["TotalCount"] == 0


def test_names_are_checked_and_taken_once(cloud: Cloud, ed25519_text: str) -> None:
    cloud.call("ImportKeyPair", {"KeyPairName": "mine", "PublicKeyBody": ed25519_text})
    with pytest.raises(ApiError) as caught:
        cloud.call("CreateKeyPair", {"KeyPairName": "mine"})
    assert caught.value.code == "KeyPair.AlreadyExist"
    with pytest.raises(InvalidParameter) as malformed:
        cloud.call("CreateKeyPair", {"KeyPairName": "1st"})
    assert malformed.value.code == "InvalidKeyPairName.Malformed"
    other = cloud.add_account()
    cloud.call("ImportKeyPair", {"KeyPairName": "mine", "PublicKeyBody": ed25519_text}, account_id=other)


def test_listing_filters_and_pages(cloud: Cloud, ed25519_text: str) -> None:
    names = ["web-1", "web-2", "db-1", "web?"]
    for name in names[:3]:
        cloud.clock.advance(60)
        cloud.call("ImportKeyPair", {"KeyPairName": name, "PublicKeyBody": ed25519_text})

    def listed(**params: object) -> list[str]:
        answer = cloud.call("DescribeKeyPairs", dict(params))
        return [pair["KeyPairName"] for pair in answer["KeyPairs"]["KeyPair"]]

    assert listed() == ["web-1", "web-2", "db-1"]
    assert listed(KeyPairName="web*") == ["web-1", "web-2"]
    assert listed(KeyPairName="*-1") == ["web-1", "db-1"]
    assert listed(KeyPairName="WEB*") == []
    assert listed(KeyPairName="web-?") == []
    assert listed(PageSize=2, PageNumber=2) == ["db-1"]
    [first] = cloud.call("DescribeKeyPairs", {"KeyPairName": "db-1"})["KeyPairs"]["KeyPair"]
    assert len(listed(KeyPairFingerPrint=first["KeyPairFingerPrint"].replace(":", ""))) == 3
    assert listed(KeyPairFingerPrint="00") == []
    answer = cloud.call("DescribeKeyPairs", {"PageSize": 2})
    assert (answer["TotalCount"], answer["PageNumber"], answer["PageSize"]) == (3, 1, 2)
    with pytest.raises(InvalidParameter):
        cloud.call("DescribeKeyPairs", {"PageSize": 51})


def test_several_are_deleted_or_none(cloud: Cloud, ed25519_text: str) -> None:
    for name in ("one", "two"):
        cloud.call("ImportKeyPair", {"KeyPairName": name, "PublicKeyBody": ed25519_text})
    with pytest.raises(ApiError) as caught:
        cloud.call("DeleteKeyPairs", {"KeyPairNames": json.dumps(["one", "three"])})
    assert (caught.value.code, caught.value.status) == ("InvalidKeyPair.NotFound", 404)
    assert cloud.call("DescribeKeyPairs")["TotalCount"] == 2
    cloud.call("DeleteKeyPairs", {"KeyPairNames": json.dumps(["one", "two"])})
    assert cloud.call("DescribeKeyPairs")["TotalCount"] == 0
    cloud.call("ImportKeyPair", {"KeyPairName": "one", "PublicKeyBody": ed25519_text})


def test_a_name_deleted_while_bound_is_never_used_again(cloud: Cloud, ed25519_text: str) -> None:
    cloud.call("ImportKeyPair", {"KeyPairName": "mine", "PublicKeyBody": ed25519_text})
    _, vswitch_id = cloud.default_vswitch()
    cloud.add_instance(vswitch_id, [], key_pair_name="mine")
    cloud.call("DeleteKeyPairs", {"KeyPairNames": '["mine"]'})
    assert cloud.call("DescribeKeyPairs")["TotalCount"] == 0
    with pytest.raises(ApiError) as caught:
        cloud.call("CreateKeyPair", {"KeyPairName": "mine"})
    assert caught.value.code == "KeyPair.AlreadyExist"
    with pytest.raises(ApiError) as gone:
        cloud.call("DeleteKeyPairs", {"KeyPairNames": '["mine"]'})
    assert gone.value.code == "InvalidKeyPair.NotFound"
    with cloud.store.read() as session:  # the instance's own key lives on for its seed
        assert session.query(KeyPair).one().public_key == ed25519_text


def test_the_quota_holds_against_many_at_once(make_cloud, ed25519_text: str) -> None:
    cloud: Cloud = make_cloud(quotas={"key_pairs": 5})
    refused: list[str] = []

    def add(number: int) -> None:
        try:
            cloud.call("ImportKeyPair", {"KeyPairName": f"key-{number}", "PublicKeyBody": ed25519_text})
        except ApiError as error:
            refused.append(error.code)

    threads = [threading.Thread(target=add, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["QuotaExceed.KeyPair"] * 7
    assert cloud.call("DescribeKeyPairs")["TotalCount"] == 5


def test_another_region_is_refused(cloud: Cloud) -> None:
    with pytest.raises(ApiError) as caught:
        cloud.call("DescribeKeyPairs", {"RegionId": "cn-hangzhou"})
    assert caught.value.code == "InvalidRegionId.NotFound"
