"""Exporting an image (SPEC M9). `data`: bucket, object, format; the object's name is nobody else's."""

from __future__ import annotations

from pathlib import Path

from agent.jobs import image_content, reports, slots
from agent.jobs.model import Cancelled, Context, Kind, Step, register

_WRITTEN, _SENT = 60, 99  # percent when the file is written, and when it is where it shall be


def _export(context: Context) -> None:
    """In one step: what is in staging is swept when the agent starts anew."""
    with slots.slot():
        _write(context)


def _write(context: Context) -> None:
    target = _staged(context)
    target.unlink(missing_ok=True)
    try:
        with image_content.files(context, context.resource_id) as chain:
            context.drivers.converter.export(
                chain,
                target,
                context.data["format"],
                report=reports.part(context.report, 0, _WRITTEN, "writing"),
                cancelled=context.cancelled,
            )
        context.drivers.objects.put(
            context.data["bucket"],
            context.data["object"],
            target,
            report=reports.part(context.report, _WRITTEN, _SENT, "sending"),
            cancelled=context.cancelled,
        )
    except InterruptedError:
        raise Cancelled from None
    finally:
        target.unlink(missing_ok=True)


def _discard(context: Context) -> None:
    _staged(context).unlink(missing_ok=True)
    context.drivers.objects.remove(context.data["bucket"], context.data["object"])


def _staged(context: Context) -> Path:
    return context.config.staging_dir / f"{context.job_id}.{context.data['format']}"


EXPORT = register(Kind("image.export", (Step("export", _export, _discard),), cancellable_until=0, task="ExportImage"))
