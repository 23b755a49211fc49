"""Whether, and how strictly, the metadata service answers an instance (SPEC I11). Effective at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.store.schema import Instance

HOP_LIMIT = 64  # of every answer: no other can be set

Endpoint = Literal["enabled", "disabled"]
Tokens = Literal["optional", "required"]


@dataclass(frozen=True)
class Options:
    """`tokens`: `required` is the hardened mode. None: as it is, or the default of a new instance."""

    endpoint: Endpoint | None = None
    tokens: Tokens | None = None


def put(instance: Instance, options: Options) -> None:
    """Change what is given."""
    if options.endpoint is not None:
        instance.metadata_enabled = options.endpoint == "enabled"
    if options.tokens is not None:
        instance.metadata_token_required = options.tokens == "required"
