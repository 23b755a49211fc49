"""The login password of one instance, new or not; for several, and key pairs, see services/instance_login.py."""

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
    """The ways into a system disk that is made anew of the instance's image (SPEC D6, D8); another one given replaces
    what was good for the old disk.

    One of a public image needs a password or a key pair: raises MissingParameter. Others may have their own and keep
    those of the instance. Where both are given the key pair counts (K3). `instance.image_id` and `os_type` are those of
    the new system already.
    """
    windows = instance.os_type == "windows"
    image = caller.session.get(Image, instance.image_id)
    public = image is not None and image.account_id is None
    if key_pair_name and windows:
        raise DependencyViolation(
            f'The instance "{instance.id}" runs Windows: the key pair "{key_pair_name}" cannot be used to log in.',
            code="DependencyViolation.WindowsInstance",
        )
    if public and not password and not key_pair_name:
        raise MissingParameter("Password" if windows else "Password or KeyPairName")
    if password:
        set_password(caller, instance, password)
        instance.key_pair_name = None
    if key_pair_name:
        instance.key_pair_name = key_pairs.get_usable(caller, key_pair_name).name
        instance.password_hash = None
    instance.windows_seed_id = None  # nothing has run in the new system yet
