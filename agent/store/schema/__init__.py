"""The tables. What is written here is the *wanted* state; the reconciler makes the host agree with it."""

from agent.store.schema.accounts import AccessKey, Account, ClientToken, Policy, PolicyAttachment, Quota, Role, Setting
from agent.store.schema.base import Base, UtcDateTime
from agent.store.schema.compute import Instance, KeyPair, Tag
from agent.store.schema.images import Bucket, Image, ImageDisk, ImageShare, Upload
from agent.store.schema.journal import Job
from agent.store.schema.network import (
    FilterChange,
    GroupMembership,
    NetworkInterface,
    PortForward,
    PublicAddress,
    RouteEntry,
    SecondaryAddress,
    SecurityGroup,
    SecurityGroupRule,
    Vpc,
    VSwitch,
)
from agent.store.schema.storage import AutoSnapshotPolicy, Disk, DiskSample, Layer, Snapshot

__all__ = [
    "AccessKey",
    "Account",
    "AutoSnapshotPolicy",
    "Base",
    "Bucket",
    "ClientToken",
    "Disk",
    "DiskSample",
    "FilterChange",
    "GroupMembership",
    "Image",
    "ImageDisk",
    "ImageShare",
    "Instance",
    "Job",
    "KeyPair",
    "Layer",
    "NetworkInterface",
    "Policy",
    "PolicyAttachment",
    "PortForward",
    "PublicAddress",
    "Quota",
    "Role",
    "RouteEntry",
    "SecondaryAddress",
    "SecurityGroup",
    "SecurityGroupRule",
    "Setting",
    "Snapshot",
    "Tag",
    "Upload",
    "UtcDateTime",
    "VSwitch",
    "Vpc",
]
