"""The catalogue of recipes (`images/`), and running one of them."""

from __future__ import annotations

import collections
import logging
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import sh

from agent.core.errors import DriverError
from agent.core.specs import Recipe

log = logging.getLogger(__name__)

_PROGRESS = re.compile(r"progress ([0-9]{1,3}) (.*)")
_KEPT_LINES = 20


class Catalogue:
    """Recipes in `directory`, one folder each, and the program `build` beside them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def recipes(self) -> dict[str, Recipe]:
        """All readable recipes; one with a fault is logged and left out."""
        found = {}
        for path in sorted(self._directory.glob("*/image.toml")):
            try:
                recipe = _read(path)
            except (OSError, ValueError, KeyError) as error:
                log.warning("the recipe %s cannot be used: %r", path, error)
                continue
            found[recipe.image_id] = recipe
        return found

    def build(self, image_id: str, output: Path, report: Callable[[int, str], None]) -> None:
        """Run the recipe; raises DriverError with its last words when it fails."""
        program = self._directory / "build"
        last: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)

        def on_output(line: str) -> None:
            match = _PROGRESS.match(line)
            if match:
                report(min(99, int(match[1])), match[2].strip())

        def on_error(line: str) -> None:
            last.append(line.rstrip())
            log.info("building %s: %s", image_id, line.rstrip())

        try:
            # The build must not outlive an agent that is killed: its successor begins it afresh.
            sh.Command("setpriv")(
                "--pdeathsig", "TERM", str(program), image_id, "--output", str(output), _out=on_output, _err=on_error
            )
        except sh.CommandNotFound as error:
            raise DriverError(f"cannot build the image {image_id}: the program {error} is missing") from None
        except sh.ErrorReturnCode as error:
            words = next((line for line in reversed(last) if line.strip()), "it said nothing")
            raise DriverError(f"building the image {image_id} failed ({error.exit_code}): {words}") from None


def _read(path: Path) -> Recipe:
    raw = tomllib.loads(path.read_text())
    return Recipe(
        image_id=raw["id"],
        description=raw["description"],
        os_type=raw["os_type"],
        os_name=raw["os_name"],
        platform=raw["platform"],
        architecture=raw["architecture"],
        size_gib=raw["size_gib"],
        default_user=raw["default_user"],
        # Windows brings none of these drivers by itself.
        virtio=bool(raw.get("virtio", raw["os_type"] != "windows")),
    )
