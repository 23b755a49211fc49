"""Who may log in to one instance, new or not; for several, and key pairs, see services/instance_login.py."""

from __future__ import annotations

from agent.core import validate
from agent.core.errors import DependencyViolation, MissingParameter
from agent.services import key_pair as key_pairs
from agent.services.context import Caller
from agent.store.schema import Image, Instance


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


def for_new_system(caller: Caller, instance: Instance, password: str, key_pair_name: str) -> None:
    """Who may log in to the new system disk of an instance (SPEC D6, D8), whose image and system the instance names
    already; empty: not given.

    A public image has no login of its own and needs one of the two; with another one the instance's own stays when
    none is given. A key pair goes before a password, as in a new instance. Raises MissingParameter, InvalidParameter,
    NotFound, or DependencyViolation for a key pair and Windows.
    """
    if password:
        validate.password("Password", password)
    if key_pair_name:
        _check_key_pair(caller, instance, key_pair_name)
    image = caller.session.get(Image, instance.image_id)
    if not (password or key_pair_name):
        if image is None or image.account_id is None:
            raise MissingParameter("Password or KeyPairName")
        return
    instance.password = instance.password_hash = instance.key_pair_name = None
    if key_pair_name:
        instance.key_pair_name = key_pair_name
    else:
        set_password(caller, instance, password)


def _check_key_pair(caller: Caller, instance: Instance, name: str) -> None:
    if instance.os_type == "windows":
        raise DependencyViolation(
            f'The image "{instance.image_id}" is Windows: the key pair "{name}" cannot be used to log in.',
            code="DependencyViolation.WindowsInstance",
        )
    key_pairs.get_usable(caller, name)
