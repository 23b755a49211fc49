"""Who may send mail to the outside (SPEC F5): nobody but whom the host's owner names in the configuration."""

from __future__ import annotations

import re

from agent.config import Config, ConfigError
from agent.core import ids

EVERYBODY = "all"
_ACCOUNT = re.compile(r"[1-9][0-9]{15}\Z")


def check(config: Config) -> None:
    """At the agent's start. Raises ConfigError for what names neither an account nor an instance."""
    for one in config.mail_allowed:
        if one != EVERYBODY and not _ACCOUNT.match(one) and not ids.is_id("instance", one):
            raise ConfigError(
                f"mail_allowed: {one!r} must be the number of an account, the id of an instance, or {EVERYBODY!r}"
            )


def may_send(config: Config, account_id: str, instance_id: str | None) -> bool:
    """Whether tcp 25 is open to the outside for an account's instance, as far as its security groups let it out."""
    allowed = config.mail_allowed
    return EVERYBODY in allowed or account_id in allowed or instance_id in allowed
