"""`ecsctl dial-stdio`: what the ssh:// transport runs on the host."""

from __future__ import annotations

from ecsctl.cli import App, command
from ecsctl.config import DEFAULT_SOCKET
from ecsctl.errors import Unreachable
from ecsctl.relay import Plain, relay
from ecsctl.transport import open_transport

_TIMEOUT = 10.0


@command("dial-stdio", hidden=True)
def dial_stdio(app: App) -> None:
    """Connect stdin and stdout to the agent of this host."""
    from dataclasses import replace

    settings = app.settings
    if not settings.endpoint.startswith("unix:"):
        settings = replace(settings, endpoint=f"unix://{DEFAULT_SOCKET}")
    connection = open_transport(settings).connect(_TIMEOUT)
    with connection:
        try:
            relay(connection, Plain(), half_close=True)
        except OSError as error:
            raise Unreachable(f"the connection to {settings.endpoint} broke: {error.strerror or error}") from None
