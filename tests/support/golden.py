"""Golden files: what a pure translation gives, kept in tests/golden and read by people in reviews."""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def check(name: str, text: str) -> None:
    """`text` is what the golden file `name` holds. With UPDATE_GOLDEN=1 in the environment the file is rewritten."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.exists(), f"{path} is missing: run once with UPDATE_GOLDEN=1 and review it"
    assert text == path.read_text()
