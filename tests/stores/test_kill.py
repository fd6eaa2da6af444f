"""A process that is killed while it writes leaves a store that holds what it acknowledged."""

import subprocess
import sys
from pathlib import Path

import pytest

from eventpost.stores.sqlite import SqliteSettings
from eventpost.stores.sqlite.database import Database
from eventpost.stores.sqlite.verify import verify
from tests.stores.conftest import ids

ROUNDS = 8
PROGRAM = """
import pathlib, sys
from eventpost.core.interfaces import Commit, Trim
from eventpost.stores.sqlite import SqliteSettings
from eventpost.stores.sqlite.database import Database
from eventpost.testing.samples import append, with_topic

settings = SqliteSettings(wal_pages=50, chunk_segments=4, trace_events=50)
database = Database(pathlib.Path(sys.argv[1]), settings)
at = database.recovered.next_positions.get((1, 0), 0)
if not database.recovered.topics:
    database.commit(with_topic())
while True:
    batch = append(*[f"event-{at + index}" for index in range(1 + at % 40)])
    at = database.commit(Commit(appends=[batch])).firsts[0] + len(batch.events)
    sys.stdout.write(f"{at}\\n")
    sys.stdout.flush()
"""


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Killed again and again at moments of its own, the store holds all that it acknowledged."""
    path = tmp_path / "eventpost.db"
    for kill in range(ROUNDS):
        writer = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(3 + kill * 17)]
        writer.kill()
        acknowledged = int((lines + writer.communicate()[0].split())[-1])

        database = Database(path, SqliteSettings(wal_pages=50))
        found = ids(database)
        damage = [text for step in verify(database.reader().log) for text in step.damage]
        database.close()

        assert len(found) >= acknowledged
        assert found == [f"event-{index}" for index in range(len(found))]
        assert damage == []
