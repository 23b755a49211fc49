"""An own action: which rule of which security group decides about a flow (SPEC F2-F5)."""

from __future__ import annotations

from typing import Any

from agent.api.caller import caller
from agent.api.edge.call import Call
from agent.api.edge.params import RegionParams
from agent.api.edge.registry import HOST, action
from agent.core.specs import Decision, Verdict, Why
from agent.services import security_group_explain as service
from agent.services.security_group_explain import End, Explanation, Side
from agent.store.schema import SecurityGroup, SecurityGroupRule

_WORDS = {Verdict.ACCEPT: "Accept", Verdict.DROP: "Drop", None: "Unknown"}


class ExplainParams(RegionParams):
    """Without a source somebody outside of the VPC is meant, whoever it is."""

    source_instance_id: str = ""
    source_ip: str = ""
    dest_instance_id: str = ""
    dest_ip: str = ""
    ip_protocol: str = "tcp"
    port: int = 0


@action("ExplainSecurityGroups", version=HOST, params=ExplainParams, resource="securitygroup/*", access="read")
def explain_security_groups(call: Call, p: ExplainParams) -> dict[str, Any]:
    """Port is the receiver's own, whatever a forwarded port makes of it."""
    source, destination = End(p.source_instance_id, p.source_ip), End(p.dest_instance_id, p.dest_ip)
    answer = service.explain(caller(call), source, destination, p.ip_protocol.lower(), p.port)
    return {
        "Explanations": {"Explanation": [_explanation(call, one) for one in answer.explanations]},
        "Notes": {"Note": answer.notes},
    }


def _explanation(call: Call, one: Explanation) -> dict[str, Any]:
    return {
        "Verdict": _WORDS[one.verdict],
        "Sources": {"Source": [source.removesuffix("/32") for source in one.sources]},
        "Sides": {"Side": [_side(call, side) for side in one.sides]},
    }


def _side(call: Call, side: Side) -> dict[str, Any]:
    decision, instance, group = side.decision, side.instance, side.group
    return {
        "Role": side.role,
        "Address": side.interface.ip,
        "InstanceId": instance.id if instance else "",
        "InstanceName": instance.name if instance else "",
        "NicType": side.interface.nic_type,
        "SecurityGroupIds": {
            "SecurityGroupId": [one.group_id for one in side.interface.memberships] if instance else []
        },
        "Verdict": _WORDS[decision.verdict if decision else None],
        "Reason": decision.why.value if decision else "foreign",
        "Because": _because(call, side, decision),
        "SecurityGroupId": decision.group if decision else "",
        "SecurityGroupName": group.name if group else "",
        "SecurityGroupRuleId": side.rule.id if side.rule else "",
        "Priority": str(side.rule.priority) if side.rule else "",
        "Trail": {"Step": list(decision.trail) if decision else []},
    }


def _because(call: Call, side: Side, decision: Decision | None) -> str:
    """One line for people."""
    if decision is None:
        return "another account's groups decide"
    group = _named(side.group, decision.group)
    if decision.why is Why.RULE and decision.rule is not None:
        said = f": {_said(call, side.rule)}" if side.rule else ""
        return f"rule of {group} at priority {decision.rule.priority}{said}"
    out = decision.verdict is Verdict.ACCEPT
    return {
        Why.MEMBERS: f"both are in {group}, and no rule says otherwise",
        Why.DEFAULT: "no rule of its groups forbids it" if out else "no rule of its groups lets it in",
        Why.MAIL: "mail to the outside (tcp 25) is off on this host",
        Why.FORGED: "that is not an address of the instance",
    }.get(decision.why, "the filter does not know the instance yet")


def _named(group: SecurityGroup | None, group_id: str) -> str:
    return f'"{group.name}"' if group and group.name else group_id


def _said(call: Call, rule: SecurityGroupRule) -> str:
    """`Accept TCP 22/22 from 0.0.0.0/0`"""
    peer = rule.peer_cidr or ""
    if rule.peer_group_id is not None:
        group = call.session.get(SecurityGroup, rule.peer_group_id)
        own = group if group and group.account_id == call.account_id else None
        peer = _named(own, rule.peer_group_id)
    ports = "" if rule.port_range == "-1/-1" else f" {rule.port_range}"
    return f"{rule.policy} {rule.protocol}{ports} {'from' if rule.direction == 'ingress' else 'to'} {peer}"
