"""Damage on the disk is named with topic and positions, and does not spread."""

from pathlib import Path

import apsw
import pytest

from eventpost.core.errors import StoreError
from eventpost.core.interfaces import (
    Commit,
    Damage,
    DeadLetterQuery,
    ReadFailed,
    RemoveTopic,
    Segment,
    Trim,
)
from eventpost.diagnosis import codes
from eventpost.stores.sqlite import SqliteSettings, SqliteStore
from eventpost.stores.sqlite.database import Database
from eventpost.testing.driver import Driver
from eventpost.testing.samples import append, dead_letter, with_topic
from tests.stores.conftest import NewDriver, Publisher

GROUPS = ("ab", "cd", "ef")


def write(driver: Driver) -> None:
    driver.commit(with_topic())
    for group in GROUPS:
        driver.commit(Commit(appends=[append(*group)]))


def flip(directory: Path, wanted: bytes) -> None:
    """Change one byte at the first place of `wanted` in the database file."""
    path = directory / "data" / "eventpost.db"
    content = bytearray(path.read_bytes())
    at = content.index(wanted)
    content[at] ^= 0x01
    path.write_bytes(content)


def damaged(open_store: NewDriver, directory: Path, wanted: bytes) -> Driver:
    driver = open_store()
    write(driver)
    driver.store.close()
    flip(directory, wanted)
    return open_store()


def verified(driver: Driver) -> list[str]:
    store = driver.store
    return driver.answer(list, store.verify)


def test_a_changed_event_is_named(tmp_path: Path, open_store: NewDriver) -> None:
    """Reading a segment whose bytes changed fails with its topic and positions."""
    driver = damaged(open_store, tmp_path, b'"id": "c"')

    answer = driver.answer(ReadFailed, driver.store.read, 1, 0, 2, 1)

    assert answer.damage == Damage(1, 0, 2, 4)
    assert "2 to 3 of topic 1, partition 0" in answer.reason


def test_reading_goes_on_behind_the_damage(tmp_path: Path, open_store: NewDriver) -> None:
    """What is before and behind a damaged segment can be read."""
    driver = damaged(open_store, tmp_path, b'"id": "c"')

    before = driver.answer(list, driver.store.read, 1, 0, 0, 1 << 20)
    behind = driver.answer(list, driver.store.read, 1, 0, 4, 1 << 20)

    assert [segment.first for segment in (*before, *behind)] == [0, 4]


def test_single_events_of_a_damaged_segment_fail(tmp_path: Path, open_store: NewDriver) -> None:
    """Asking for an event of a damaged segment fails and names it; others are answered."""
    driver = damaged(open_store, tmp_path, b'"id": "c"')

    answer = driver.answer(ReadFailed, driver.store.events, [(1, 0, 3), (1, 0, 5)])
    found = driver.answer(dict, driver.store.events, [(1, 0, 0), (1, 0, 5)])

    assert answer.damage == Damage(1, 0, 2, 4)
    assert all(isinstance(segment, Segment) for segment in found.values())


def test_verify_names_the_damage(tmp_path: Path, open_store: NewDriver) -> None:
    """Verifying tells the block and the positions that cannot be read, and nothing else."""
    driver = damaged(open_store, tmp_path, b'"id": "c"')

    assert verified(driver) == [
        "The checksum of block 2 is wrong.",
        "Events 2 to 3 of topic 1, partition 0 cannot be read.",
    ]


def test_verify_finds_nothing_in_a_sound_store(tmp_path: Path, open_store: NewDriver) -> None:
    """A sound store verifies clean, trimmed, emptied and with a topic removed."""
    driver = open_store()
    write(driver)
    driver.commit(with_topic(2))
    driver.commit(Commit(appends=[append("x", topic_id=2), append("y")]))
    assert verified(driver) == []

    driver.commit(Commit(trims=[Trim(1, 0, 3)]))
    driver.sweep()
    assert verified(driver) == []

    driver.commit(Commit(catalogue=[RemoveTopic(2)]))
    driver.sweep()
    assert verified(driver) == []

    driver.commit(Commit(trims=[Trim(1, 0, 7)]))
    driver.sweep()
    assert verified(driver) == []
    assert verified(open_store()) == []


def test_verify_finds_a_block_that_is_gone(tmp_path: Path, open_store: NewDriver) -> None:
    """A row that was deleted by hand shows as positions that cannot be read."""
    driver = open_store()
    write(driver)
    driver.store.close()
    connection = apsw.Connection(str(tmp_path / "data" / "eventpost.db"))
    connection.execute("DELETE FROM block WHERE id = 2")
    connection.close()

    assert verified(open_store()) == ["Events 2 to 3 of topic 1, partition 0 cannot be read."]


def test_verify_tells_its_progress(open_store: NewDriver) -> None:
    """Progress is told up to the total."""
    driver = open_store()
    write(driver)
    told: list[tuple[int, int]] = []

    store = driver.store
    assert isinstance(store, SqliteStore)
    driver.ask(lambda done: store.verify(done, lambda at, total: told.append((at, total))))

    assert told[-1] == (4, 4)


def test_a_changed_dead_letter_is_named(tmp_path: Path, open_store: NewDriver) -> None:
    """A dead letter whose bytes changed is neither shown nor passed over in silence."""
    driver = open_store()
    driver.commit(Commit(dead_put=[dead_letter(5), dead_letter(6)]))
    driver.store.close()
    flip(tmp_path, b'"id": "dead-5"')
    driver = open_store()

    answer = driver.answer(ReadFailed, driver.store.dead_letters, DeadLetterQuery())

    assert "dead letter 5" in answer.reason
    assert verified(driver) == ["The checksum of dead letter 5 is wrong."]
    found = driver.answer(list, driver.store.dead_letters, DeadLetterQuery(ids=[6]))
    assert [letter.id for letter in found] == [6]


