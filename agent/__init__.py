"""The agent: one per host, as root. It serves the ECS OpenAPI and drives libvirt, netlink and files."""
