"""Programs of the host, through `sh`, with one clear line when they fail."""

from __future__ import annotations

import sh

from agent.core.errors import DriverError

SECONDS = 600


def run(program: str, *arguments: str, doing: str, package: str, stdin: str = "", seconds: float = SECONDS) -> str:
    """The program's standard output. `doing` completes "cannot …"; `package` brings the program.

    Secrets go through `stdin`, never through `arguments`. Raises DriverError.
    """
    try:
        command = sh.Command(program)
    except sh.CommandNotFound:
        raise DriverError(f"cannot {doing}: {program} is missing, apt-get install {package}") from None
    try:
        return str(command(*arguments, _in=stdin, _timeout=seconds, _tty_out=False))
    except sh.TimeoutException:
        raise DriverError(f"cannot {doing}: {program} did not end within {seconds:.0f} s", transient=True) from None
    except sh.ErrorReturnCode as error:
        raise DriverError(f"cannot {doing}: {_why(error)}") from None


def _why(error: sh.ErrorReturnCode) -> str:
    lines = error.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"exit status {error.exit_code}"
