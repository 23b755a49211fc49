"""The agent's program with a clock that is ECS_AHEAD seconds ahead: for what is due at some hour.

ECS_AHEAD=1800 python -m tests.support.agent_ahead run --config agent.toml
"""

from __future__ import annotations

import datetime as dt
import os

from agent.core.clock import SystemClock
from agent.main import main

AHEAD = dt.timedelta(seconds=float(os.environ["ECS_AHEAD"]))


def now(self: SystemClock) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + AHEAD


if __name__ == "__main__":
    SystemClock.now = now  # type: ignore[method-assign]
    main()
