"""TLS with an own certificate authority, made at the first start with https on.

`<directory>/ca.pem` is what clients trust; it outlives server certificates, which are renewed by themselves
before they expire and whenever the host's names or addresses change.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import logging
import os
import re
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.core.clock import Clock, SystemClock

logger = logging.getLogger(__name__)

CA_LIFE = dt.timedelta(days=3650)
LIFE = dt.timedelta(days=397)  # what clients accept at most
RENEW_BEFORE = dt.timedelta(days=30)
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z")
_LOCAL = re.compile(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL")


@dataclass(frozen=True)
class _Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Tls:
    """The files in `directory` and the context made of them; `names`: further host names or addresses to answer to."""

    def __init__(self, directory: Path, names: Iterable[str] = (), clock: Clock | None = None) -> None:
        self.directory = directory
        self._names = tuple(names)
        self._clock = clock or SystemClock()
        self._context: ssl.SSLContext | None = None

    @property
    def ca_path(self) -> Path:
        """The certificate that clients shall trust."""
        return self.directory / "ca.pem"

    def context(self) -> ssl.SSLContext:
        """For the server; certificates are made or renewed as needed. Raises OSError when files cannot be written."""
        if self._context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._ensure()
            context.load_cert_chain(self.directory / "server.pem", self.directory / "server.key")
            self._context = context
        return self._context

    def renew(self) -> bool:
        """Make a new certificate if it is time to; new connections use it at once. Whether there is a new one."""
        if not self._ensure():
            return False
        if self._context is not None:
            self._context.load_cert_chain(self.directory / "server.pem", self.directory / "server.key")
        return True

    def _ensure(self) -> bool:
        self.directory.mkdir(parents=True, exist_ok=True)
        now = self._clock.now()
        ca = _load(self.ca_path, self.directory / "ca.key")
        if ca is None or ca.certificate.not_valid_after_utc - now < RENEW_BEFORE:
            ca = _make_ca(now)
            _save(ca, self.ca_path, self.directory / "ca.key")
            logger.info("made the certificate authority %s", self.ca_path)
        wanted = _subject_names((*self._names, *host_names()))
        server = _load(self.directory / "server.pem", self.directory / "server.key")
        if server is not None and _still_good(server.certificate, ca.certificate, wanted, now):
            return False
        _save(_make_server(ca, wanted, now), self.directory / "server.pem", self.directory / "server.key")
        logger.info("made a server certificate for %s", ", ".join(sorted(str(n.value) for n in wanted)))
        return True


def host_names() -> set[str]:
    """This host's names and addresses, without link-local ones."""
    names = {"localhost", socket.gethostname(), socket.getfqdn(), "127.0.0.1", "::1"}
    names.update(_LOCAL.findall(_read(Path("/proc/net/fib_trie"))))
    for line in _read(Path("/proc/net/if_inet6")).splitlines():
        names.add(str(ipaddress.IPv6Address(int(line[:32], 16))))
    return names


def _read(path: Path) -> str:
    # Either file is missing where the kernel has no such protocol.
    return path.read_text() if path.exists() else ""


def _subject_names(names: Iterable[str]) -> set[x509.GeneralName]:
    wanted: set[x509.GeneralName] = set()
    for name in names:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            if _HOST_NAME.match(name.lower()):
                wanted.add(x509.DNSName(name.lower()))
            continue
        if not (address.is_link_local or address.is_unspecified or address.is_multicast):
            wanted.add(x509.IPAddress(address))
    return wanted


def _still_good(
    certificate: x509.Certificate, ca: x509.Certificate, wanted: set[x509.GeneralName], now: dt.datetime
) -> bool:
    try:
        certificate.verify_directly_issued_by(ca)
        has = set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (ValueError, TypeError, x509.ExtensionNotFound):
        return False
    except Exception as error:  # cryptography's InvalidSignature has no narrower base
        logger.info("the server certificate is not of this authority: %s", type(error).__name__)
        return False
    return wanted <= has and certificate.not_valid_after_utc - now >= RENEW_BEFORE


def _make_ca(now: dt.datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    # The serial in the name keeps a client that trusts two of our authorities from confusing them.
    serial = x509.random_serial_number()
    name = _name(f"ECS agent {socket.gethostname()[:30]} {serial & 0xFFFFFFFF:08x}")
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _builder(name, name, key.public_key(), now, now + CA_LIFE, serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _Pair(builder.sign(key, hashes.SHA256()), key)


def _make_server(ca: _Pair, names: set[x509.GeneralName], now: dt.datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    ends = min(now + LIFE, ca.certificate.not_valid_after_utc)
    issuer = ca.certificate.subject
    alternatives = sorted(names, key=str)
    builder = (
        _builder(_name("ECS agent"), issuer, key.public_key(), now, ends, x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False)
    )
    return _Pair(builder.sign(ca.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    starts: dt.datetime,
    ends: dt.datetime,
    serial: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        # A client whose clock is a little late shall not see a certificate of the future.
        .not_valid_before(starts - dt.timedelta(hours=1))
        .not_valid_after(ends)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _load(certificate: Path, key: Path) -> _Pair | None:
    """None when a file is missing, not readable as what it should be, or the two do not belong together."""
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except FileNotFoundError:
        return None
    except ValueError as error:
        logger.warning("%s or %s is damaged and will be made anew: %s", certificate, key, error)
        return None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != loaded.public_key():
        return None
    return _Pair(loaded, private)


def _save(pair: _Pair, certificate: Path, key: Path) -> None:
    pem = pair.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # A crash in between leaves a pair that does not belong together, which `_load` refuses.
    _write(key, pem, 0o600)
    _write(certificate, pair.certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_suffix(path.suffix + ".new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    with os.fdopen(handle, "wb") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
