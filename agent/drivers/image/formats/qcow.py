"""qcow, the predecessor of qcow2."""

from __future__ import annotations

from agent.drivers.image.formats.source import Budget, Source

_COMPRESSED = 1 << 63


def virtual_bytes(source: Source) -> int:
    """The size of the disk in the file, all of which is there. Raises BadImage."""
    backing, _, _, size, cluster_bits, l2_bits, _, crypt, l1_offset = source.unpack(">QIIQBBHIQ", 8, "header")
    if backing:
        raise source.refused("it is only the difference to a backing file; convert it where that file is")
    if crypt:
        raise source.refused("it is encrypted; decrypt it first")
    if not 9 <= cluster_bits <= 16 or not 6 <= l2_bits <= 13:
        raise source.damaged(f"clusters of 2^{cluster_bits} bytes, 2^{l2_bits} to a table, do not exist")
    rounded = source.check_virtual(size)
    count = -(-size // (1 << (cluster_bits + l2_bits)))
    budget = Budget(source)
    budget.spend(count)
    l1 = source.table("Q", l1_offset, count, "L1 table", big_endian=True)
    offset_mask = (1 << (63 - cluster_bits)) - 1
    for offset in set(l1) - {0}:
        budget.spend(1 << l2_bits)
        for entry in source.table("Q", offset, 1 << l2_bits, "L2 table", big_endian=True):
            if (entry & offset_mask if entry & _COMPRESSED else entry) >= source.size:
                raise source.truncated("data")
    return rounded
