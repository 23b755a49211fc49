"""One API call: who asks, what for, and the transaction it runs in."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from agent.core.clock import Clock, SystemClock
from agent.core.identity import Identity

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

logger = logging.getLogger(__name__)


def new_request_id() -> str:
    """A fresh RequestId: a UUID in upper case."""
    return str(uuid.uuid4()).upper()


class UnitOfWork(Protocol):
    """Transactions; `agent.store.store.Store` is one."""

    def read(self) -> AbstractContextManager[Session]: ...

    def write(self) -> AbstractContextManager[Session]: ...


class Authorizer(Protocol):
    def check(self, call: Call, ram_action: str, resources: Sequence[str]) -> None:
        """Return if `call.identity` may do `ram_action` to every one of `resources` (ARNs); else raise Forbidden."""
        ...


@dataclass
class Call:
    """What a handler gets besides its parameters.

    `session` is one read view for a `read` action, the call's single write transaction for a `write` action.
    `services` is whatever the application was built with; handlers know its type.
    """

    request_id: str
    action: str
    version: str
    identity: Identity
    services: Any
    unit_of_work: UnitOfWork
    authorizer: Authorizer
    region_id: str = "local"
    host: str = ""  # the Host header: how the caller reached the agent
    product: str = "ecs"  # how the action's product is called in RAM
    access: str = "read"
    clock: Clock = field(default_factory=SystemClock)
    wire_params: Mapping[str, str] = field(default_factory=dict)  # as sent, for the audit log
    _session: Session | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _hooks: list[Callable[[], object]] = field(default_factory=list)

    @property
    def account_id(self) -> str:
        return self.identity.account_id

    @property
    def session(self) -> Session:
        """Opened at the first use; closed, and for a write action committed, when the handler returns."""
        if self._session is None:
            work = self.unit_of_work
            self._session = self._stack.enter_context(work.write() if self.access == "write" else work.read())
        return self._session

    def after_commit(self, hook: Callable[[], object]) -> None:
        """Run `hook` once the transaction is durable (never on failure or DryRun), before the answer is sent."""
        self._hooks.append(hook)

    def arn(self, resource: str) -> str:
        """`instance/i-…` as `acs:ecs:<region>:<account>:instance/i-…`; a full ARN is left as it is."""
        if resource.startswith("acs:"):
            return resource
        region = "*" if self.product == "ram" else self.region_id
        return f"acs:{self.product}:{region}:{self.account_id}:{resource}"

    def require(self, ram_action: str, *resources: str) -> None:
        """Raise Forbidden unless the caller has this permission, too: for what only some uses of an action need."""
        self.authorizer.check(self, ram_action, resources)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """The scope of `session`, for the dispatcher; the hooks run when it ended well."""
        with self._stack:
            yield
        self._session = None
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            _run(hook, self)


def _run(hook: Callable[[], object], call: Call) -> None:
    # The call is committed: a failing hook must not turn its answer into an error.
    try:
        hook()
    except Exception:
        logger.exception("%s %s: a hook after commit failed", call.request_id, call.action)
