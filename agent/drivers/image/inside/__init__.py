"""What runs beside the appliance: a program of its own for the system's Python, which has libguestfs' binding.

It looks into disks and edits files in them; what they hold is a stranger's. It runs as an unprivileged user in a jail
(drivers/image/inspector.py) and imports nothing of ours. In: one JSON object. Out: another.
"""
