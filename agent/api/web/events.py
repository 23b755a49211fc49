"""Who was at which console, in the audit log beside the API's calls."""

from __future__ import annotations

import logging

from agent.api.edge.audit import AuditLog
from agent.api.edge.call import new_request_id
from agent.api.edge.registry import HOST
from agent.api.edge.request import Peer
from agent.api.web.access import PageSession

logger = logging.getLogger(__name__)


class ConsoleEvents:
    """Each event is a line in the audit log and one in the agent's own."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    def record(self, event: str, session: PageSession, peer: Peer, code: str = "", seconds: float = 0.0) -> None:
        """`event` is named as an action is; `code` is empty unless it failed."""
        who = session.identity
        self._audit.record(
            request_id=new_request_id(),
            source=str(peer),
            action=event,
            version=HOST,
            params={"InstanceId": session.instance_id},
            identity=who,
            claimed_key="",
            resources=[],
            code=code,
            status=403 if code else 200,
            milliseconds=seconds * 1000,
        )
        level = logging.WARNING if code else logging.INFO
        principal = f"{who.account_id} {who.principal_type} {who.principal_name}".rstrip()
        logger.log(level, "%s %s by %s from %s %s", event, session.instance_id, principal, peer, code)
