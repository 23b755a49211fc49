"""What the metadata service answers to one request of a known instance, without any sockets.

Without tokens (the default mode) everything may simply be asked for. A token shows that the program in the guest can
send more than a plain GET, which a mere proxy that was talked into a request cannot; the hardened mode asks for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agent.api.metadata import tree
from agent.services.instance_credentials import MAX_TOKEN_SECONDS, Tokens
from agent.services.metadata import InstanceFacts

TOKEN_PATH = "/latest/api/token"
TOKEN = "x-aliyun-ecs-metadata-token"
TOKEN_SECONDS = "x-aliyun-ecs-metadata-token-ttl-seconds"
READING = ("GET", "HEAD")
_REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
}

Find = Callable[[str, str], InstanceFacts | None]


@dataclass(frozen=True)
class Question:
    """Header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """Bytes are the user's own data, text is ours."""

    status: int
    body: str | bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(status: int, **headers: str) -> Answer:
    return Answer(status, f"{status} {_REASONS[status]}\n", headers)


class Answers:
    """`find` gives the instance at an address of a VPC."""

    def __init__(self, find: Find, live: tree.Live, tokens: Tokens) -> None:
        self._find, self._live, self._tokens = find, live, tokens

    def to(self, vpc_id: str, source: str, question: Question) -> Answer:
        """The answer for the guest at `source`, about nobody but itself."""
        facts = self._find(vpc_id, source)
        if facts is None:
            return refusal(404)
        if not facts.enabled:
            return refusal(403)
        if question.path == TOKEN_PATH:
            return self._token(facts, question)
        if question.method not in READING:
            return refusal(405, Allow=", ".join(READING))
        token = question.headers.get(TOKEN)
        if token is not None and not self._tokens.good(facts.instance_id, token):
            return refusal(401)
        if token is None and facts.token_required:
            return refusal(403)
        return self._item(facts, question)

    def _token(self, facts: InstanceFacts, question: Question) -> Answer:
        if question.method != "PUT":
            return refusal(405, Allow="PUT")
        # Who is forwarded for somebody else may not be a program of this guest.
        if "x-forwarded-for" in question.headers:
            return refusal(403)
        wanted = question.headers.get(TOKEN_SECONDS, "")
        if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 9 and 1 <= int(wanted) <= MAX_TOKEN_SECONDS):
            return refusal(400)
        return Answer(200, self._tokens.issue(facts.instance_id, int(wanted)), {TOKEN_SECONDS: wanted})

    def _item(self, facts: InstanceFacts, question: Question) -> Answer:
        audience = question.query.get("audience", "")
        if len(audience) > tree.MAX_AUDIENCE or not audience.isprintable():
            return refusal(400)
        found = tree.look_up(tree.build(facts, self._live), question.path, question.query)
        return refusal(404) if found is None else Answer(200, found)
