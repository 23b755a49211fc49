"""Disks and images as files."""
