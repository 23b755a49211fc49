"""Completion of resource names: asked of the agent, kept for some seconds, silent when the agent is away."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecsctl.cli import app_of
from ecsctl.config import home, make_home, write_private
from ecsctl.errors import CliError

if TYPE_CHECKING:
    from ecsctl.client import Client

KEEP_SECONDS = 10.0
_PATIENCE_SECONDS = 1.0

Completer = Callable[[click.Context, click.Parameter, str], list[str]]
Lister = Callable[["Client"], list[str]]


def names(noun: str) -> Completer:
    """Completion by the names of a kind of resource (a key of ecsctl.resolve.BY_NOUN), ids of nameless ones."""

    def listing(client: Client) -> list[str]:
        from ecsctl.resolve import BY_NOUN, describe

        kind = BY_NOUN[noun]
        return [str(item.get(kind.name_field) or item[kind.id_field]) for item in describe(client, kind)]

    return from_agent(noun, listing)


def values(action: str, wrapper: str, field: str) -> Completer:
    """Completion by one field of a list action that has no pages."""

    def listing(client: Client) -> list[str]:
        from ecsctl.client import unwrap

        return [str(item[field]) for item in unwrap(client.regional(action), wrapper)]

    return from_agent(action, listing)


def from_agent(what: str, listing: Lister) -> Completer:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        taken = ctx.params.get(param.name or "") or ()
        try:
            found = _cached(ctx, what, listing)
        except (CliError, OSError, LookupError, ValueError):
            return []  # a shell that completes has no place for an error
        return sorted({name for name in found if name.startswith(incomplete)} - set(taken))

    return complete


def _cached(ctx: click.Context, what: str, listing: Lister) -> list[str]:
    from ecsctl.client import Client

    settings = app_of(ctx).settings
    about = "\n".join([what, settings.endpoint, settings.access_key_id, settings.region])
    path = _cache_file(hashlib.sha256(about.encode()).hexdigest()[:16])
    if path.exists() and 0 <= time.time() - path.stat().st_mtime < KEEP_SECONDS:
        kept: list[str] = json.loads(path.read_text())
        return kept
    found = listing(Client(settings, timeout=_PATIENCE_SECONDS))
    make_home("cache")
    write_private(path, json.dumps(found))
    return found


def _cache_file(key: str) -> Path:
    return home() / "cache" / f"names-{key}.json"
