"""The indices at their bounds: what is in memory, what is in the file, and what a start reads."""

from pathlib import Path

import apsw
import pytest

from eventpost.core.interfaces import Commit, CommitFailed
from eventpost.stores.sqlite import SqliteSettings
from eventpost.stores.sqlite.database import Database
from eventpost.stores.sqlite.traces import hits
from eventpost.testing.samples import append, with_topic

CHUNK = 4
UNINDEXED = 6
TRACED = 5


def opened(directory: Path, **bounds: int) -> Database:
    wide = {"chunk_segments": 1_000, "unindexed_blocks_max": 1_000, "trace_events": 1_000}
    settings = SqliteSettings(**wide | bounds)  # type: ignore[arg-type]  # all of them are numbers
    database = Database(directory / "eventpost.db", settings)
    if not database.recovered.topics:
        database.commit(with_topic(1))
        database.commit(with_topic(2))
    return database


def publish(database: Database, count: int, topic_id: int = 1) -> None:
    for index in range(count):
        database.commit(Commit(appends=[append(f"{topic_id}-{index}", topic_id=topic_id)]))


def rows(directory: Path, query: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(directory / "eventpost.db"))
    found = connection.execute(query).fetchall()
    connection.close()
    return found


@pytest.mark.parametrize(("count", "expected"), [(CHUNK - 1, 0), (CHUNK, 0), (CHUNK + 1, 1)])
def test_a_chunk_is_written_when_it_is_full(tmp_path: Path, count: int, expected: int) -> None:
    """`chunk_segments` segments become a row with the next commit."""
    database = opened(tmp_path, chunk_segments=CHUNK)
    publish(database, count)

    found = rows(tmp_path, "SELECT first, end FROM segment_index")

    assert found == [(0, CHUNK)] * expected
    database.close()


@pytest.mark.parametrize(
    ("later", "expected"), [(UNINDEXED - 2, 0), (UNINDEXED - 1, 0), (UNINDEXED, 1)]
)
def test_a_rare_topic_is_indexed_in_time(tmp_path: Path, later: int, expected: int) -> None:
    """A segment is in the table before its block is the `unindexed_blocks_max`-th from the end."""
    database = opened(tmp_path, unindexed_blocks_max=UNINDEXED)
    publish(database, 1, topic_id=2)
    publish(database, later)

    found = rows(tmp_path, "SELECT first, end FROM segment_index WHERE topic_id = 2")

    assert found == [(0, 1)] * expected
    database.close()


def test_a_start_finds_rare_and_busy_topics(tmp_path: Path) -> None:
    """Whatever the mixture, all positions are known after a start that reads few blocks."""
    database = opened(tmp_path, chunk_segments=CHUNK, unindexed_blocks_max=UNINDEXED)
    for index in range(40):
        publish(database, 1)
        if index % 9 == 0:
            publish(database, 1, topic_id=2)
    database.close()

    database = opened(tmp_path, chunk_segments=CHUNK, unindexed_blocks_max=UNINDEXED)

    reader = database.reader()
    assert database.recovered.next_positions == {(1, 0): 40, (2, 0): 5}
    assert [len(reader.read(topic_id, 0, 0, 1 << 30)) for topic_id in (1, 2)] == [40, 5]
    assert reader.events([(2, 0, 0), (2, 0, 4)]).keys() == {(2, 0, 0), (2, 0, 4)}
    database.close()


def test_a_start_with_a_smaller_bound_misses_nothing(tmp_path: Path) -> None:
    """The bound of earlier runs is remembered: a start reads as many blocks as they left."""
    database = opened(tmp_path, unindexed_blocks_max=50)
    publish(database, 1, topic_id=2)
    publish(database, 40)
    database.close()

    database = opened(tmp_path, unindexed_blocks_max=UNINDEXED)

    assert database.recovered.next_positions == {(1, 0): 40, (2, 0): 1}
    assert len(database.reader().read(2, 0, 0, 1)) == 1
    assert len(database.reader().find("1-0", None, 0, 9)) == 1
    database.close()


@pytest.mark.parametrize(
    ("blocks", "is_committed"), [(UNINDEXED - 1, True), (UNINDEXED, False), (UNINDEXED + 1, False)]
)
def test_a_commit_of_too_many_blocks_is_refused(
    tmp_path: Path, blocks: int, is_committed: bool
) -> None:
    """A commit has fewer blocks than a start reads; a larger one fails and leaves nothing."""
    database = opened(tmp_path, unindexed_blocks_max=UNINDEXED, block_bytes=10)

    answer = database.commit(Commit(appends=[append(*map(str, range(blocks)))]))

    assert isinstance(answer, CommitFailed) is not is_committed
    assert len(rows(tmp_path, "SELECT id FROM block")) == (blocks if is_committed else 0)
    database.close()


@pytest.mark.parametrize(("count", "expected"), [(TRACED - 1, 0), (TRACED, 0), (TRACED + 1, 1)])
def test_fingerprints_are_gathered(tmp_path: Path, count: int, expected: int) -> None:
    """`trace_events` fingerprints become a row with the next commit; all ids are found before
    and after."""
    database = opened(tmp_path, trace_events=TRACED)
    publish(database, count)

    assert len(rows(tmp_path, "SELECT * FROM trace_index")) == expected
    reader = database.reader()
    for index in range(count):
        assert [hit.position for hit in reader.find(f"1-{index}", None, 0, 9)] == [index]
    database.close()


def test_append_to_an_unknown_topic_fails_as_a_whole(tmp_path: Path) -> None:
    """A commit that names a topic that is not there leaves nothing of its other appends."""
    database = opened(tmp_path)

    answer = database.commit(Commit(appends=[append("a"), append("b", topic_id=9)]))

    assert isinstance(answer, CommitFailed)
    assert "no topic {9}" in answer.reason
    database.close()
    database = opened(tmp_path)
    assert database.recovered.next_positions == {(1, 0): 0, (2, 0): 0}
    database.close()


def test_fingerprints_are_found_aligned_only() -> None:
    """Four bytes that straddle two fingerprints are no hit; several hits are all told."""
    needle = b"\x01\x02\x03\x04"

    assert hits(b"", needle) == []
    assert hits(b"\x00\x01\x02\x03\x04\x00\x00\x00", needle) == []
    assert hits(needle + b"\x00" * 4 + needle, needle) == [0, 2]
    assert hits(b"\x01" * 12, b"\x01" * 4) == [0, 1, 2]
