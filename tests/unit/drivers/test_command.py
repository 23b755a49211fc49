"""Programs that fail are one clear line."""

import pytest

from agent.core.errors import DriverError
from agent.drivers import command


def test_output_and_input() -> None:
    assert command.run("cat", doing="copy", package="coreutils", stdin="text\n") == "text\n"


def test_without_input_it_is_empty() -> None:
    assert command.run("cat", doing="copy", package="coreutils") == ""


def test_a_missing_program_names_its_package() -> None:
    with pytest.raises(DriverError, match=r"cannot do it: no-such-program is missing, apt-get install its-package"):
        command.run("no-such-program", doing="do it", package="its-package")


def test_the_last_line_of_the_complaint() -> None:
    with pytest.raises(DriverError, match=r"\Acannot do it: the cause\Z"):
        command.run("sh", "-c", "echo noise >&2; echo the cause >&2; exit 3", doing="do it", package="dash")
    with pytest.raises(DriverError, match=r"\Acannot do it: exit status 3\Z"):
        command.run("sh", "-c", "exit 3", doing="do it", package="dash")


def test_too_slow_is_transient() -> None:
    with pytest.raises(DriverError, match="did not end within 0 s") as caught:
        command.run("sleep", "60", doing="do it", package="coreutils", seconds=0.2)
    assert caught.value.transient


def test_killed_by_a_signal() -> None:
    with pytest.raises(DriverError, match=r"\Acannot do it: "):
        command.run("sh", "-c", "kill -9 $$", doing="do it", package="dash")
