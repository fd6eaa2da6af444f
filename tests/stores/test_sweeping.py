"""Removing what was given up: in slices, without keeping others' events, and without stalling."""

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from eventpost.core.interfaces import (
    Commit,
    PutSubscription,
    RemoveSubscription,
    RemoveTopic,
    Trim,
    Usage,
)
from eventpost.stores.sqlite import SqliteSettings
from eventpost.testing.driver import Driver
from eventpost.testing.samples import (
    append,
    attempt,
    dead_letter,
    ladder_row,
    subscription,
    with_topic,
)
from tests.stores.conftest import NewDriver

ROWS = 4
SLICED = SqliteSettings(slice_rows_max=ROWS)


def rows_of(directory: Path, table: str) -> int:
    connection = apsw.Connection(str(directory / "data" / "eventpost.db"))
    count = connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
    connection.close()
    assert isinstance(count, int)
    return count


def publish(driver: Driver, commits: int, *topic_ids: int, size: int = 10) -> None:
    for index in range(commits):
        batches = [append(f"{topic_id}-{index}", topic_id=topic_id) for topic_id in topic_ids]
        for batch in batches:
            batch.events[0].wire += b" " * size
        driver.commit(Commit(appends=batches))


def trim_all(driver: Driver, count: int) -> bool:
    return driver.commit(Commit(trims=[Trim(1, 0, count)])).has_leftovers


def give_up_outcomes(driver: Driver, count: int) -> bool:
    return driver.commit(Commit(outcomes_below=count + 1)).has_leftovers


def give_up_attempts(driver: Driver, count: int) -> bool:
    return driver.commit(Commit(attempts_before_ms=1 << 50)).has_leftovers


@pytest.mark.parametrize(("count", "has_more"), [(ROWS - 1, False), (ROWS + 1, True)])
@pytest.mark.parametrize(
    ("table", "give_up"),
    [("block", trim_all), ("outcome", give_up_outcomes), ("attempt", give_up_attempts)],
)
def test_a_commit_removes_a_slice(
    tmp_path: Path,
    open_store: NewDriver,
    table: str,
    give_up: Callable[[Driver, int], bool],
    count: int,
    has_more: bool,
) -> None:
    """A commit removes at most `slice_rows_max` rows and says whether more are left."""
    driver = open_store(SLICED)
    driver.commit(with_topic())
    for index in range(count):
        driver.commit(Commit(appends=[append("a")], outcome_id=index + 1, attempts=[attempt(0, 1)]))

    assert give_up(driver, count) is has_more
    assert rows_of(tmp_path, table) == max(0, count - ROWS)
    driver.sweep()
    assert rows_of(tmp_path, table) == 0


def test_a_slice_of_exactly_the_bound_ends(tmp_path: Path, open_store: NewDriver) -> None:
    """Exactly `slice_rows_max` rows go with the commit itself, and sweeping comes to an end."""
    driver = open_store(SLICED)
    driver.commit(with_topic())
    publish(driver, ROWS, 1)

    trim_all(driver, ROWS)

    assert rows_of(tmp_path, "block") == 0
    assert driver.sweep() <= 2


@pytest.mark.parametrize(("bytes_max", "left"), [(2_000, 1), (1_999, 1), (2_100, 0)])
def test_a_slice_is_bounded_in_bytes(
    tmp_path: Path, open_store: NewDriver, bytes_max: int, left: int
) -> None:
    """A slice ends with the block that reaches `slice_bytes_max`."""
    driver = open_store(SqliteSettings(slice_bytes_max=bytes_max))
    driver.commit(with_topic())
    wires = [b"x" * 1_000, b"x" * 1_000, b"x" * 1_000]
    for wire in wires:
        batch = append("a")
        batch.events[0].wire = wire
        driver.commit(Commit(appends=[batch]))

    trim_all(driver, 3)

    assert rows_of(tmp_path, "block") == left


def test_publishing_waits_for_no_removal(tmp_path: Path, open_store: NewDriver) -> None:
    """A commit that gives nothing up removes nothing, however much is left over."""
    driver = open_store(SLICED)
    driver.commit(with_topic())
    publish(driver, 3 * ROWS, 1)
    trim_all(driver, 3 * ROWS)
    before = rows_of(tmp_path, "block")

    committed = driver.commit(Commit(appends=[append("next")]))

    assert committed.has_leftovers
    assert rows_of(tmp_path, "block") == before + 1


def test_a_shared_block_goes_when_all_of_it_is_given_up(
    tmp_path: Path, open_store: NewDriver
) -> None:
    """Events of two topics in one block go together, once neither is needed."""
    driver = open_store()
    driver.commit(with_topic(1))
    driver.commit(with_topic(2))
    publish(driver, 3, 1, 2)
    driver.commit(Commit(trims=[Trim(1, 0, 3)]))
    assert rows_of(tmp_path, "block") == 3

    driver.commit(Commit(trims=[Trim(2, 0, 3)]))

    assert rows_of(tmp_path, "block") == 0
    assert rows_of(tmp_path, "segment_index") == 0


