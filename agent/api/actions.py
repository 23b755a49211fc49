"""Importing this declares every action there is."""

from agent.api import (
    account,
    disk,
    host,
    image,
    instance,
    instance_console,
    instance_power,
    instance_type,
    key_pair,
    region,
    security_group,
    security_group_rule,
    tag,
    terminal,
    vpc,
    vswitch,
)

__all__ = [
    "account",
    "disk",
    "host",
    "image",
    "instance",
    "instance_console",
    "instance_power",
    "instance_type",
    "key_pair",
    "region",
    "security_group",
    "security_group_rule",
    "tag",
    "terminal",
    "vpc",
    "vswitch",
]
