"""The catalogue of recipes (`images/`): reading them, running one, downloading what one names."""

from __future__ import annotations

import collections
import contextlib
import logging
import re
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import sh

from agent.core.errors import DriverError
from agent.core.specs import Download, Recipe
from agent.drivers import durable
from agent.drivers.image import distribution
from agent.drivers.image.recipe import parse

log = logging.getLogger(__name__)

_PROGRESS = re.compile(r"progress ([0-9]{1,3}) (.*)")
_KEPT_LINES = 20
_LOOK_SECONDS, _PAUSE_SECONDS = 0.5, 0.1  # between looks whether to give up, and whether it has ended


class Catalogue:
    """Satisfies core.protocols.Builder: recipes in `directory`, one folder each, and the program `build` beside them.
    What is downloaded goes to `staging`, where it stays until it is used or forgotten for a week."""

    def __init__(self, directory: Path, staging: Path) -> None:
        self._directory, self._staging = directory, staging
        self._downloads = distribution.Downloads(staging)

    def recipes(self) -> dict[str, Recipe]:
        """All readable recipes; one with a fault is logged and left out."""
        found = {}
        for path in sorted(self._directory.glob("*/image.toml")):
            try:
                recipe = parse(tomllib.loads(path.read_text()))
            except (OSError, ValueError, KeyError) as error:
                log.warning("the recipe %s cannot be used: %r", path, error)
                continue
            found[recipe.image_id] = recipe
        return found

    def newest(self, image_id: str, cancelled: Callable[[], bool] = lambda: False) -> str:
        if download := self._recipe(image_id).download:
            return distribution.newest(image_id, download)
        states: list[str] = []
        work = ["--work", str(self._staging / f"{durable.TEMPORARY}{image_id}-state")]
        self._run(image_id, ["--state", *work], states.append, cancelled)
        if not states:
            raise DriverError(f"the recipe of {image_id} does not say what it would be made of")
        return f"build:{states[-1].strip()}"

    def build(
        self,
        image_id: str,
        output: Path,
        report: Callable[[int, str], None],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Run the recipe; raises DriverError with its last words when it fails, InterruptedError when cancelled."""

        def on_output(line: str) -> None:
            match = _PROGRESS.match(line)
            if match:
                report(min(99, int(match[1])), match[2].strip())

        self._run(image_id, ["--output", str(output)], on_output, cancelled)

    def download(
        self,
        image_id: str,
        checksum: str,
        report: Callable[[int, str], None],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Path:
        return self._downloads.file(image_id, self._download(image_id), checksum, report, cancelled)

    def discard_download(self, image_id: str) -> None:
        self._downloads.discard(image_id)

    def _recipe(self, image_id: str) -> Recipe:
        recipe = self.recipes().get(image_id)
        if recipe is None:
            raise DriverError(f"the catalogue {self._directory} has no recipe {image_id} any more")
        return recipe

    def _download(self, image_id: str) -> Download:
        download = self._recipe(image_id).download
        if download is None:
            raise DriverError(f"the recipe {image_id} names no download any more")
        return download

    def _run(
        self, image_id: str, arguments: list[str], on_output: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> None:
        last: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)

        def on_error(line: str) -> None:
            last.append(line.rstrip())
            log.info("building %s: %s", image_id, line.rstrip())

        try:
            # The build must not outlive an agent that is killed: its successor begins it afresh.
            process = sh.Command("setpriv")(
                *("--pdeathsig", "TERM", str(self._directory / "build"), image_id, *arguments),
                _out=on_output,
                _err=on_error,
                _bg=True,
                _bg_exc=False,
            )
            _wait(process, cancelled)
        except sh.CommandNotFound as error:
            raise DriverError(f"cannot build the image {image_id}: the program {error} is missing") from None
        except sh.ErrorReturnCode as error:
            words = next((line for line in reversed(last) if line.strip()), "it said nothing")
            raise DriverError(f"building the image {image_id} failed ({error.exit_code}): {words}") from None


def _wait(process: sh.RunningCommand, cancelled: Callable[[], bool]) -> None:
    """Until the process and its output have ended. When `cancelled` it may clean up; then InterruptedError."""
    looked = time.monotonic()
    while process.is_alive():
        time.sleep(_PAUSE_SECONDS)
        if time.monotonic() - looked >= _LOOK_SECONDS:
            looked = time.monotonic()
            if cancelled():
                process.terminate()
                with contextlib.suppress(sh.ErrorReturnCode):
                    process.wait()
                raise InterruptedError
    process.wait()
