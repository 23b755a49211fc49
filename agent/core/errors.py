"""One class per wire code (SPEC G6). The message names the parameter and the value.

`ApiError` is what the API edge turns into an error answer; `DriverError` never reaches a caller as such: jobs
record it and services translate it. Codes and HTTP statuses follow reference/ecs_errors.json.
"""

from __future__ import annotations


class DriverError(Exception):
    """A driver could not do what it was asked. One line: what, which value, what to do."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class BadImage(DriverError):
    """A disk image that is not what it must be, is damaged, or would do harm. One line for whoever brought it."""


class NoSuchObject(DriverError):
    """There is no object, that is no regular file, of that name."""


class WrongContent(DriverError):
    """What arrived has another checksum than was said. Nothing of it is kept."""


class ApiError(Exception):
    """An error with a public code and HTTP status."""

    code = "InternalError"
    status = 500

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class InternalError(ApiError):
    pass


class ServiceUnavailable(ApiError):
    code, status = "ServiceUnavailable", 503


# ------------------------------------------------------------------------------ request and signature


class MissingParameter(ApiError):
    code, status = "MissingParameter", 400

    def __init__(self, name: str) -> None:
        super().__init__(f'The input parameter "{name}" that is mandatory for processing this request is not supplied.')
        self.code = f"Missing{name}" if name in ("Action", "Version") else "MissingParameter"


class InvalidParameter(ApiError):
    """`InvalidParameter` or, for one parameter, `Invalid<Name>.<Reason>` through `code`."""

    code, status = "InvalidParameter", 400

    def __init__(self, name: str, value: object, why: str, *, code: str | None = None) -> None:
        super().__init__(f'The specified parameter {name} "{value}" is not valid: {why}', code=code)


class InvalidAction(ApiError):
    code, status = "InvalidAction.NotFound", 404


class InvalidVersion(ApiError):
    code, status = "InvalidVersion", 400


class UnsupportedHttpMethod(ApiError):
    code, status = "UnsupportedHTTPMethod", 403


class SignatureDoesNotMatch(ApiError):
    code, status = "SignatureDoesNotMatch", 400


class IncompleteSignature(ApiError):
    code, status = "IncompleteSignature", 400


class SignatureNonceUsed(ApiError):
    code, status = "SignatureNonceUsed", 400


class IllegalTimestamp(ApiError):
    code, status = "IllegalTimestamp", 400


class TimestampExpired(ApiError):
    code, status = "InvalidTimeStamp.Expired", 400


class AccessKeyNotFound(ApiError):
    code, status = "InvalidAccessKeyId.NotFound", 404

    def __init__(self) -> None:
        super().__init__("Specified access key is not found.")


class AccessKeyDisabled(ApiError):
    code, status = "InvalidAccessKeyId.Inactive", 400


class MissingSecurityToken(ApiError):
    """A temporary access key alone is worth nothing."""

    code, status = "MissingSecurityToken", 400

    def __init__(self) -> None:
        super().__init__("SecurityToken is mandatory for this action: the access key is a temporary one.")


class InvalidSecurityToken(ApiError):
    """Always give `code`: Malformed, MismatchWithAccessKey or Expired."""

    code, status = "InvalidSecurityToken.Malformed", 400


class Forbidden(ApiError):
    code, status = "Forbidden.RAM", 403


class NoPermission(ApiError):
    """A role does not trust who wants to assume it."""

    code, status = "NoPermission", 403


# ------------------------------------------------------------------------------ idempotency and dry run


class IdempotentParameterMismatch(ApiError):
    code, status = "IdempotentParameterMismatch", 400


class DryRunOperation(ApiError):
    """DryRun: the request would have succeeded."""

    code, status = "DryRunOperation", 400

    def __init__(self) -> None:
        super().__init__("Request validation has been passed with DryRun flag set.")


# ------------------------------------------------------------------------------ resources


class NotFound(ApiError):
    """A resource that does not exist, or is another account's, which is the same (SPEC R1)."""

    status = 404

    def __init__(self, code: str, name: str, value: object) -> None:
        super().__init__(f'The specified {name} "{value}" does not exist.', code=code)


class Conflict(ApiError):
    """Something is in the way: a state, a dependency, a name already taken. Always give `code`."""

    code, status = "InvalidOperation.Conflict", 403


class EntityConflict(ApiError):
    """The same in RAM. Always give `code`."""

    code, status = "EntityAlreadyExists", 409


class DependencyViolation(ApiError):
    code, status = "DependencyViolation", 403


class IncorrectInstanceStatus(ApiError):
    code, status = "IncorrectInstanceStatus", 403

    def __init__(self, instance_id: str, state: str, allowed: frozenset[str]) -> None:
        wanted = " or ".join(sorted(allowed))
        super().__init__(
            f'The current status "{state}" of the instance "{instance_id}" does not support this operation: '
            f"it must be {wanted}."
        )


class QuotaExceeded(ApiError):
    """Always give the public code of the quota, e.g. `QuotaExceed.ElasticQuota`."""

    code, status = "QuotaExceeded", 403


class NoStock(ApiError):
    """The host has no room, or no such device (SPEC I13)."""

    code, status = "OperationDenied.NoStock", 403
