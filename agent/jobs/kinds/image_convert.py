"""Converting a file for whoever handed it over (SPEC M10). `data`: source and target (handles), source_format (may be
empty), target_format.

Both files are the caller's, who waits for it: when he hangs up, or the agent ends, the job ends and nothing is left.
"""

from __future__ import annotations

import os
from pathlib import Path

from agent.core.errors import DriverError
from agent.drivers.image import sparse
from agent.jobs.model import Cancelled, Context, Kind, Step, register
from agent.jobs.open_files import OpenFile

_CONVERTED = 80  # percent of the work; the rest is giving the file back


def _convert(context: Context) -> None:
    data, files = context.data, context.open_files
    with files.opened(data["source"]) as source, files.opened(data["target"]) as target:
        if source is None or target is None:
            raise DriverError("the files are gone: whoever handed them over hung up, or the agent ended; try again")
        try:
            _write(context, source, target)
        except InterruptedError:
            raise Cancelled from None
        except OSError as error:
            raise DriverError(f"cannot write {target.name}: {error.strerror}") from None
        finally:
            _staged(context).unlink(missing_ok=True)


def _write(context: Context, source: OpenFile, target: OpenFile) -> None:
    def cancelled() -> bool:
        with context.open_files.opened(context.data["target"]) as file:
            return file is None or context.cancelled()

    def report(done: int, weight: int, before: int) -> None:
        context.report(before + done * weight // 100, f"{source.name} to {context.data['target_format']}")

    converter, staged = context.drivers.converter, _staged(context)
    info = converter.probe(source.descriptor, context.data["source_format"])
    converter.convert(
        source.descriptor,
        info,
        staged,
        context.data["target_format"],
        report=lambda percent: report(percent, _CONVERTED, 0),
        cancelled=cancelled,
    )
    with staged.open("rb") as made:
        sparse.copy(
            made.fileno(),
            target.descriptor,
            report=lambda percent: report(percent, 100 - _CONVERTED, _CONVERTED),
            cancelled=cancelled,
        )
    os.fsync(target.descriptor)


def _staged(context: Context) -> Path:
    return context.config.staging_dir / f"{context.job_id}.{context.data['target_format']}"


def _undo(context: Context) -> None:
    _staged(context).unlink(missing_ok=True)


CONVERT = register(Kind("image.convert", (Step("convert", _convert, _undo),), cancellable_until=0))
