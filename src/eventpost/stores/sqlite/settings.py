"""The bounds of the SQLite store, with the values that serving uses."""

from dataclasses import dataclass
from typing import Literal

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteSettings:
    """Defaults are for serving; tests make them small to reach every border."""

    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    """NORMAL loses acknowledged events at a power cut; it is here so that a test can show it."""
    wal_pages: int = 500
    """The write-ahead log is copied into the database after a commit that brings it to this many
    pages. Measured: 7 ms for 4 MB against 15-20 ms for 16 MB, at the same rate of commits."""
    wal_bytes_max: int = 64 * MIB
    """What is left of a log that a long read had made longer is cut down to this."""
    cache_bytes: int = 4 * MIB
    """What is appended is not read again by the writer: 16 MiB were no faster."""
    read_cache_bytes: int = 4 * MIB
    block_bytes: int = 128 * KIB
    """Events of one commit are stored in blocks of about this size (one event may be larger)."""
    chunk_segments: int = 40
    """Segments per row of the index: 40 rows of 24 bytes stay inside a page."""
    unindexed_blocks_max: int = 4_096
    """At most the newest so many blocks are read at start to complete the indices."""
    trace_events: int = 4_096
    """Fingerprints per row of the trace index."""
    slice_bytes_max: int = 2 * MIB
    """Bytes of events that one commit removes at most: 2 to 4 ms."""
    slice_rows_max: int = 1_000
    """Rows that one commit removes at most for trims and removals."""
    busy_timeout_ms: int = 5_000
    """How long to wait for another program that looks into the file."""
