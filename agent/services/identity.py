"""The host's signature under identity documents (SPEC I11): whoever trusts its certificate knows its guests.

Key and certificate are made once, at the first start, and stay: what was signed can be verified later.
"""

from __future__ import annotations

import base64
import datetime as dt
import threading
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from agent.core.clock import Clock
from agent.store.secrets import write_private

LIFE = dt.timedelta(days=36500)  # the certificate is trusted by itself: nothing would renew it for its verifiers
RSA_BITS = 2048


class IdentityKey:
    """Key and certificate in one PEM file, made when they are first needed. Thread-safe."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock
        self._making = threading.Lock()

    def certificate(self) -> str:
        """PEM."""
        return self._pair[1].public_bytes(serialization.Encoding.PEM).decode()

    def pkcs7(self, document: str) -> str:
        """A detached PKCS#7 signature: PEM without its first and last line."""
        key, certificate = self._pair
        options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
        signed = (
            pkcs7.PKCS7SignatureBuilder()
            .set_data(document.encode())
            .add_signer(certificate, key, hashes.SHA256())
            .sign(serialization.Encoding.PEM, options)
        )
        return "\n".join(signed.decode().strip().splitlines()[1:-1])

    def signature(self, document: str) -> str:
        """RSA with SHA-256 (PKCS#1 v1.5), in Base64."""
        return base64.b64encode(self._pair[0].sign(document.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()

    @cached_property
    def _pair(self) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
        with self._making:
            if not self._path.exists():
                write_private(self._path, _make(self._clock.now()))
            pem = self._path.read_bytes()
        key = serialization.load_pem_private_key(pem, password=None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key, x509.load_pem_x509_certificate(pem)


def _make(now: dt.datetime) -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ECS instance identity")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
