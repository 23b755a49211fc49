"""Rules of security groups as the public API shows them."""

from __future__ import annotations

from typing import Any

from agent.api.edge.call import Call
from agent.core.clock import iso_seconds
from agent.services.security_group_check import INGRESS, RuleValues, values_of
from agent.store.schema import SecurityGroup, SecurityGroupRule


def shown(call: Call, rule: SecurityGroupRule) -> dict[str, Any]:
    """A rule that is there."""
    return said(call, values_of(rule)) | {
        "SecurityGroupRuleId": rule.id,
        "CreateTime": iso_seconds(rule.created_at),
    }


def said(call: Call, rule: RuleValues) -> dict[str, Any]:
    """What a rule says, whether it is there or not. Of another account's group nothing is told but whose it is."""
    peer = call.session.get(SecurityGroup, rule.peer_group_id) if rule.peer_group_id else None
    named = {
        "CidrIp": rule.peer_cidr or "",
        "GroupId": rule.peer_group_id or "",
        "GroupName": peer.name if peer and peer.account_id == call.account_id else "",
        "GroupOwnerAccount": peer.account_id if peer else "",
        "PrefixListId": "",
        "PrefixListName": "",
    }
    source, dest = (named, dict.fromkeys(named, "")) if rule.direction == INGRESS else (dict.fromkeys(named, ""), named)
    return {
        "Direction": rule.direction,
        "Policy": rule.policy,
        "IpProtocol": rule.protocol,
        "PortRange": rule.port_range,
        "SourcePortRange": "",
        "PortRangeListId": "",
        "PortRangeListName": "",
        "NicType": rule.nic_type,
        "Priority": str(rule.priority),
        **{f"Source{name}": value for name, value in source.items()},
        **{f"Dest{name}": value for name, value in dest.items()},
        "Ipv6SourceCidrIp": "",
        "Ipv6DestCidrIp": "",
        "Description": rule.description,
    }
