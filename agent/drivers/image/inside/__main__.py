"""{"do": "inspect" or "edit", "disk": path, "emulate": bool, …} → {"facts": …}, or {"error": …, "content": bool}."""

from __future__ import annotations

import json
import sys
from typing import Any

from . import edit, facts
from .guest import Guest, Unusable, opened

TASKS = {"inspect": facts.gather, "edit": edit.apply}


def main() -> int:
    order: dict[str, Any] = json.load(sys.stdin)
    task = TASKS[order["do"]]
    answer: dict[str, Any]
    try:
        with opened(order["disk"], writable=order["do"] == "edit", emulate=order["emulate"]) as handle:
            answer = {"facts": task(Guest(handle), order)}
    except Unusable as error:
        answer = {"error": str(error), "content": error.content}
    json.dump(answer, sys.stdout)
    return 0


sys.exit(main())
