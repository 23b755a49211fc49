"""Importing this declares every action there is."""

from agent.api import host, instance, instance_power

__all__ = ["host", "instance", "instance_power"]
