"""Converting disk images for callers (SPEC M10). `data`: source_format (may be empty) and target_format.

`image.convert`: `source` and `target` are handles of files that the caller handed over and waits for: when he hangs up,
or the agent ends, the job ends and nothing is left. `image.convert_object`: of an object, `source`, to another one,
`bucket` and `object`; it goes on after a restart.
"""

from __future__ import annotations

from pathlib import Path

from agent.core.errors import DriverError
from agent.jobs import reports, slots
from agent.jobs.model import Cancelled, Context, Kind, Step, register
from agent.jobs.open_files import OpenFile

_FETCHED, _CONVERTED, _SENT = 20, 80, 99  # percent of the work; the last part is giving back what was made


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
    converter.hand_out(
        staged,
        target.descriptor,
        report=lambda percent: report(percent, 100 - _CONVERTED, _CONVERTED),
        cancelled=cancelled,
    )


def _staged(context: Context) -> Path:
    return context.config.staging_dir / f"{context.job_id}.{context.data['target_format']}"


def _undo(context: Context) -> None:
    _staged(context).unlink(missing_ok=True)


CONVERT = register(Kind("image.convert", (Step("convert", _convert, _undo),), cancellable_until=0))


# ------------------------------------------------------------------------------ objects


def _convert_object(context: Context) -> None:
    data, staged = context.data, _staged(context)
    staged.unlink(missing_ok=True)
    try:
        with slots.slot():
            _make(context, staged)
            context.drivers.objects.put(
                data["bucket"],
                data["object"],
                staged,
                report=reports.part(context.report, _CONVERTED, _SENT, "storing"),
                cancelled=context.cancelled,
            )
    except InterruptedError:
        raise Cancelled from None
    finally:
        staged.unlink(missing_ok=True)


def _make(context: Context, staged: Path) -> None:
    source, wanted = context.data["source"], context.data["target_format"]
    with context.drivers.objects.opened(
        source["bucket"],
        source["object"],
        report=reports.part(context.report, 0, _FETCHED, "fetching"),
        cancelled=context.cancelled,
    ) as descriptor:
        info = context.drivers.converter.probe(descriptor, context.data["source_format"])
        context.drivers.converter.convert(
            descriptor,
            info,
            staged,
            wanted,
            report=reports.part(context.report, _FETCHED, _CONVERTED, f"{info.format} to {wanted}"),
            cancelled=context.cancelled,
        )


def _discard_object(context: Context) -> None:
    _undo(context)
    context.drivers.objects.remove(context.data["bucket"], context.data["object"])
    _remove_source(context)


def _remove_source(context: Context) -> None:
    """One that was sent only for this."""
    source = context.data["source"]
    if source["after"] == "remove":
        context.drivers.objects.remove(source["bucket"], source["object"])


CONVERT_OBJECT = register(
    Kind(
        "image.convert_object",
        (Step("convert", _convert_object, _discard_object), Step("remove upload", _remove_source)),
        cancellable_until=0,
        task="ConvertImage",
    )
)
