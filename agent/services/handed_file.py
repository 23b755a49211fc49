"""Files that callers handed over by the door for files (api/edge/files.py), known by their handles."""

from __future__ import annotations

import fcntl
import os

from agent.core.errors import InvalidParameter, NotFound
from agent.services.context import Caller


def name_of(caller: Caller, parameter: str, handle: str) -> str:
    """What its owner calls the file; raises NotFound when the handle stands for none (any more)."""
    with caller.services.runner.open_files.opened(handle) as file:
        if file is None:
            raise NotFound("InvalidFileHandle.NotFound", parameter, handle)
        return file.name


def check_target(caller: Caller, parameter: str, handle: str) -> None:
    """Raises NotFound, and InvalidParameter for a file that is not new and open for writing."""
    with caller.services.runner.open_files.opened(handle) as file:
        if file is None:
            raise NotFound("InvalidFileHandle.NotFound", parameter, handle)
        if fcntl.fcntl(file.descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDWR:
            raise InvalidParameter(parameter, handle, "the file must be open for reading and writing.")
        if os.fstat(file.descriptor).st_size:
            raise InvalidParameter(parameter, handle, "the file must be empty.")
