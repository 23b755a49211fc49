"""The policies that every account has."""

from __future__ import annotations

import json
from dataclasses import dataclass

_READING = ("Describe*", "List*", "Get*")


@dataclass(frozen=True)
class SystemPolicy:
    name: str
    description: str
    document: str


def _policy(name: str, description: str, *actions: str) -> SystemPolicy:
    statement = {"Action": list(actions), "Resource": "*", "Effect": "Allow"}
    return SystemPolicy(name, description, json.dumps({"Version": "1", "Statement": [statement]}))


def _reading(*products: str) -> list[str]:
    return [f"{product}:{verb}" for product in products for verb in _READING]


POLICIES: dict[str, SystemPolicy] = {
    policy.name: policy
    for policy in (
        _policy("AdministratorAccess", "Everything.", "*"),
        _policy("ReadOnlyAccess", "Reading everything.", *_reading("*")),
        _policy(
            "AliyunECSFullAccess",
            "Everything of ECS; the VPCs and VSwitches that instances need can be read.",
            "ecs:*",
            "vpc:DescribeVpcs",
            "vpc:DescribeVSwitches",
        ),
        _policy(
            "AliyunECSReadOnlyAccess",
            "Reading everything of ECS, VPCs and VSwitches.",
            *_reading("ecs"),
            "vpc:DescribeVpcs",
            "vpc:DescribeVSwitches",
        ),
        _policy("AliyunVPCFullAccess", "Everything of VPCs.", "vpc:*"),
        _policy("AliyunVPCReadOnlyAccess", "Reading everything of VPCs.", *_reading("vpc")),
        _policy("AliyunRAMFullAccess", "Everything of RAM: whoever has this can give himself the rest.", "ram:*"),
        _policy("AliyunRAMReadOnlyAccess", "Reading everything of RAM.", *_reading("ram")),
        _policy("AliyunSTSAssumeRoleAccess", "Assuming roles that admit it.", "sts:AssumeRole"),
    )
}
