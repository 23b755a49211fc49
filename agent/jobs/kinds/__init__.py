"""Every kind of job. Importing this package registers them all."""

from agent.jobs.kinds import image, instance, instance_password, network

__all__ = ["image", "instance", "instance_password", "network"]
