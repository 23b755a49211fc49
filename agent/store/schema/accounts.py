"""Accounts, their keys, roles, policies and limits."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agent.store.schema.base import Base


class Account(Base):
    """An owner of resources (SPEC R1). `id` is a 16-digit number as a string."""

    __tablename__ = "accounts"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    is_default: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[dt.datetime]


class AccessKey(Base):
    """Signs API calls. The secret is encrypted with the host key (agent/store/secrets.py)."""

    __tablename__ = "access_keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    user_name: Mapped[str | None]  # None: the account's owner
    secret: Mapped[bytes]
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[dt.datetime]


class Role(Base):
    """A RAM role (SPEC I12): who may assume it (`trust_policy`, JSON text), and for how long at most.

    A role has no keys of its own, only temporary credentials.
    """

    __tablename__ = "roles"
    id: Mapped[str] = mapped_column(primary_key=True)  # 18 digits
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    name: Mapped[str]
    folded: Mapped[str]  # names are unique without regard to case
    description: Mapped[str] = mapped_column(default="")
    trust_policy: Mapped[str]
    max_session_seconds: Mapped[int] = mapped_column(default=3600)
    created_at: Mapped[dt.datetime]
    updated_at: Mapped[dt.datetime]
    __table_args__ = (UniqueConstraint("account_id", "folded"),)


class Policy(Base):
    """A custom policy of an account; `document` is JSON text. System policies are in the code (agent/policy)."""

    __tablename__ = "policies"
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    folded: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    document: Mapped[str]
    created_at: Mapped[dt.datetime]
    updated_at: Mapped[dt.datetime]


class PolicyAttachment(Base):
    """What a principal may do. `principal_type`: role (later also user, group). `policy_type`: System | Custom."""

    __tablename__ = "policy_attachments"
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    principal_type: Mapped[str] = mapped_column(primary_key=True)
    principal_id: Mapped[str] = mapped_column(primary_key=True)
    policy_type: Mapped[str] = mapped_column(primary_key=True)
    policy_folded: Mapped[str] = mapped_column(primary_key=True)
    attached_at: Mapped[dt.datetime]


class ClientToken(Base):
    """The answer to a creating call, for its repetition (SPEC G5)."""

    __tablename__ = "client_tokens"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    action: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(primary_key=True)
    parameters_digest: Mapped[str]
    response: Mapped[dict[str, Any]]
    created_at: Mapped[dt.datetime] = mapped_column(index=True)


class Quota(Base):
    """An account's own limit in place of the default (SPEC G7)."""

    __tablename__ = "quotas"
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int]


class Setting(Base):
    """Facts the agent remembers about its host, such as the boot id it last saw."""

    __tablename__ = "settings"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
