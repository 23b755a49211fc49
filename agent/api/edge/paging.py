"""Pages of a list action (SPEC G4): PageNumber/PageSize, NextToken/MaxResults where the action has them, and
Marker/MaxItems in RAM.

    class DescribeDisksParams(RegionParams, Paged): ...        # both ways of paging
    page = paging.page(call.session, select(Disk).where(...).order_by(Disk.created_at.desc(), Disk.id), p)
    return {"Disks": {"Disk": [describe(d) for d in page.items]}, **page.fields()}

The statement (or list) must have a total order, so that pages neither repeat nor lose a row.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from pydantic import Field

from agent.api.edge.params import ErrorCode, Params
from agent.core.errors import InvalidParameter

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

T = TypeVar("T")
DEFAULT_SIZE = 10
_MARK = b"offset:"


class NumberedPages(Params):
    """PageNumber and PageSize as most actions have them: 10 a page, at most 100."""

    page_number: Annotated[int, Field(ge=1, le=1_000_000), ErrorCode("InvalidParameter.PageNumber")] = 1
    page_size: Annotated[int, Field(ge=1, le=100), ErrorCode("InvalidParameter.PageSize")] = DEFAULT_SIZE


class NumberedPagesOf50(NumberedPages):
    """The same with at most 50 a page: key pairs, VPCs, VSwitches, …"""

    page_size: Annotated[int, Field(ge=1, le=50), ErrorCode("InvalidParameter.PageSize")] = DEFAULT_SIZE


class Paged(NumberedPages):
    """Both ways; giving NextToken or MaxResults chooses the second."""

    next_token: str | None = None
    max_results: Annotated[int, Field(ge=1, le=100)] | None = None


class MarkedPages(Params):
    """RAM's way: Marker and MaxItems, 100 a page."""

    marker: str | None = None
    max_items: Annotated[int, Field(ge=1, le=1000), ErrorCode("InvalidParameter.MaxItems")] = 100


@dataclass(frozen=True)
class Page(Generic[T]):
    """`token`: where the next page begins; empty after the last one, None when not paged by token."""

    items: Sequence[T]
    total: int
    number: int
    size: int
    token: str | None = None

    def fields(self) -> dict[str, Any]:
        """PageNumber, PageSize, TotalCount and, when paged by token, NextToken, for the answer."""
        return {
            "TotalCount": self.total,
            "PageNumber": self.number,
            "PageSize": self.size,
            "NextToken": self.token,
        }


def page(session: Session, statement: Select[T], params: NumberedPages) -> Page[T]:
    """The rows of an ordered `statement` that `params` ask for; raises InvalidParameter for a foreign NextToken."""
    from sqlalchemy import func, select

    total = session.scalar(select(func.count()).select_from(statement.order_by(None).subquery())) or 0
    offset, limit = _window(params)
    rows = session.scalars(statement.offset(offset).limit(limit)).all()
    return _page(rows, total, offset, limit, params)


def page_list(items: Sequence[T], params: NumberedPages) -> Page[T]:
    """The same of a sequence in memory."""
    offset, limit = _window(params)
    return _page(items[offset : offset + limit], len(items), offset, limit, params)


def page_by_marker(items: Sequence[T], params: MarkedPages) -> tuple[Sequence[T], dict[str, Any]]:
    """The items that `params` ask for, and IsTruncated and Marker for the answer."""
    offset = _offset(params.marker or "", "Marker")
    end = offset + params.max_items
    more = end < len(items)
    return items[offset:end], {"IsTruncated": more, "Marker": _token(end) if more else None}


def _by_token(params: NumberedPages) -> bool:
    return isinstance(params, Paged) and (bool(params.next_token) or params.max_results is not None)


def _window(params: NumberedPages) -> tuple[int, int]:
    if isinstance(params, Paged) and _by_token(params):
        return _offset(params.next_token or ""), params.max_results or params.page_size
    return (params.page_number - 1) * params.page_size, params.page_size


def _page(items: Sequence[T], total: int, offset: int, limit: int, params: NumberedPages) -> Page[T]:
    if _by_token(params):
        end = offset + len(items)
        return Page(items, total, 1, limit, _token(end) if items and end < total else "")
    return Page(items, total, params.page_number, limit)


def _token(offset: int) -> str:
    return base64.urlsafe_b64encode(_MARK + str(offset).encode()).decode()


def _offset(token: str, parameter: str = "NextToken") -> int:
    if not token:
        return 0
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii"))
    except ValueError:
        raw = b""
    number = raw.removeprefix(_MARK)
    if not raw.startswith(_MARK) or not number.isdigit() or len(number) > 12:
        raise InvalidParameter(
            parameter, token, "it is not one of an earlier answer.", code=f"InvalidParameter.{parameter}"
        )
    return int(number)
