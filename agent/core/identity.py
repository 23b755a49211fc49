"""Who calls, and what a caller's key is worth.

A session is what temporary credentials are of: a role, assumed under a session's name, perhaps narrowed by a policy.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Session:
    """`policy`: a document that narrows what the role may do; empty: none."""

    role_id: str
    name: str
    policy: str = ""


@dataclass(frozen=True)
class Credential:
    """An access key as the store knows it. `administrator`: may do everything in its account."""

    access_key_id: str
    secret: str = field(repr=False)
    account_id: str
    principal_type: str = "account"  # account (the owner) | user | role
    principal_name: str = ""
    active: bool = True
    administrator: bool = False
    session: Session | None = None  # of a role


@dataclass(frozen=True)
class Identity:
    """Who calls. On the unix socket `unix_uid` is set and `source_ip` empty."""

    account_id: str
    principal_type: str = "account"
    principal_name: str = ""
    access_key_id: str = ""  # empty: recognised by the peer credentials of the unix socket
    administrator: bool = False
    source_ip: str = ""
    secure_transport: bool = False
    unix_uid: int | None = None
    session: Session | None = None  # of a role

    @property
    def arn(self) -> str:
        """As the provider names callers."""
        who = "root"
        if self.session:
            who = f"assumed-role/{self.principal_name}/{self.session.name}"
        elif self.principal_type != "account":
            who = f"{self.principal_type}/{self.principal_name}"
        return f"acs:ram::{self.account_id}:{who}"
