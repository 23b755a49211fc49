"""qcow2 (QEMU's docs/interop/qcow2.txt), versions 2 and 3."""

from __future__ import annotations

from dataclasses import dataclass

from agent.drivers.image.formats.source import Budget, Source

MAGIC = b"QFI\xfb"
_V2_BYTES, _V3_BYTES = 72, 104
_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED_L2 = 1, 2, 4, 8, 16
_KNOWN = _DIRTY | _COMPRESSION | _EXTENDED_L2
_END, _ENCRYPTION, _DATA_FILE_NAME = 0, 0x0537BE77, 0x44415441
_MAX_L1_BYTES, _MAX_REFCOUNT_BYTES = 32 << 20, 8 << 20  # QEMU's own
_MAX_SNAPSHOTS = 65536
_OFFSET = 0x00FFFFFFFFFFFE00
_COMPRESSED, _ZERO = 1 << 62, 1
_ZLIB, _ZSTD = 0, 1


@dataclass(frozen=True)
class _Header:
    cluster_bits: int
    size: int
    l1_size: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    snapshots: int
    snapshots_offset: int
    extended_l2: bool

    @property
    def entry_words(self) -> int:
        """How many times 8 bytes an entry of an L2 table takes."""
        return 2 if self.extended_l2 else 1

    @property
    def l2_entries(self) -> int:
        return (1 << self.cluster_bits) // (8 * self.entry_words)


def virtual_bytes(source: Source) -> int:
    """The size of the disk in the file, all of which is there. Raises BadImage."""
    header = _header(source)
    size = source.check_virtual(header.size)
    _check_tables(source, header)
    _check_clusters(source, header)
    return size


def _header(source: Source) -> _Header:
    version, backing, _, cluster_bits, size, crypt = source.unpack(">IQIIQI", 4, "header")
    if version not in (2, 3):
        raise source.refused(f"version {version} of the format is not known")
    if backing:
        raise source.refused("it is only the difference to a backing file; convert it where that file is")
    if crypt:
        raise source.refused("it is encrypted; decrypt it first")
    if not 9 <= cluster_bits <= 21:
        raise source.damaged(f"clusters of 2^{cluster_bits} bytes do not exist")
    l1_size, l1_offset, refcounts, refcount_clusters, snapshots, snapshots_offset = source.unpack(
        ">IQQIIQ", 36, "header"
    )
    features, length = (0, _V2_BYTES) if version == 2 else _features(source, cluster_bits)
    _check_extensions(source, length, 1 << cluster_bits)
    return _Header(
        cluster_bits,
        size,
        l1_size,
        l1_offset,
        refcounts,
        refcount_clusters,
        snapshots,
        snapshots_offset,
        bool(features & _EXTENDED_L2),
    )


def _features(source: Source, cluster_bits: int) -> tuple[int, int]:
    """The incompatible features, all of them harmless, and the header's length."""
    (features,) = source.unpack(">Q", 72, "header")
    refcount_order, length = source.unpack(">II", 96, "header")
    if features & _DATA_FILE:
        raise source.refused("its data is in another file; convert it where that file is")
    if features & _CORRUPT:
        raise source.damaged("QEMU marked it as corrupt; repair it with qemu-img check -r all")
    if features & ~_KNOWN:
        raise source.refused(f"it uses features that are not known (0x{features & ~_KNOWN:x})")
    if features & _EXTENDED_L2 and cluster_bits < 14:
        raise source.damaged("its clusters are too small for sub-clusters")
    if refcount_order > 6 or length < _V3_BYTES or length % 8 or length > 1 << cluster_bits:
        raise source.damaged("its header makes no sense")
    if features & _COMPRESSION:
        (kind,) = source.unpack(">B", 104, "header") if length > _V3_BYTES else (_ZLIB,)
        if kind not in (_ZLIB, _ZSTD):
            raise source.refused(f"its compression ({kind}) is not known")
    return features, length


def _check_extensions(source: Source, offset: int, end: int) -> None:
    while offset + 8 <= min(end, source.size):
        kind, length = source.unpack(">II", offset, "header extension")
        if kind == _END:
            return
        if kind == _DATA_FILE_NAME:
            raise source.refused("its data is in another file; convert it where that file is")
        if kind == _ENCRYPTION:
            raise source.refused("it is encrypted; decrypt it first")
        offset += 8 + -(-length // 8) * 8
        if offset > end:
            raise source.damaged("a header extension is longer than the header")


def _check_tables(source: Source, header: _Header) -> None:
    cluster = 1 << header.cluster_bits
    needed = -(-header.size // (cluster * header.l2_entries))
    if header.l1_size < needed:
        raise source.damaged(f"its tables are too small for a disk of {header.size} bytes")
    if header.l1_size * 8 > _MAX_L1_BYTES or header.refcount_clusters * cluster > _MAX_REFCOUNT_BYTES:
        raise source.damaged("its tables are larger than any can be")
    if header.snapshots > _MAX_SNAPSHOTS:
        raise source.damaged(f"it says that it has {header.snapshots} snapshots")
    for offset in (header.l1_offset, header.refcount_offset, header.snapshots_offset):
        if offset % cluster:
            raise source.damaged("a table begins within a cluster")
    source.require(header.l1_offset, header.l1_size * 8, "L1 table")
    source.require(header.refcount_offset, header.refcount_clusters * cluster, "refcount table")
    source.require(header.snapshots_offset, header.snapshots * 40, "snapshot table")


def _check_clusters(source: Source, header: _Header) -> None:
    """All clusters of the disk begin inside the file; the last one may be shorter."""
    cluster, budget = 1 << header.cluster_bits, Budget(source)
    needed = -(-header.size // (cluster * header.l2_entries))
    l1 = source.table("Q", header.l1_offset, needed, "L1 table", big_endian=True)
    for offset in {entry & _OFFSET for entry in l1} - {0}:
        if offset % cluster:
            raise source.damaged("an L2 table begins within a cluster")
        budget.spend(header.l2_entries)
        words = header.l2_entries * header.entry_words
        table = source.table("Q", offset, words, "L2 table", big_endian=True)
        _check_l2(source, header, table[:: header.entry_words])


def _check_l2(source: Source, header: _Header, table: object) -> None:
    cluster_mask = (1 << header.cluster_bits) - 1
    compressed_mask = (1 << (62 - (header.cluster_bits - 8))) - 1
    # One pass without function calls: there may be millions of entries.
    for entry in table:  # type: ignore[attr-defined]
        if entry & _COMPRESSED:
            if entry & compressed_mask >= source.size:
                raise source.truncated("compressed data")
        elif entry & _OFFSET >= source.size and (header.extended_l2 or not entry & _ZERO):
            raise source.truncated("data")
        elif entry & _OFFSET & cluster_mask:
            raise source.damaged("data begins within a cluster")
