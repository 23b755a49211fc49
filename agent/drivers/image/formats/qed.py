"""QED (QEMU's docs/interop/qed_spec.txt)."""

from __future__ import annotations

from agent.drivers.image.formats.source import Budget, Source

MAGIC = b"QED\0"
_BACKING, _NEEDS_CHECK, _NO_PROBE = 1, 2, 4
_ZERO = 1  # an entry of an L2 table: reads as zeros


def virtual_bytes(source: Source) -> int:
    """The size of the disk in the file, all of which is there. Raises BadImage."""
    cluster, table_clusters, header_clusters, features, _, _, l1_offset, size = source.unpack("<IIIQQQQQ", 4, "header")
    if features & _BACKING:
        raise source.refused("it is only the difference to a backing file; convert it where that file is")
    if features & ~(_NEEDS_CHECK | _NO_PROBE):
        raise source.refused(f"it uses features that are not known (0x{features:x})")
    if cluster & (cluster - 1) or not 1 << 12 <= cluster <= 1 << 26:
        raise source.damaged(f"clusters of {cluster} bytes do not exist")
    if table_clusters not in (1, 2, 4, 8, 16) or header_clusters == 0:
        raise source.damaged(f"tables of {table_clusters} clusters do not exist")
    entries = cluster * table_clusters // 8
    rounded = source.check_virtual(size)
    if size > cluster * entries * entries:
        raise source.damaged(f"its tables are too small for a disk of {size} bytes")
    _check_clusters(source, l1_offset, cluster, entries)
    return rounded


def _check_clusters(source: Source, l1_offset: int, cluster: int, entries: int) -> None:
    budget = Budget(source)
    budget.spend(entries)
    for offset in set(source.table("Q", l1_offset, entries, "L1 table", big_endian=False)) - {0}:
        budget.spend(entries)
        for entry in source.table("Q", offset, entries, "L2 table", big_endian=False):
            if entry >= source.size:
                raise source.truncated("data")
            if entry > _ZERO and entry % cluster:
                raise source.damaged("data begins within a cluster")
