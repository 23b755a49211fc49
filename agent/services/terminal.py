"""The management terminal of an instance: its screen, and the password that is asked for there (SPEC L3-L5).

The password is made when it is first needed. A changed one is in effect from the next console start on, when the
job that boots the guest copies it (agent/jobs/kinds/instance.py).
"""

from __future__ import annotations

import re
import secrets
import socket
import string
from dataclasses import dataclass

from agent.config import Config
from agent.core.errors import Conflict, InvalidParameter, NotFound
from agent.core.protocols import Hypervisor
from agent.jobs import translate
from agent.services import instance as instances
from agent.services.context import Caller
from agent.store.schema import Instance
from agent.store.secrets import Sealer
from agent.store.store import Store

PASSWORD_LENGTH = 6
_CHARACTERS = string.ascii_letters + string.digits
_PASSWORD = re.compile(rf"[A-Za-z0-9]{{{PASSWORD_LENGTH}}}", re.ASCII)


@dataclass(frozen=True)
class Terminal:
    """What is known of an instance's terminal. `password_pending`: a changed one waits for the console start."""

    instance_id: str
    name: str
    status: str
    password_pending: bool


class Terminals:
    """The terminals, for pages that a caller was let into before. Each call is a transaction of its own."""

    def __init__(self, store: Store, config: Config, sealer: Sealer, hypervisor: Hypervisor) -> None:
        self._store, self._config, self._sealer, self._hypervisor = store, config, sealer, hypervisor

    def look(self, account_id: str, instance_id: str) -> Terminal:
        """Raises NotFound when there is no such instance any more."""
        with self._store.read() as session:
            instance = _own(session.get(Instance, instance_id), account_id, instance_id)
            pending = instance.vnc_password != instance.vnc_password_active
            return Terminal(instance.id, instance.name, instance.status, pending)

    def password(self, account_id: str, instance_id: str) -> str:
        """The password in effect. Raises NotFound."""
        with self._store.read() as session:
            instance = _own(session.get(Instance, instance_id), account_id, instance_id)
            if instance.vnc_password_active is not None:
                return self._sealer.open(instance.vnc_password_active)
        with self._store.write() as session:
            return _in_effect(_own(session.get(Instance, instance_id), account_id, instance_id), self._sealer)

    def first_password(self, account_id: str, instance_id: str) -> str:
        """The generated password if nobody has seen it yet, else an empty text. Raises NotFound."""
        with self._store.write() as session:
            return _shown_once(_own(session.get(Instance, instance_id), account_id, instance_id), self._sealer)

    def open_screen(self, instance_id: str) -> socket.socket:
        """A connected socket that speaks RFB without a password; raises DriverError."""
        return self._hypervisor.open_display(translate.domain_name(self._config, instance_id))


def describe_password(caller: Caller, instance_id: str) -> str:
    """The generated password, to the first who asks; raises Conflict afterwards."""
    password = _shown_once(instances.get(caller, instance_id), caller.services.sealer)
    if not password:
        raise Conflict(
            f'The VNC password of the instance "{instance_id}" was shown already and is not shown again; set another '
            "one with ModifyInstanceVncPasswd.",
            code="InvalidOperation.VncPasswdShown",
        )
    return password


def modify_password(caller: Caller, instance_id: str, password: str) -> None:
    """Set the password that is asked for from the next console start on. The error does not repeat it."""
    instance = instances.get(caller, instance_id)
    if not _PASSWORD.fullmatch(password):
        raise InvalidParameter(
            "VncPassword",
            "***",
            f"exactly {PASSWORD_LENGTH} characters of a-z, A-Z and 0-9.",
            code="InvalidVncPassword.Malformed",
        )
    sealer = caller.services.sealer
    _in_effect(instance, sealer)
    instance.vnc_password = sealer.seal(password)


def _own(instance: Instance | None, account_id: str, instance_id: str) -> Instance:
    if instance is None or instance.account_id != account_id or instance.releasing:
        raise NotFound("InvalidInstanceId.NotFound", "InstanceId", instance_id)
    return instance


def _in_effect(instance: Instance, sealer: Sealer) -> str:
    if instance.vnc_password_active is None:
        made = "".join(secrets.choice(_CHARACTERS) for _ in range(PASSWORD_LENGTH))
        instance.vnc_password = instance.vnc_password_active = sealer.seal(made)
    return sealer.open(instance.vnc_password_active)


def _shown_once(instance: Instance, sealer: Sealer) -> str:
    if instance.vnc_password_shown:
        return ""
    instance.vnc_password_shown = True
    return _in_effect(instance, sealer)