def test_a_kept_topic_does_not_keep_the_bytes_of_others(
    tmp_path: Path, open_store: NewDriver
) -> None:
    """A block of which less than half is needed is written again without the rest."""
    driver = open_store()
    driver.commit(with_topic(1))
    driver.commit(with_topic(2))
    big = append("big")
    big.events[0].wire += b" " * 50_000
    small = append("small", topic_id=2)
    small.events[0].trace = ("00-1", "")
    driver.commit(Commit(appends=[big, small]))

    driver.commit(Commit(trims=[Trim(1, 0, 1)]))
    driver.sweep()

    connection = apsw.Connection(str(tmp_path / "data" / "eventpost.db"))
    assert connection.execute("SELECT length(body) < 100 FROM block").fetchall() == [(True,)]
    connection.close()
    (segment,) = driver.answer(list, driver.store.read, 2, 0, 0, 1)
    assert (segment.wires, segment.traces) == ([small.events[0].wire], [("00-1", "")])
    assert driver.answer(list, driver.store.find, "small", None, 0, 9)
    assert driver.answer(list, driver.store.find, "big", None, 0, 9) == []


def test_the_trace_index_goes_with_its_blocks(tmp_path: Path, open_store: NewDriver) -> None:
    """Fingerprints do not outlive the events they are of, even of blocks trimmed at once."""
    driver = open_store(SqliteSettings(trace_events=3))
    driver.commit(with_topic())
    publish(driver, 20, 1)
    assert rows_of(tmp_path, "trace_index") > 3
    trim_all(driver, 20)
    driver.sweep()
    assert rows_of(tmp_path, "trace_index") == 0

    for index in range(20):
        publish(driver, 1, 1)
        trim_all(driver, 21 + index)
    assert rows_of(tmp_path, "trace_index") == 0


def test_a_removed_topic_leaves_no_row(tmp_path: Path, open_store: NewDriver) -> None:
    """After sweeping, no table holds anything of a removed topic and its subscriptions."""
    driver = open_store(SLICED)
    driver.commit(with_topic())
    driver.commit(Commit(catalogue=[PutSubscription(subscription(1))]))
    publish(driver, 50, 1)
    driver.commit(
        Commit(
            ladder_put=[ladder_row(index, index, is_parked=index % 2 == 0) for index in range(30)],
            dead_put=[dead_letter(index) for index in range(1, 20)],
        )
    )

    driver.commit(Commit(catalogue=[RemoveTopic(1)]))
    driver.sweep()

    tables = ("block", "segment_index", "trace_index", "retention", "removal", "ladder", "parked")
    more = ("dead_letter", "dead_letter_event", "subscription", "topic", "state")
    assert {table: rows_of(tmp_path, table) for table in tables + more} == dict.fromkeys(
        tables + more, 0
    )


def test_a_subscription_removed_during_a_pass_is_removed_too(
    tmp_path: Path, open_store: NewDriver
) -> None:
    """Removing a second subscription while the ladder is swept for the first leaves no row."""
    driver = open_store(SLICED)
    driver.commit(with_topic())
    for owner in (1, 2):
        driver.commit(Commit(catalogue=[PutSubscription(subscription(owner))]))
    rows = [ladder_row(index, subscription_id=1 + index % 2) for index in range(30)]
    driver.commit(Commit(ladder_put=rows))

    driver.commit(Commit(catalogue=[RemoveSubscription(1)]))
    driver.commit(Commit())
    driver.commit(Commit(catalogue=[RemoveSubscription(2)]))
    driver.sweep()

    assert rows_of(tmp_path, "ladder") == 0
    assert rows_of(tmp_path, "removal") == 0


def test_the_number_of_blocks_is_told_after_a_restart(
    tmp_path: Path, open_store: NewDriver
) -> None:
    """Usage tells how many blocks there are without counting them, also after reopening."""
    driver = open_store()
    driver.commit(with_topic())
    publish(driver, 10, 1)
    trim_all(driver, 4)

    for again in (driver, None):
        store = again or open_store()
        usage = store.answer(Usage, store.store.usage)
        assert usage.segment_count == rows_of(tmp_path, "block") == 6


def test_freed_room_is_used_again(open_store: NewDriver) -> None:
    """Publishing and trimming in turns takes no more and more bytes."""
    driver = open_store(SqliteSettings(wal_pages=25))
    driver.commit(with_topic())
    used = []
    for _ in range(8):
        publish(driver, 30, 1, size=5_000)
        end = driver.commit(Commit(appends=[append("end")])).firsts[0] + 1
        trim_all(driver, end)
        driver.sweep()
        used.append(driver.answer(Usage, driver.store.usage).bytes_used)

    assert used[-1] <= used[2]
