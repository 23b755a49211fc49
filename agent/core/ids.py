"""Resource ids in the public shape (SPEC G1): a kind prefix and 20 lower-case alphanumerics."""

from __future__ import annotations

import re
import secrets
import string

PREFIXES = {
    "instance": "i-",
    "disk": "d-",
    "snapshot": "s-",
    "image": "m-",
    "securitygroup": "sg-",
    "securitygrouprule": "sgr-",
    "vpc": "vpc-",
    "vswitch": "vsw-",
    "eip": "eip-",
    "policy": "sp-",
    "task": "t-",
    "eni": "eni-",
    "vrouter": "vrt-",
    "routetable": "vtb-",
    "routeentry": "rte-",
    "portforward": "fwd-",
    "keypair": "ssh-",
}

# The classic network (SPEC N4) is a VPC and a VSwitch that no caller sees.
CLASSIC_VPC, CLASSIC_VSWITCH = "vpc-classic", "vsw-classic"

_ALPHABET = string.ascii_lowercase + string.digits
_BODY = re.compile(r"[a-z0-9]{20}\Z")


def random_word(length: int) -> str:
    """`length` random lower-case alphanumerics."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def new_id(kind: str) -> str:
    """A fresh id of `kind`, a key of PREFIXES."""
    return PREFIXES[kind] + random_word(20)


def is_id(kind: str, text: str) -> bool:
    """Whether `text` has the shape of an id of `kind`."""
    prefix = PREFIXES[kind]
    return text.startswith(prefix) and _BODY.match(text[len(prefix) :]) is not None


def body(resource_id: str) -> str:
    """The 20 characters behind the prefix: a disk's serial in the guest (virtio-blk holds 20 bytes)."""
    return resource_id.rsplit("-", 1)[1]


def internet_mac(mac: str) -> str:
    """Of the internet's card of an instance in the classic network whose other one has `mac`: known before it is
    there, so that the guest can be told of it at its first boot."""
    return "02" + mac[2:]  # locally administered: nobody else's


def new_mac() -> str:
    """A random MAC address in the public cloud's range (00:16:3e)."""
    tail = secrets.token_bytes(3)
    return "00:16:3e:" + ":".join(f"{byte:02x}" for byte in tail)