def test_damage_does_not_stop_the_sweeper(tmp_path: Path, open_store: NewDriver) -> None:
    """Trimming over a damaged segment goes through, and publishing goes on."""
    driver = damaged(open_store, tmp_path, b'"id": "c"')

    driver.commit(Commit(trims=[Trim(1, 0, 6)]))
    driver.sweep()

    assert driver.commit(Commit(appends=[append("g")])).firsts == [6]
    assert verified(driver) == []


def test_events_of_a_block_that_is_gone_are_not_passed_over(
    tmp_path: Path, open_store: NewDriver
) -> None:
    """Reading where a row is missing fails with the positions, and goes on behind them."""
    driver = open_store()
    write(driver)
    driver.store.close()
    connection = apsw.Connection(str(tmp_path / "data" / "eventpost.db"))
    connection.execute("DELETE FROM block WHERE id = 2")
    connection.close()
    driver = open_store()

    before = driver.answer(list, driver.store.read, 1, 0, 0, 1 << 20)
    missing = driver.answer(ReadFailed, driver.store.read, 1, 0, 2, 1 << 20)
    single = driver.answer(ReadFailed, driver.store.events, [(1, 0, 3), (1, 0, 5)])
    behind = driver.answer(list, driver.store.read, 1, 0, 4, 1 << 20)

    assert [segment.first for segment in (*before, *behind)] == [0, 4]
    assert missing.damage == Damage(1, 0, 2, 4)
    assert single.damage == Damage(1, 0, 3, 4)


def test_a_damaged_head_among_the_newest_is_refused(tmp_path: Path, open_store: NewDriver) -> None:
    """When it cannot be told which positions were given, none are given: the store says so."""
    driver = open_store()
    write(driver)
    driver.store.close()
    connection = apsw.Connection(str(tmp_path / "data" / "eventpost.db"))
    head = bytearray(connection.execute("SELECT head FROM block WHERE id = 3").fetchall()[0][0])  # type: ignore[arg-type]  # a blob
    head[8] ^= 0x04
    connection.execute("UPDATE block SET head = ? WHERE id = 3", (bytes(head),))
    connection.close()

    with pytest.raises(StoreError) as raised:
        open_store()

    assert raised.value.code == codes.SEGMENT_DAMAGED
    assert "block 3" in raised.value.what
    assert "backup" in raised.value.fix


def test_any_flipped_byte_is_noticed_or_harmless(tmp_path: Path, open_store: NewDriver) -> None:
    """Flipping any one byte of the pages of events never yields a wrong event."""
    driver = open_store()
    write(driver)
    driver.store.close()
    path = tmp_path / "data" / "eventpost.db"
    sound = path.read_bytes()
    start = sound.index(b'{"id": "e"') // 4096 * 4096
    right = {append(group).events[0].wire for group in "abcdef"}

    for at in range(start, start + 4096, 61):
        changed = bytearray(sound)
        changed[at] ^= 0x10
        path.write_bytes(changed)
        for wire in _readable(open_store):
            assert wire in right, at
    path.write_bytes(sound)


def _readable(open_store: NewDriver) -> list[bytes]:
    """All events that can be read, one position at a time; none when the store is refused."""
    try:
        driver = open_store()
    except StoreError:
        return []
    wires: list[bytes] = []
    for position in range(6):
        answer = driver.ask(driver.store.events, [(1, 0, position)])
        if isinstance(answer, dict):
            wires += [segment.wires[0] for segment in answer.values()]
    driver.store.close()
    return wires


def test_commits_lost_behind_a_damaged_log_are_noticed(tmp_path: Path) -> None:
    """A log damaged in its middle is refused: SQLite alone would forget all later commits."""
    path = tmp_path / "eventpost.db"
    database = Database(path, SqliteSettings())
    publisher = Publisher()
    publisher.begin(database)
    for _ in range(5):
        publisher.publish(database, 1)
    log = Path(f"{path}-wal")
    content = bytearray(log.read_bytes())
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "eventpost.db").write_bytes(path.read_bytes())
    database.close()
    content[content.index(b'"id": "event-2"')] ^= 0x01
    (copy / "eventpost.db-wal").write_bytes(content)

    with pytest.raises(StoreError) as raised:
        Database(copy / "eventpost.db", SqliteSettings())

    assert raised.value.code == codes.SEGMENT_DAMAGED
    assert "3 commits" in raised.value.what
    assert "PRAGMA wal_checkpoint(TRUNCATE)" in raised.value.fix


def test_one_torn_commit_at_the_end_of_the_log_is_dropped(tmp_path: Path) -> None:
    """The last commit may be torn by a power cut: the store opens with all before it."""
    path = tmp_path / "eventpost.db"
    database = Database(path, SqliteSettings())
    publisher = Publisher()
    publisher.begin(database)
    for _ in range(5):
        publisher.publish(database, 1)
    content = bytearray(Path(f"{path}-wal").read_bytes())
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "eventpost.db").write_bytes(path.read_bytes())
    database.close()
    content[content.index(b'"id": "event-4"')] ^= 0x01
    (copy / "eventpost.db-wal").write_bytes(content)

    database = Database(copy / "eventpost.db", SqliteSettings())

    assert publisher.check(database) == 1
    database.close()
