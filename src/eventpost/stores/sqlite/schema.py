"""The schema's version: which migrations a file has had, and what to do about it.

A migration is a file `migrations/NNNN_name.sql`; NNNN is the version it leads to.
"""

from importlib import resources

import apsw

from eventpost.core.errors import StoreError
from eventpost.diagnosis import codes

APPLICATION_ID = 0x65767074
"""`evpt`: says of a SQLite file that it is eventpost's."""


def migrations() -> list[tuple[int, str]]:
    """(version, SQL) of each migration, by version."""
    folder = resources.files("eventpost.stores.sqlite") / "migrations"
    files = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return sorted((int(file.name[:4]), file.read_text("utf-8")) for file in files)


def check(connection: apsw.Connection, newest: int) -> int:
    """The version of the file, 0 when it is empty. Reads only.

    Raises StoreError: written by a newer version, or not eventpost's.
    """
    application_id = int(connection.pragma("application_id"))
    version = int(connection.pragma("user_version"))
    is_empty = not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    if application_id != APPLICATION_ID and not is_empty:
        raise StoreError(
            codes.STORE_UNREADABLE,
            f"{connection.filename} is a SQLite database of another program.",
            fix="Name another data directory with --data.",
        )
    if version > newest:
        raise StoreError(
            codes.DATA_DIRECTORY_NEWER,
            f"{connection.filename} was written by a newer eventpost: its layout is version"
            f" {version}, this program knows up to {newest}.",
            why="Nothing was changed.",
            fix="Start the newer version again, or restore a backup from before the upgrade.",
        )
    return version


def migrate(connection: apsw.Connection, version: int, steps: list[tuple[int, str]]) -> None:
    """Carry out what `version` lacks, each step in one transaction."""
    for step, sql in steps:
        if step > version:
            with connection:
                connection.execute(sql)
                connection.pragma("application_id", APPLICATION_ID)
                connection.pragma("user_version", step)
