"""Signatures of identity documents, verified as docs/metadata.md says, by openssl."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

from agent.core.clock import ManualClock
from agent.services.identity import IdentityKey
from tests.support.cloud import START

DOCUMENT = '{"instance-id":"i-1","audience":"me"}'


def openssl(directory: Path, *arguments: str) -> int:
    return subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True).returncode


def write(directory: Path, key: IdentityKey, document: str = DOCUMENT) -> None:
    (directory / "document").write_text(document)
    (directory / "certificate.pem").write_text(key.certificate())
    pkcs7 = key.pkcs7(DOCUMENT)
    (directory / "pkcs7").write_text(f"-----BEGIN PKCS7-----\n{pkcs7}\n-----END PKCS7-----\n")
    (directory / "signature").write_bytes(base64.b64decode(key.signature(DOCUMENT)))


def verified(directory: Path) -> tuple[bool, bool]:
    files = ("-in", "pkcs7", "-inform", "PEM", "-content", "document", "-certfile", "certificate.pem")
    by_pkcs7 = openssl(directory, "smime", "-verify", *files, "-nointern", "-noverify", "-out", "verified")
    openssl(directory, "x509", "-in", "certificate.pem", "-pubkey", "-noout", "-out", "public.pem")
    by_signature = openssl(directory, "dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "document")
    return by_pkcs7 == 0, by_signature == 0


def test_openssl_verifies_both_kinds(tmp_path: Path) -> None:
    key = IdentityKey(tmp_path / "identity.pem", ManualClock(START))
    write(tmp_path, key)
    assert verified(tmp_path) == (True, True)
    assert "-----" not in key.pkcs7(DOCUMENT)
    assert (tmp_path / "identity.pem").stat().st_mode & 0o777 == 0o600


def test_a_changed_document_or_another_hosts_signature_is_found_out(tmp_path: Path) -> None:
    write(tmp_path, IdentityKey(tmp_path / "identity.pem", ManualClock(START)), document=DOCUMENT.replace("i-1", "i-2"))
    assert verified(tmp_path) == (False, False)
    write(tmp_path, IdentityKey(tmp_path / "identity.pem", ManualClock(START)))
    other = IdentityKey(tmp_path / "other.pem", ManualClock(START))
    (tmp_path / "certificate.pem").write_text(other.certificate())
    assert verified(tmp_path) == (False, False)


def test_the_key_outlives_the_agent(tmp_path: Path) -> None:
    first = IdentityKey(tmp_path / "identity.pem", ManualClock(START)).certificate()
    assert IdentityKey(tmp_path / "identity.pem", ManualClock(START)).certificate() == first
