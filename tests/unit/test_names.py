"""The name server's answers about instances (issue: names of a VPC)."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from agent.api.names.answer import own_answer, parse, refusal, to_wire


class Lab:
    """What one guest of 192.168.0.0/24 knows."""

    def addresses(self, label: str) -> list[str]:
        return {"web": ["192.168.0.5"], "db": ["192.168.0.6", "192.168.0.7"]}.get(label, [])

    def host_name(self, address: str) -> str | None:
        return "web" if address == "192.168.0.5" else None

    def is_inside(self, address: str) -> bool:
        return address.startswith("192.168.0.")


@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [
        ("web.ecs.internal", "A", "NOERROR", ["192.168.0.5"]),
        ("WEB.ECS.Internal", "A", "NOERROR", ["192.168.0.5"]),
        ("web", "A", "NOERROR", ["192.168.0.5"]),
        ("db.ecs.internal", "A", "NOERROR", ["192.168.0.6", "192.168.0.7"]),
        ("db.ecs.internal", "ANY", "NOERROR", ["192.168.0.6", "192.168.0.7"]),
        ("web.ecs.internal", "AAAA", "NOERROR", []),
        ("nobody.ecs.internal", "A", "NXDOMAIN", []),
        ("deep.web.ecs.internal", "A", "NXDOMAIN", []),
        ("ecs.internal", "A", "NOERROR", []),
        ("localdomain", "A", "NXDOMAIN", []),
        ("5.0.168.192.in-addr.arpa", "PTR", "NOERROR", ["web.ecs.internal."]),
        ("9.0.168.192.in-addr.arpa", "PTR", "NXDOMAIN", []),
        ("5.0.168.192.in-addr.arpa", "A", "NOERROR", []),
    ],
)
def test_answers_about_instances(name: str, kind: str, code: str, answers: list[str]) -> None:
    query = _query(name, kind)
    answer = own_answer(query, "ecs.internal", Lab())
    assert answer is not None
    assert (answer.id, dns.rcode.to_text(answer.rcode())) == (query.id, code)
    assert [str(item) for rrset in answer.answer for item in rrset] == answers
    assert answer.flags & dns.flags.AA
    assert bool(answer.authority) != bool(answers)
    assert dns.message.from_wire(to_wire(answer, 512)).question == query.question


@pytest.mark.parametrize("name", ["www.example.com", "web.other.internal", "8.8.8.8.in-addr.arpa", "."])
def test_the_rest_of_the_world_is_asked_elsewhere(name: str) -> None:
    assert own_answer(_query(name, "A"), "ecs.internal", Lab()) is None


def test_what_is_no_question_is_not_answered() -> None:
    answer = refusal(_query("web", "A"), dns.rcode.REFUSED).to_wire()
    two = dns.message.make_query("web", "A")
    two.question.append(dns.message.make_query("db", "A").question[0])
    for data in (
        b"",
        b"\0" * 11,
        b"\xff" * 40,
        answer,
        dns.message.make_query("web", "A").to_wire()[:-1],
        two.to_wire(),
    ):
        assert parse(data) is None


def test_what_does_not_fit_is_said_to() -> None:
    query = _query("many.ecs.internal", "A")

    class Many(Lab):
        def addresses(self, label: str) -> list[str]:
            return [f"192.168.1.{number}" for number in range(200)]

    answer = own_answer(query, "ecs.internal", Many())
    assert answer is not None
    short = dns.message.from_wire(to_wire(answer, 512), raise_on_truncation=False)
    assert short.flags & dns.flags.TC
    assert len(to_wire(answer, 65535)) > 3000


def _query(name: str, kind: str) -> dns.message.QueryMessage:
    query = parse(dns.message.make_query(name if name.endswith(".") else name + ".", kind).to_wire())
    assert query is not None
    return query
