"""Key pairs (SPEC K1, K2, K4). Only public keys are kept; a private key exists in one answer.

Binding them to instances is in services/instance_login.py.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from sqlalchemy import Select, func, select

from agent.core import validate
from agent.core.errors import Conflict, InvalidParameter, MissingParameter, NotFound
from agent.core.ids import new_id
from agent.services import quota, tag
from agent.services.context import Caller
from agent.services.matching import like
from agent.store.schema import Instance, KeyPair

RSA_BITS = 2048
MAX_NAMES = 100
_NAME_CODE = "InvalidKeyPairName.Malformed"
_BODY_CODE = "InvalidPublicKeyBody.Malformed"


def create_key_pair(caller: Caller, *, name: str, tags: Sequence[tag.TagPair] = ()) -> tuple[KeyPair, str]:
    """A new RSA key pair and its private key as unencrypted PEM in PKCS#8, which is not kept (SPEC K1)."""
    _check_new(caller, name)
    private = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    pair = _add(caller, name, public.decode(), tags)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pair, pem.decode()


def import_key_pair(caller: Caller, *, name: str, public_key: str, tags: Sequence[tag.TagPair] = ()) -> KeyPair:
    """Keep a public key given as OpenSSH text or as Base64 of that text (SPEC K2)."""
    _check_new(caller, name)
    return _add(caller, name, parse_public_key(public_key), tags)


def parse_public_key(text: str) -> str:
    """`<type> <base64>`, without a comment; raises InvalidParameter saying what is wrong with `text`."""
    line = _openssh_line(text.strip())
    if line.startswith("ssh-dss"):
        raise _bad_key("DSA keys are no longer accepted by SSH servers; use RSA, ECDSA or Ed25519.")
    try:
        key = serialization.load_ssh_public_key(line.encode())
    except UnsupportedAlgorithm:
        raise _bad_key(f"keys of type {line.split()[0]} are not supported; use RSA, ECDSA or Ed25519.") from None
    except ValueError:
        raise _bad_key("it is damaged: the key's data does not match its type.") from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS:
        raise _bad_key(f"an RSA key of {key.key_size} bits is too weak; at least {RSA_BITS} are needed.")
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise _bad_key("it is not an RSA, ECDSA or Ed25519 key.")
    return " ".join(line.split()[:2])


def fingerprint(public_key: str) -> str:
    """The MD5 fingerprint of RFC 4716, as the provider shows it: sixteen pairs of hexadecimal digits."""
    blob = base64.b64decode(public_key.split()[1])
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[i : i + 2] for i in range(0, 32, 2))


def find_key_pairs(
    caller: Caller, *, name: str | None = None, fingerprint: str | None = None, tags: Sequence[tag.TagFilter] = ()
) -> Select[KeyPair]:
    """The caller's key pairs, by name (`*` stands for anything), fingerprint and tags; ordered."""
    found = select(KeyPair).where(KeyPair.account_id == caller.account_id, ~KeyPair.retired)
    if name:
        found = found.where(like(KeyPair.name, name))
    if fingerprint:
        wanted = fingerprint.lower().replace(":", "")
        found = found.where(func.replace(KeyPair.fingerprint, ":", "") == wanted)
    found = tag.filter_by_tags(found, "keypair", KeyPair.id, tags)
    return found.order_by(KeyPair.created_at, KeyPair.name)


def get_usable(caller: Caller, name: str, *, code: str = "InvalidKeyPair.NotFound") -> KeyPair:
    """The key pair of that name, to bind to an instance; raises NotFound with `code`, also for a retired one."""
    pair = _by_name(caller, name)
    if pair is None or pair.retired:
        raise NotFound(code, "KeyPairName", name)
    return pair


def is_known(caller: Caller, name: str) -> bool:
    """Whether there is a key pair of that name, be it retired."""
    return _by_name(caller, name) is not None


def delete_key_pairs(caller: Caller, names: Sequence[str]) -> None:
    """Delete them all or, if one is not there, none. Instances are unaffected; a name that one of them still
    shows is retired: it can never be used again (SPEC K4)."""
    if not names:
        raise MissingParameter("KeyPairNames")
    if len(names) > MAX_NAMES:
        raise InvalidParameter(
            "KeyPairNames",
            len(names),
            f"at most {MAX_NAMES} are allowed.",
            code="InvalidKeyPairNames.ValueNotSupported",
        )
    pairs = [get_usable(caller, name) for name in dict.fromkeys(names)]
    bound = select(Instance.key_pair_name).where(
        Instance.account_id == caller.account_id,
        Instance.key_pair_name.in_([pair.name for pair in pairs]),
        ~Instance.releasing,
    )
    in_use = set(caller.session.scalars(bound))
    tag.forget(caller.session, "keypair", [pair.id for pair in pairs])
    for pair in pairs:
        if pair.name in in_use:
            pair.retired = True
        else:
            caller.session.delete(pair)
    caller.session.flush()


def _check_new(caller: Caller, name: str) -> None:
    validate.name("KeyPairName", name, code=_NAME_CODE)
    existing = _by_name(caller, name)
    if existing is not None:
        why = " It was deleted while instances were bound to it: the name stays theirs." if existing.retired else ""
        raise Conflict(f'The key pair "{name}" already exists.{why}', code="KeyPair.AlreadyExist")
    mine = select(func.count()).where(KeyPair.account_id == caller.account_id, ~KeyPair.retired)
    quota.check(caller, "key_pairs", caller.session.scalar(mine) or 0)


def _add(caller: Caller, name: str, public_key: str, tags: Sequence[tag.TagPair]) -> KeyPair:
    pair = KeyPair(
        id=new_id("keypair"),
        account_id=caller.account_id,
        name=name,
        fingerprint=fingerprint(public_key),
        public_key=public_key,
        created_at=caller.services.clock.now(),
    )
    caller.session.add(pair)
    caller.session.flush()
    tag.set_tags(caller, "keypair", pair.id, tags)
    return pair


def _by_name(caller: Caller, name: str) -> KeyPair | None:
    return caller.session.scalar(select(KeyPair).where(KeyPair.account_id == caller.account_id, KeyPair.name == name))


def _openssh_line(text: str) -> str:
    """The one line of an OpenSSH public key in `text`, which may be Base64 of it."""
    if not text:
        raise MissingParameter("PublicKeyBody")
    if "PRIVATE KEY" in text:
        raise _bad_key("it is a private key. Keep it to yourself and give the public one (the file ending in .pub).")
    if " " not in text and "\t" not in text:
        text = _from_base64(text)
        if "PRIVATE KEY" in text:
            raise _bad_key("it is a private key. Keep it to yourself and give the public one.")
    if text.startswith(("-----BEGIN", "---- BEGIN")):
        raise _bad_key("it is in PEM or RFC 4716 form; give the OpenSSH form (ssh-keygen -i converts it).")
    if len(text.splitlines()) != 1 or len(text.split()) < 2:
        raise _bad_key("one line in OpenSSH form is expected, such as: ssh-rsa AAAAB3Nza... comment")
    return text


def _from_base64(text: str) -> str:
    try:
        decoded = base64.b64decode("".join(text.split()), validate=True)
        return decoded.decode("ascii").strip()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise _bad_key("it is neither OpenSSH text nor Base64 of it.") from None


def _bad_key(why: str) -> InvalidParameter:
    # The value is not repeated: it may be a private key.
    return InvalidParameter("PublicKeyBody", "...", why, code=_BODY_CODE)
