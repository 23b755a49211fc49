"""The rules of each noun: validation, quota, state, and which job follows. Knows nothing of libvirt or HTTP."""
