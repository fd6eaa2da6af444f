"""The SQLite store is a store."""

from collections.abc import Callable
from pathlib import Path

from eventpost.core.interfaces import Clock, Store
from eventpost.stores.executor import InlineExecutor
from eventpost.stores.sqlite import SqliteSettings, SqliteStore
from eventpost.testing.store_conformance import StoreConformance
from eventpost.testing.store_machine import Effort

TINY = SqliteSettings(
    wal_pages=20,
    block_bytes=600,
    chunk_segments=3,
    unindexed_blocks_max=40,
    trace_events=7,
    slice_bytes_max=500,
    slice_rows_max=3,
)
"""Bounds so small that every border is crossed all the time."""


class TestInThreads(StoreConformance):
    """As it serves: three threads, the usual bounds."""

    def settings_of_machine(self) -> Effort:
        """Few: each answer wakes a thread, and what threads do is the other class's as well."""
        return Effort(sequences=6, steps=30)

    def new_place(self, directory: Path, clock: Clock) -> Callable[[], Store]:
        return lambda: SqliteStore(directory, clock)


class TestInline(StoreConformance):
    """As it is simulated: no thread, and bounds that are crossed all the time."""

    def new_place(self, directory: Path, clock: Clock) -> Callable[[], Store]:
        return lambda: SqliteStore(directory, clock, TINY, executor=InlineExecutor(clock))
