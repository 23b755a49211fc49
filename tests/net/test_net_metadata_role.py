"""What is secret in the metadata: credentials of an instance's role, tokens, identity (SPEC I11, I12).

The agent is a real one; the guests on a veth are known to it like instances that run.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
from alibabacloud_tea_openapi.models import Config
from aliyunsdkcore.auth.credentials import StsTokenCredential
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest
from darabonba.exceptions import DaraException
from metadata_site import Answer, Site, answer_to, answers, ask, connect, running_site
from vpc_lab import SILENCE, Guest

from agent.core.addresses import METADATA_ADDRESS
from agent.core.identity import Session
from agent.policy import trust
from agent.services import sts
from agent.store.schema import Role
from agent.store.secrets import Sealer
from tests.support.agent import HOST, RAM, REPOSITORY
from tests.support.waiting import wait_for

pytestmark = pytest.mark.net

CREDENTIALS = "/latest/meta-data/ram/security-credentials/"
IDENTITY = "/latest/dynamic/instance-identity/"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site() as made:
        yield made


@pytest.fixture(scope="module")
def one(site: Site) -> Guest:
    """With the role `reader`, in a VPC with `two`, which has none."""
    call = site.agent.call
    call("CreateRole", RAM, RoleName="reader", AssumeRolePolicyDocument=trust.document([trust.ECS_SERVICE]))
    policy = {"PolicyType": "System", "PolicyName": "AliyunECSReadOnlyAccess"}
    call("AttachPolicyToRole", RAM, RoleName="reader", **policy)
    vpc_id = site.vpc()
    made = site.guest(vpc_id, "192.168.0.1")
    ids = json.dumps([made.port.instance_id])
    assert call("AttachInstanceRamRole", InstanceIds=ids, RamRoleName="reader")["FailCount"] == 0
    return made


@pytest.fixture(scope="module")
def two(site: Site, one: Guest) -> Guest:
    return site.guest(one.port.vpc_id, "192.168.0.2")


def credentials_of(guest: Guest) -> dict[str, str]:
    role = ask(guest, CREDENTIALS).body.decode()
    found: dict[str, str] = json.loads(ask(guest, CREDENTIALS + role).body)
    return found


def http_address(site: Site) -> str:
    return str(site.agent.settings["http"])


def current_sdk(site: Site, given: dict[str, str]) -> Client:
    config = Config(
        access_key_id=given["AccessKeyId"],
        access_key_secret=given["AccessKeySecret"],
        security_token=given["SecurityToken"],
        endpoint=http_address(site),
        protocol="http",
    )
    return Client(config)


def test_a_program_in_the_guest_acts_as_the_role(site: Site, one: Guest) -> None:
    assert ask(one, CREDENTIALS).body == b"reader"
    given = credentials_of(one)
    assert given["Code"] == "Success"
    left = dt.datetime.fromisoformat(given["Expiration"]) - dt.datetime.now(dt.UTC)
    assert dt.timedelta(hours=1) < left <= dt.timedelta(hours=6)
    assert credentials_of(one) == given  # kept until it is time for new ones
    shown = current_sdk(site, given).describe_instances(models.DescribeInstancesRequest(region_id="local")).body
    assert one.port.instance_id in [instance.instance_id for instance in shown.instances.instance]
    with pytest.raises(DaraException) as caught:
        current_sdk(site, given).delete_instance(models.DeleteInstanceRequest(instance_id=one.port.instance_id))
    assert caught.value.code == "Forbidden.RAM"
    # The audit log says whose they are.
    audit = (Path(site.agent.settings["log_dir"]) / "audit.log").read_text().splitlines()
    last = json.loads(audit[-1])
    assert (last["principal"], last["code"]) == (f"role/reader/{one.port.instance_id}", "Forbidden.RAM")
    assert given["AccessKeySecret"] not in "\n".join(audit)
    assert given["SecurityToken"] not in "\n".join(audit)
    assert given["SecurityToken"] not in site.agent.output()


def test_the_first_sdk_does_too(site: Site, one: Guest) -> None:
    given = credentials_of(one)
    credential = StsTokenCredential(given["AccessKeyId"], given["AccessKeySecret"], given["SecurityToken"])
    request = CommonRequest(product="Sts", version="2015-04-01", action_name="GetCallerIdentity")
    request.set_endpoint(http_address(site))
    client = AcsClient(region_id="local", credential=credential, timeout=20, auto_retry=False)
    found = json.loads(client.do_action_with_exception(request))
    assert found["Arn"].endswith(f":assumed-role/reader/{one.port.instance_id}")


def test_expired_credentials_are_refused(site: Site, one: Guest) -> None:
    # As the agent gave them seven hours ago: sealed with its own key.
    with site.store.read() as session:
        role = session.query(Role).filter_by(name="reader").one()
    sealer = Sealer(site.agent.root / "data/host.key")
    ago = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    old = sts.issue(sealer, role, Session(role.id, one.port.instance_id), ago)
    given = {"AccessKeyId": old.access_key_id, "AccessKeySecret": old.secret, "SecurityToken": old.token}
    with pytest.raises(DaraException) as caught:
        current_sdk(site, given).describe_instances(models.DescribeInstancesRequest(region_id="local"))
    assert caught.value.code == "InvalidSecurityToken.Expired"


def test_no_other_guest_gets_them(site: Site, one: Guest, two: Guest) -> None:
    for path in (CREDENTIALS, CREDENTIALS + "reader", "/latest/meta-data/ram/"):
        assert ask(two, path).status == 404
    claims = {"X_Real_IP": one.ip, "Forwarded": f"for={one.ip}", "X_Forwarded_For": one.ip}
    assert ask(two, CREDENTIALS + "reader", **claims).status == 404
    elsewhere = site.guest(site.vpc(), one.ip)  # the same address in another VPC
    assert ask(elsewhere, CREDENTIALS + "reader").status == 404
    two.sh("ip", "address", "add", f"{one.ip}/32", "dev", "eth0")
    try:
        with pytest.raises(TimeoutError):
            connect(two, source=one.ip, timeout=SILENCE)
    finally:
        two.sh("ip", "address", "del", f"{one.ip}/32", "dev", "eth0")


def put_token(guest: Guest, seconds: int = 60, **headers: str) -> Answer:
    return ask(guest, "/latest/api/token", "PUT", X_aliyun_ecs_metadata_token_ttl_seconds=str(seconds), **headers)


def with_token(guest: Guest, path: str, token: bytes) -> int:
    return ask(guest, path, X_aliyun_ecs_metadata_token=token.decode()).status


def modify(site: Site, guest: Guest, **options: str) -> None:
    site.agent.call("ModifyInstanceMetadataOptions", InstanceId=guest.port.instance_id, **options)


def test_the_hardened_mode_of_one_instance(site: Site, one: Guest, two: Guest) -> None:
    modify(site, one, HttpEndpoint="enabled", HttpTokens="required")
    try:
        for path in (CREDENTIALS + "reader", "/latest/meta-data/", "/latest/user-data", "/"):
            assert ask(one, path).status == 403
        token = put_token(one).body
        assert with_token(one, CREDENTIALS + "reader", token) == 200
        assert with_token(one, CREDENTIALS + "reader", b"made-up") == 401
        # Another's token is none, and tokens are not given to who is forwarded.
        assert with_token(one, "/latest/meta-data/", put_token(two).body) == 401
        assert with_token(two, "/latest/meta-data/", token) == 401
        assert put_token(one, X_Forwarded_For=two.ip).status == 403
        assert put_token(one, 21601).status == 400
        assert ask(two, "/latest/meta-data/").status == 200
        # A token outlives the agent.
        site.agent.kill()
        site.agent.start()
        wait_for("the service", lambda: answers(one), 20)
        assert with_token(one, "/latest/meta-data/", token) == 200
    finally:
        modify(site, one, HttpTokens="optional")
    assert ask(one, "/latest/meta-data/").status == 200


def test_a_service_that_is_switched_off(site: Site, one: Guest, two: Guest) -> None:
    modify(site, two, HttpEndpoint="disabled")
    try:
        assert ask(two, "/latest/meta-data/").status == 403
        assert put_token(two).status == 403
        assert ask(one, "/latest/meta-data/").status == 200
    finally:
        modify(site, two, HttpEndpoint="enabled")
    assert ask(two, "/latest/meta-data/").status == 200


def test_it_leads_nowhere_else(site: Site, one: Guest) -> None:
    port = http_address(site).rpartition(":")[2]
    for target in (f"http://127.0.0.1:{port}/?Action=DescribeInstances", f"http://{METADATA_ADDRESS}:{port}/", "//x/"):
        answer = answer_to(one, f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert b"RequestId" not in answer
        assert b"Instances" not in answer
    for address in (METADATA_ADDRESS, one.port.gateway):
        with pytest.raises(OSError, match=r"refused|timed out"):
            _dial(one, address, int(port))


def _dial(guest: Guest, address: str, port: int) -> None:
    with guest.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(SILENCE)
        sock.connect((address, port))


def test_openssl_verifies_who_the_guest_is(site: Site, one: Guest, tmp_path: Path) -> None:
    def save(name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)

    document = ask(one, f"{IDENTITY}document?audience=the-verifier").body
    assert json.loads(document)["instance-id"] == one.port.instance_id
    assert json.loads(document)["audience"] == "the-verifier"
    save("document", document)
    pkcs7 = ask(one, f"{IDENTITY}pkcs7?audience=the-verifier").body
    save("pkcs7", b"-----BEGIN PKCS7-----\n" + pkcs7 + b"\n-----END PKCS7-----\n")
    # A verifier fetches the certificate from the agent, not from the one who wants to be believed.
    certificate = site.agent.call("DescribeInstanceIdentityCertificate", HOST)["Certificate"].encode()
    save("certificate.pem", certificate)
    with urllib.request.urlopen(f"http://{http_address(site)}/instance-identity/certificate.pem") as answer:
        assert answer.read() == certificate
    assert ask(one, f"{IDENTITY}certificate").body == certificate
    assert _verified(tmp_path)
    save("document", document.replace(b"the-verifier", b"somebody-els"))
    assert not _verified(tmp_path)
    save("document", ask(one, f"{IDENTITY}document").body)
    assert not _verified(tmp_path)  # it was signed with the audience
    signature = base64.b64decode(ask(one, f"{IDENTITY}signature").body)
    save("signature", signature)
    public = ["openssl", "x509", "-in", "certificate.pem", "-pubkey", "-noout", "-out", "public.pem"]
    subprocess.run(public, cwd=tmp_path, check=True)
    checked = ["openssl", "dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "document"]
    subprocess.run(checked, cwd=tmp_path, check=True)


def _verified(directory: Path) -> bool:
    """As docs/metadata.md says."""
    text = (REPOSITORY / "docs/metadata.md").read_text()
    [command] = [line for line in text.splitlines() if line.startswith("openssl smime")]
    return subprocess.run(["sh", "-c", command], cwd=directory, capture_output=True).returncode == 0
