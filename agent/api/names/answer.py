"""DNS answers about the instances of a VPC: pure, on dnspython's messages.

Names are `<host name>.<domain>`, also by the instance's id or its name where that could be a host name; addresses
lead back to host names. A name of one label is the same as within the domain: guests that add no search domain mean
their neighbours by it, and nobody outside knows such names.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from typing import Protocol

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

TTL = 10  # seconds: instances come and go
_HEAD = struct.Struct("!6H")  # id, flags, and how many records each section has
_SOA = "{domain}. hostmaster.{domain}. 1 3600 600 86400 10"


class Known(Protocol):
    """What there is to tell one guest. Each question may block."""

    def addresses(self, label: str) -> Sequence[str]:
        """Of the instances with that name, in lower case."""

    def host_name(self, address: str) -> str | None:
        """Of the instance with that address."""

    def is_inside(self, address: str) -> bool:
        """Whether the address is of the guest's own network."""


def parse(data: bytes) -> dns.message.QueryMessage | None:
    """A query with one question; None for anything else, which is not answered."""
    if len(data) < _HEAD.size:
        return None
    _, flags, *records = _HEAD.unpack_from(data)
    # Looked at first: reading what a guest puts into the other sections takes long, and nobody needs it.
    if flags & dns.flags.QR or records[:3] != [1, 0, 0] or records[3] > 1:
        return None
    try:
        message = dns.message.from_wire(data, ignore_trailing=True, one_rr_per_rrset=False)
    except (dns.exception.DNSException, ValueError, EOFError):
        return None
    if not isinstance(message, dns.message.QueryMessage) or message.opcode() != dns.opcode.QUERY:
        return None
    return message if len(message.question) == 1 else None


def may_go_out(query: dns.message.QueryMessage) -> bool:
    """Whether the host asks this for a guest. Its name servers let the host have what is no guest's business, such as
    whole zones."""
    question = query.question[0]
    whole = (dns.rdatatype.AXFR, dns.rdatatype.IXFR, dns.rdatatype.MAILA, dns.rdatatype.MAILB)
    return question.rdclass == dns.rdataclass.IN and question.rdtype not in whole


def own_answer(query: dns.message.QueryMessage, domain: str, known: Known) -> dns.message.Message | None:
    """The whole answer to a question about instances; None: it is about the rest of the world."""
    question = query.question[0]
    zone = dns.name.from_text(domain)
    label = _label(question.name, zone)
    reverse = _reverse(question.name)
    if question.rdclass != dns.rdataclass.IN:
        return None
    if label is not None:
        return _by_name(query, zone, label, known)
    if reverse is not None and known.is_inside(reverse):
        return _by_address(query, zone, reverse, known)
    return None


def refusal(query: dns.message.QueryMessage, code: dns.rcode.Rcode) -> dns.message.Message:
    """An answer without content."""
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(code)
    return response


def to_wire(response: dns.message.Message, limit: int) -> bytes:
    """At most `limit` bytes; what does not fit is left out and said so, for the guest to ask again by TCP."""
    return response.to_wire(max_size=limit, prefer_truncation=True)


def _label(name: dns.name.Name, zone: dns.name.Name) -> str | None:
    """The host's part of a name, empty for the domain itself; None: it is not ours."""
    if len(name.labels) == 2:  # its own and the root's
        return _text(name.labels[0])
    if not name.is_subdomain(zone):
        return None
    inside = name.relativize(zone).labels
    return _text(inside[0]) if len(inside) == 1 else "" if not inside else "."


def _text(label: bytes) -> str:
    return label.decode("ascii", "replace").lower()


def _reverse(name: dns.name.Name) -> str | None:
    try:
        address = dns.reversename.to_address(name)
        return str(ipaddress.IPv4Address(address))
    except (dns.exception.DNSException, ValueError):
        return None


def _by_name(query: dns.message.QueryMessage, zone: dns.name.Name, label: str, known: Known) -> dns.message.Message:
    question, response = query.question[0], _authoritative(query)
    found = known.addresses(label) if label and label != "." else ()
    wants_addresses = question.rdtype in (dns.rdatatype.A, dns.rdatatype.ANY)
    if found and wants_addresses:
        response.answer.append(dns.rrset.from_text_list(question.name, TTL, "IN", "A", list(found)))
        return response
    if not found and label:
        response.set_rcode(dns.rcode.NXDOMAIN)
    return _with_soa(response, zone)


def _by_address(
    query: dns.message.QueryMessage, zone: dns.name.Name, address: str, known: Known
) -> dns.message.Message:
    question, response = query.question[0], _authoritative(query)
    name = known.host_name(address)
    if name is not None and question.rdtype in (dns.rdatatype.PTR, dns.rdatatype.ANY):
        target = dns.name.from_text(name, zone).to_text()
        response.answer.append(dns.rrset.from_text(question.name, TTL, "IN", "PTR", target))
        return response
    if name is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
    return _with_soa(response, zone)


def _authoritative(query: dns.message.QueryMessage) -> dns.message.Message:
    response = dns.message.make_response(query, recursion_available=True)
    response.flags |= dns.flags.AA
    return response


def _with_soa(response: dns.message.Message, zone: dns.name.Name) -> dns.message.Message:
    """Says for how long "no" may be kept."""
    domain = zone.to_text(omit_final_dot=True)
    response.authority.append(dns.rrset.from_text(zone, TTL, "IN", "SOA", _SOA.format(domain=domain)))
    return response
