"""The SQLite store: one data directory, one file, one writer."""

from eventpost.stores.sqlite.settings import SqliteSettings
from eventpost.stores.sqlite.store import SqliteStore

__all__ = ["SqliteSettings", "SqliteStore"]
