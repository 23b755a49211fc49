"""Statements that more than one room needs."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete
from sqlalchemy.orm import Session

from agent.store.schema import Tag


def forget_tags(session: Session, kind: str, resource_ids: Iterable[str]) -> None:
    """All tags of resources that are deleted: a tag no resource carries is gone (SPEC T4)."""
    session.execute(delete(Tag).where(Tag.resource_type == kind, Tag.resource_id.in_(list(resource_ids))))
