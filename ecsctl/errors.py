"""What ends a command: one clear line and an exit code that scripts can use."""

from __future__ import annotations

OK, FAILED, USAGE, NOT_FOUND, FORBIDDEN, UNREACHABLE, TIMED_OUT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130

_CREDENTIALS = (
    "Forbidden",
    "Forbidd",
    "NoPermission",
    "InvalidAccessKeyId",
    "InvalidSecurityToken",
    "MissingSecurityToken",
    "SignatureDoesNotMatch",
    "SignatureNonceUsed",
    "IncompleteSignature",
    "IllegalTimestamp",
    "InvalidTimeStamp",
)

_HINTS = {
    "InvalidAccessKeyId": "the access key is the one {key_origin}; `ecsctl config show` lists what is in use",
    "InvalidSecurityToken": "unset the variables ALIBABA_CLOUD_* and assume the role again",
    "MissingSecurityToken": "set ALIBABA_CLOUD_SECURITY_TOKEN, too",
    "SignatureDoesNotMatch": "the secret is the one {key_origin}; `ecsctl config init` writes a working pair",
    "InvalidTimeStamp": "compare the clocks of this machine and the host",
    "IllegalTimestamp": "compare the clocks of this machine and the host",
    "InvalidAction": "the agent does not know this action: it may be older than this ecsctl",
}


class CliError(Exception):
    """A failure to tell the user about: one line saying what, which value, what to do."""

    exit_code = FAILED

    def __init__(self, message: str, *, exit_code: int | None = None) -> None:
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code


class UsageFault(CliError):
    """A wrong combination of options, found after parsing."""

    exit_code = USAGE


class NotFound(CliError):
    exit_code = NOT_FOUND


class Unreachable(CliError):
    """No answer from the agent."""

    exit_code = UNREACHABLE


class TimedOut(CliError):
    exit_code = TIMED_OUT


class Interrupted(CliError):
    """Ctrl-C; the message says what goes on without us."""

    exit_code = INTERRUPTED


class CredentialsMissing(CliError):
    exit_code = FORBIDDEN


class ApiError(CliError):
    """An error answer of the agent: `code`, HTTP `status`, message and RequestId."""

    def __init__(self, action: str, status: int, code: str, message: str, request_id: str, key_origin: str) -> None:
        self.action, self.status, self.code, self.request_id = action, status, code, request_id
        hint = next((h for prefix, h in _HINTS.items() if code.startswith(prefix)), "")
        self.text = " ".join(message.split()).rstrip(".")
        self.advice = hint.format(key_origin=key_origin or "given")
        super().__init__("", exit_code=_exit_code(status, code))

    def __str__(self) -> str:
        advice = f": {self.advice}" if self.advice else ""
        tail = f" (RequestId {self.request_id})" if self.request_id else ""
        return f"{self.code}: {self.text}{advice}{tail}"

    @property
    def forbidden(self) -> bool:
        """Whether this caller lacks the right to the action, as opposed to a resource that is not there."""
        return self.exit_code == FORBIDDEN


def _exit_code(status: int, code: str) -> int:
    if code.startswith(("InvalidAction", "InvalidVersion")):
        return FAILED
    if status == 404 and not code.startswith("InvalidAccessKeyId"):
        return NOT_FOUND
    if code.startswith(_CREDENTIALS) or status == 401:
        return FORBIDDEN
    return NOT_FOUND if code.endswith(".NotFound") else FAILED
