"""Every kind of job. Importing this package registers them all."""

from agent.jobs.kinds import image, instance, network

__all__ = ["image", "instance", "network"]
