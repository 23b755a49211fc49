"""`images/<id>/image.toml` → Recipe: pure."""

from __future__ import annotations

import re
from typing import Any

from agent.core.specs import Download, Recipe

_LENGTHS = {"sha256": 64, "sha512": 128}
_FINGERPRINT = re.compile(r"[0-9A-F]{40}")
COMPRESSIONS = ("", "xz")


def parse(raw: dict[str, Any]) -> Recipe:
    """Raises KeyError for what is missing and ValueError for what cannot be meant, naming it."""
    return Recipe(
        image_id=raw["id"],
        description=raw["description"],
        os_type=raw["os_type"],
        os_name=raw["os_name"],
        platform=raw["platform"],
        architecture=raw["architecture"],
        size_gib=raw["size_gib"],
        default_user=raw["default_user"],
        # Windows brings none of these drivers by itself.
        virtio=bool(raw.get("virtio", raw["os_type"] != "windows")),
        version=raw.get("version", ""),
        setup=raw.get("setup", "seed"),
        changes=tuple(raw.get("changes", ())),
        notes=tuple(raw.get("notes", ())),
        download=_download(raw["download"]) if "download" in raw else None,
    )


def _download(raw: dict[str, Any]) -> Download:
    """What is not signed must come by https, all of it."""
    found = Download(
        url=raw["url"],
        checksums=raw["checksums"],
        algorithm=raw["algorithm"],
        signature=raw.get("signature", ""),
        key=raw.get("key", ""),
        fingerprints=tuple(_fingerprint(text) for text in raw.get("fingerprints", ())),
        compression=raw.get("compression", ""),
    )
    if found.algorithm not in _LENGTHS:
        raise ValueError(f"algorithm {found.algorithm!r} must be one of {', '.join(_LENGTHS)}")
    if found.compression not in COMPRESSIONS:
        raise ValueError(f"compression {found.compression!r} is not known")
    if bool(found.fingerprints) != bool(found.key):
        raise ValueError("key and fingerprints need each other")
    if found.signature and not found.fingerprints:
        raise ValueError("a signature needs fingerprints")
    schemes = ("https://",) if not found.fingerprints else ("https://", "http://")
    for url in (found.url, found.checksums, found.signature, found.key):
        if url and not url.startswith(schemes):
            raise ValueError(f"{url!r} must begin with {' or '.join(schemes)}")
    return found


def _fingerprint(text: str) -> str:
    packed = text.replace(" ", "").upper()
    if not _FINGERPRINT.fullmatch(packed):
        raise ValueError(f"{text!r} is no fingerprint: 40 hexadecimal digits")
    return packed


def checksum_in(listing: str, url: str, listing_url: str, algorithm: str) -> str:
    """The checksum (hex) of the file at `url` in a list as sha256sum or BSD's sha256 write it. A list of one file,
    named after it, may call it otherwise: it was renamed when it was published. Raises ValueError."""
    name = url.rpartition("/")[2]
    entries = _entries(listing, _LENGTHS[algorithm])
    found = {digest for entry, digest in entries if entry == name}
    if not found and len(entries) == 1 and listing_url.startswith(f"{url}."):
        found = {entries[0][1]}
    if len(found) != 1:
        raise ValueError(f"the list of checksums {listing_url} has {len(found) or 'no'} {algorithm} of {name}")
    return found.pop()


def _entries(listing: str, length: int) -> list[tuple[str, str]]:
    digest = rf"[0-9a-fA-F]{{{length}}}"
    lines = re.compile(rf"(?P<gnu>{digest})(?:[ \t]+\*?(?P<name>\S+))?|\S+ \((?P<of>[^)]+)\) = (?P<bsd>{digest})")
    found = (lines.fullmatch(line.strip()) for line in listing.splitlines())
    return [(one["name"] or one["of"] or "", (one["gnu"] or one["bsd"]).lower()) for one in found if one]
