"""Placeholder until the converter is written."""

from __future__ import annotations

from typing import Any

from agent.core.specs import ImageInfo


class SandboxedConverter:
    """Satisfies core.protocols.Converter."""

    def probe(self, source: int, declared: str = "") -> ImageInfo:
        raise NotImplementedError

    def convert(self, *arguments: Any, **options: Any) -> None:
        raise NotImplementedError

    def export(self, *arguments: Any, **options: Any) -> None:
        raise NotImplementedError
