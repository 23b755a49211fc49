"""Programs of the host, through `sh`, with one clear line when they fail."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import sh

from agent.core.errors import DriverError

SECONDS = 600.0
TIMED_OUT = 124  # what timeout(1) ends with
KILL_SECONDS = 10  # after a polite request to end
LOOK_SECONDS = 0.1  # between looks whether to give way


def run(program: str, *arguments: str, doing: str, package: str, stdin: str = "", seconds: float = SECONDS) -> str:
    """The program's standard output. `doing` completes "cannot …"; `package` brings the program.

    Secrets go through `stdin`, never through `arguments`. Raises DriverError.
    """
    try:
        path = str(sh.Command(program))
    except sh.CommandNotFound:
        raise DriverError(f"cannot {doing}: {program} is missing, apt-get install {package}") from None
    # timeout(1), because sh's own time limit makes every call last a multiple of 0.1 s.
    limited = sh.Command("timeout").bake(f"--kill-after={KILL_SECONDS}", str(seconds), path)
    try:
        return str(limited(*arguments, _in=stdin, _tty_out=False))
    except sh.ErrorReturnCode as error:
        if error.exit_code == TIMED_OUT:
            why = f"{program} did not end within {seconds:.0f} s"
            raise DriverError(f"cannot {doing}: {why}", transient=True) from None
        raise DriverError(f"cannot {doing}: {last_words(error)}") from None


def run_unless(give_way: Callable[[], bool], program: str, *arguments: str, doing: str, package: str) -> bool:
    """Run something long to its end; False when `give_way` became true before: then it was killed in the middle.

    It never outlives this process, however that ends. Raises DriverError.
    """
    try:
        mortal = sh.Command("setpriv").bake("--pdeathsig", "KILL", "--", str(sh.Command(program)))
    except sh.CommandNotFound as error:
        missing = "util-linux" if "setpriv" in str(error) else package
        raise DriverError(f"cannot {doing}: {error} is missing, apt-get install {missing}") from None
    process = mortal(*arguments, _bg=True, _bg_exc=False, _tty_out=False)
    while True:
        try:
            process.wait(timeout=LOOK_SECONDS)
            return True
        except sh.TimeoutException:
            if give_way():
                process.kill()
                with contextlib.suppress(sh.ErrorReturnCode):
                    process.wait()
                return False
        except sh.ErrorReturnCode as error:
            raise DriverError(f"cannot {doing}: {last_words(error)}") from None


def last_words(error: sh.ErrorReturnCode) -> str:
    """What a program that failed said last."""
    lines = error.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"exit status {error.exit_code}"
