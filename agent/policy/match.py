"""Patterns of actions and resources: `*` stands for any characters, `?` for one."""

from __future__ import annotations

import re
from functools import lru_cache

ARN_PARTS = 5  # acs : service : region : account : resource


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    first, *rest = ("".join("." if c == "?" else re.escape(c) for c in part) for part in pattern.split("*"))
    if rest:
        # The earliest place of each part is as good as any: without going back, no pattern takes long.
        *middle, last = rest
        first += "".join(f"(?>.*?{part})" for part in middle if part) + ".*" + last
    return re.compile(first, re.DOTALL)


def like(pattern: str, text: str) -> bool:
    """Upper and lower case differ."""
    return _compiled(pattern).fullmatch(text) is not None


def action_matches(pattern: str, action: str) -> bool:
    """`ecs:Describe*` and `ecs:DescribeInstances`; case does not matter. Neither part reaches over the colon."""
    if pattern == "*":
        return True
    wanted, given = pattern.lower().split(":", 1), action.lower().split(":", 1)
    return len(wanted) == len(given) == 2 and all(like(w, g) for w, g in zip(wanted, given, strict=True))


def resource_matches(pattern: str, arn: str) -> bool:
    """ARNs part by part; a region or account left empty in the pattern, as RAM's own are, is any."""
    if pattern == "*":
        return True
    wanted, given = pattern.split(":", ARN_PARTS - 1), arn.split(":", ARN_PARTS - 1)
    if len(wanted) != ARN_PARTS or len(given) != ARN_PARTS:
        return False
    filled = [part or "*" if place in (2, 3) else part for place, part in enumerate(wanted)]
    return all(like(w, g) for w, g in zip(filled, given, strict=True))
