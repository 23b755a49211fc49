"""The version, from its one place: pyproject.toml, by way of the installed package where there is one."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path


def version() -> str:
    """`0.1.0`."""
    try:
        return installed_version("ecsctl")
    except PackageNotFoundError:  # run from the source tree
        text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text()
        return str(tomllib.loads(text)["project"]["version"])
