"""The login password of one instance, new or not; for several, and key pairs, see services/instance_login.py."""

from __future__ import annotations

from agent.core import validate
from agent.services.context import Caller
from agent.store.schema import Instance


def set_password(caller: Caller, instance: Instance, plain: str) -> None:
    """The login password of root or Administrator from the next console start on; raises InvalidParameter (SPEC G3).

    Of a Linux password only the hash is kept; a Windows one is sealed, for its guest needs the plain text. A bound
    key pair stays bound: whoever resets the password of such an instance wants both ways in.
    """
    validate.password("Password", plain)
    if instance.os_type == "windows":
        instance.password = caller.services.sealer.seal(plain)
    else:
        instance.password_hash = caller.services.hash_password(plain)
