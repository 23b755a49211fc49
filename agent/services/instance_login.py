"""Getting into existing instances: their passwords and key pairs, several at once (SPEC I6, K3).

What is written here is wanted; a guest is told by the seed of its next console start and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.core import validate
from agent.core.errors import ApiError, Conflict, DependencyViolation, MissingParameter, NotFound, QuotaExceeded
from agent.jobs import journal
from agent.services import instance as instances
from agent.services import key_pair as key_pairs
from agent.services.context import Caller
from agent.services.login import set_password
from agent.store.schema import Instance

MAX_INSTANCES = 50  # of one binding or unbinding, as in the public API


@dataclass(frozen=True)
class Outcome:
    """What became of one instance of a binding or unbinding."""

    instance_id: str
    error: ApiError | None = None


# ------------------------------------------------------------------------------ passwords


def reset_passwords(caller: Caller, instance_ids: Sequence[str], plain: str) -> None:
    """The same password for all these instances, which must be in the same state (SPEC I6); all or none."""
    for instance in _same_state(caller, instance_ids, "reset_password"):
        set_password(caller, instance, plain)


def reset_passwords_now(caller: Caller, instance_ids: Sequence[str], plain: str) -> list[str]:
    """As reset_passwords, and at once in the running guests, by their guest agents: a job each, whose ids are the
    answer. A guest without a working agent refuses the whole call; its password stays what it was.
    """
    validate.password("Password", plain)
    found = _same_state(caller, instance_ids, "reset_password_now")
    for instance in found:
        _check_guest_agent(caller, instance)
    return [_reset_now(caller, instance, plain) for instance in found]


def _check_guest_agent(caller: Caller, instance: Instance) -> None:
    if instance.os_type == "windows":
        raise Conflict(
            f'The password of the Windows instance "{instance.id}" cannot be changed at once; reset it and reboot.',
            code="InvalidOperation.WindowsInstance",
        )
    domain = f"{caller.services.config.prefix}-{instance.id}"
    if not caller.services.hypervisor.guest_agent_connected(domain):
        raise Conflict(
            f'No guest agent runs in the instance "{instance.id}"; nothing was changed. Install qemu-guest-agent, '
            "or reset the password for the next console restart.",
            code="InvalidOperation.GuestAgentNotRunning",
        )


def _reset_now(caller: Caller, instance: Instance, plain: str) -> str:
    job = journal.enqueue(
        caller.session,
        "instance.password",
        instance.id,
        caller.services.clock.now(),
        account_id=instance.account_id,
        request_id=caller.request_id,
        data={"password_hash": caller.services.hash_password(plain)},
    )
    return job.id


def _same_state(caller: Caller, instance_ids: Sequence[str], operation: str) -> list[Instance]:
    found = [instances.get_for(caller, one, operation) for one in dict.fromkeys(instance_ids)]
    if len({instance.status for instance in found}) > 1:
        shown = ", ".join(f"{instance.id} is {instance.status}" for instance in found)
        raise Conflict(
            f"The instances of one password reset must be in the same state: {shown}.", code="IncorrectInstanceStatus"
        )
    return found


# ------------------------------------------------------------------------------ key pairs


def attach_key_pair(caller: Caller, name: str, instance_ids: Sequence[str]) -> list[Outcome]:
    """Bind a key pair in place of any other; password login is off from then on (SPEC K3)."""
    pair = key_pairs.get_usable(caller, name, code="InvalidKeyPairName.NotFound")

    def bind(instance: Instance) -> None:
        instance.key_pair_name = pair.name
        instance.password_hash = None

    return _each(caller, instance_ids, bind)


def detach_key_pair(caller: Caller, name: str, instance_ids: Sequence[str]) -> list[Outcome]:
    """Unbind a key pair, also one that was deleted while it was bound. Unless the password was reset while it was
    bound, nobody can log in until it is (SPEC K3)."""
    if not key_pairs.is_known(caller, name):
        raise NotFound("InvalidKeyPairName.NotFound", "KeyPairName", name)

    def unbind(instance: Instance) -> None:
        if instance.key_pair_name != name:
            bound = f'"{instance.key_pair_name}" is' if instance.key_pair_name else "none is"
            raise Conflict(
                f'The key pair "{name}" is not bound to the instance "{instance.id}": {bound}.',
                code="InvalidOperation.KeyPairNotBound",
            )
        instance.key_pair_name = None

    return _each(caller, instance_ids, unbind)


def _each(caller: Caller, instance_ids: Sequence[str], change: Callable[[Instance], None]) -> list[Outcome]:
    """`change` on each instance it is possible for. When it is for none the first one's error is raised."""
    outcomes = []
    for instance in _linux_instances(caller, instance_ids):
        try:
            instances.check_state(instance, "change_key_pair")
            change(instance)
        except ApiError as error:
            outcomes.append(Outcome(instance.id, error))
        else:
            outcomes.append(Outcome(instance.id))
    errors = [outcome.error for outcome in outcomes if outcome.error]
    if len(errors) == len(outcomes):
        raise errors[0]
    return outcomes


def _linux_instances(caller: Caller, instance_ids: Sequence[str]) -> list[Instance]:
    """The instances, each once; raises the error of a request that could never be right."""
    ids = list(dict.fromkeys(instance_ids))
    if not ids:
        raise MissingParameter("InstanceIds")
    if len(ids) > MAX_INSTANCES:
        raise QuotaExceeded(
            f"{len(ids)} instances were given; a call takes at most {MAX_INSTANCES}.",
            code="InstanceKeyPairLimitExceeded",
        )
    found = [instances.get(caller, one) for one in ids]
    for instance in found:
        if instance.os_type == "windows":
            raise DependencyViolation(
                f'The instance "{instance.id}" runs Windows; key pairs are for Linux only.',
                code="DependencyViolation.WindowsInstance",
            )
    return found
