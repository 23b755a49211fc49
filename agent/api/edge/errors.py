"""Errors of the edge itself, and the translation of everything else that may come out of a handler."""

from __future__ import annotations

import logging

from agent.core.errors import ApiError, DriverError, InternalError, ServiceUnavailable

logger = logging.getLogger(__name__)


class MalformedRequest(ApiError):
    """Not readable as a request: encoding, compression, form."""

    code, status = "InvalidRequest", 400


class RequestTooLarge(ApiError):
    code, status = "RequestTooLarge", 413


class Throttling(ApiError):
    code, status = "Throttling", 400


class UnsupportedParameter(ApiError):
    code, status = "UnsupportedParameter", 400


class InvalidAccess(ApiError):
    """The peer of the unix socket is nobody we know."""

    code, status = "Forbidden", 403


def as_api_error(error: Exception, request_id: str) -> ApiError:
    """`error` as the caller shall see it. What nobody foresaw is logged with its traceback and told in one line."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, DriverError):
        logger.error("%s: %s", request_id, error)
        return ServiceUnavailable(str(error)) if error.transient else InternalError(str(error))
    reason = _store_trouble(error)
    if reason is not None:
        logger.error("%s: %s: %s", request_id, reason, error)
        return ServiceUnavailable(reason)
    logger.error("%s: unexpected error", request_id, exc_info=error)
    return InternalError("The request processing has failed due to some unknown error; the agent's log says more.")


def _store_trouble(error: Exception) -> str | None:
    from sqlalchemy.exc import OperationalError

    if not isinstance(error, OperationalError):
        return None
    text = str(error.orig)
    if "locked" in text or "busy" in text:
        return "The agent is busy: its database stayed locked. Try again."
    if "full" in text:
        return "The disk that holds the agent's database is full. Free some space and try again."
    return None
