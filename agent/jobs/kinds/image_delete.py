"""Job that removes the files of a deleted image, as far as no disk needs them. `data`: their names as `files`."""

from __future__ import annotations

from agent.jobs.kinds.image import drop_unused_layer
from agent.jobs.model import Context, Kind, Step, register

DROP_FILES = "image.drop_files"


def _drop(context: Context) -> None:
    for file in context.data["files"]:
        drop_unused_layer(context, file)


register(Kind(DROP_FILES, (Step("files", _drop),), patience=None))
