"""Every kind of job. Importing this package registers them all."""

from agent.jobs.kinds import image, instance, instance_password, instance_resume, network, system_disk
from agent.jobs.layers import collect

__all__ = ["collect", "image", "instance", "instance_password", "instance_resume", "network", "system_disk"]
