"""What every store promises: the tests that decide whether something is a store.

Subclass `StoreConformance` in a test module and say how a store is made:

    class TestMyStore(StoreConformance):
        def new_place(self, directory: Path, clock: Clock) -> Callable[[], Store]:
            return lambda: MyStore(directory, clock)

Each call of what `new_place` returns makes another store object on the same, at first empty, place;
the one before is closed by then. `testing.store_machine` drives random sequences against a model.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from eventpost.core.interfaces import (
    Clock,
    Commit,
    CommitFailed,
    Committed,
    DeadLetter,
    DeadLetterQuery,
    DeadLetterState,
    Found,
    LadderRow,
    PutConnection,
    PutSetting,
    PutSource,
    PutSubscription,
    PutTopic,
    ReadFailed,
    RemoveConnection,
    RemoveSource,
    RemoveSubscription,
    RemoveTopic,
    Segment,
    StateRow,
    Store,
    Taken,
    Trim,
    Usage,
)
from eventpost.core.retry import Reason
from eventpost.testing import store_machine
from eventpost.testing.driver import Driver, PumpClock
from eventpost.testing.samples import (
    NOW_MS,
    append,
    attempt,
    connection,
    dead_letter,
    event,
    ladder_row,
    poison,
    source,
    subscription,
    topic,
    with_topic,
)

ALL = 1 << 40


class StoreConformance:
    """Subclass it; see the module."""

    def new_place(self, directory: Path, clock: Clock) -> Callable[[], Store]:
        raise NotImplementedError

    def settings_of_machine(self) -> store_machine.Effort:
        """How long random sequences are tried."""
        return store_machine.Effort()

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator["Place"]:
        place = Place(self.new_place, tmp_path)
        yield place
        place.close()

    # --- the log --------------------------------------------------------------------------------

    def test_positions_are_dense_and_per_partition(self, place: "Place") -> None:
        """Each partition of a topic numbers its events from 0 without gaps."""
        store = place.open()
        store.commit(with_topic(1))
        store.commit(with_topic(2))

        first = store.commit(Commit(appends=[append("a", "b"), append("c", topic_id=2)]))
        second = store.commit(
            Commit(appends=[append("d", partition=1), append("e"), append("f", topic_id=2)])
        )

        assert first.firsts == [0, 0]
        assert second.firsts == [0, 2, 1]

    def test_what_was_committed_is_there_after_reopening(self, place: "Place") -> None:
        """Committed events, with their times and traces, survive closing and opening."""
        store = place.open()
        traced = append("a", "b")
        traced.events[1].trace = ("00-11-22-01", "vendor=1")
        store.commit(Commit(catalogue=[PutTopic(topic(1))], appends=[traced]))

        store = place.open()

        (segment,) = read(store, 1, 0)
        assert store.recovered.next_positions == {(1, 0): 2}
        assert segment.wires == [event("a").wire, event("b").wire]
        assert segment.traces == [None, ("00-11-22-01", "vendor=1")]
        assert (segment.first, segment.end, segment.published_ms) == (0, 2, NOW_MS)

    def test_events_without_traces_have_none(self, place: "Place") -> None:
        """A segment without any trace says so with None, not with a list."""
        store = place.open()
        store.commit(Commit(catalogue=[PutTopic(topic(1))], appends=[append("a")]))

        assert [segment.traces for segment in read(store, 1, 0)] == [None]

    def test_read_begins_with_the_segment_that_holds_the_position(self, place: "Place") -> None:
        """A read returns segments in order from the one that holds the position on."""
        store = place.open()
        store.commit(with_topic())
        for group in ("ab", "cd", "ef"):
            store.commit(Commit(appends=[append(*group)]))

        segments = read(store, 1, 3)

        assert segments[0].first <= 3 < segments[0].end
        assert ids_from(segments, 3) == ["d", "e", "f"]

    def test_read_ends_once_the_bytes_are_passed(self, place: "Place") -> None:
        """A read returns at least one segment, and stops when `bytes_max` is passed."""
        store = place.open()
        store.commit(with_topic())
        for group in ("ab", "cd", "ef"):
            store.commit(Commit(appends=[append(*group)]))
        size = 2 * len(event("a").wire)

        assert len(read(store, 1, 0, bytes_max=1)) == 1
        assert len(read(store, 1, 0, bytes_max=size)) == 1
        assert len(read(store, 1, 0, bytes_max=size + 1)) == 2

    def test_read_beyond_the_end_is_empty(self, place: "Place") -> None:
        """Reading from the next position, or from a topic without events, returns nothing."""
        store = place.open()
        store.commit(Commit(catalogue=[PutTopic(topic(1))], appends=[append("a")]))

        assert read(store, 1, 1) == []
        assert read(store, 7, 0) == []

    def test_an_event_of_any_size_is_read_back(self, place: "Place") -> None:
        """Events around and above any internal size come back byte for byte, in one order."""
        store = place.open()
        sizes = [1, 100, 4_000, 130_000, 1_049_600, 131_072, 10]
        wires = [bytes([65 + index]) * size for index, size in enumerate(sizes)]
        batch = append(*"abcdefg")
        for kept, wire in zip(batch.events, wires, strict=True):
            kept.wire = wire
        store.commit(Commit(catalogue=[PutTopic(topic(1))], appends=[batch]))

        assert [wire for segment in read(store, 1, 0) for wire in segment.wires] == wires

    def test_single_events_are_found_by_key(self, place: "Place") -> None:
        """`events` returns exactly the keys that are there, each as a segment of one event."""
        store = place.open()
        store.commit(Commit(catalogue=[PutTopic(topic(1))], appends=[append("a", "b", "c")]))
        keys = [(1, 0, 1), (1, 0, 2), (1, 0, 3), (1, 1, 0), (9, 0, 0)]

        found = store.answer(dict, store.store.events, keys)

        assert set(found) == {(1, 0, 1), (1, 0, 2)}
        segment = found[1, 0, 1]
        assert (segment.first, segment.wires) == (1, [event("b").wire])

    def test_commits_are_done_in_order(self, place: "Place") -> None:
        """Commits handed over together are carried out and answered in that order."""
        store = place.open()
        store.commit(with_topic())
        answers: list[Committed | CommitFailed] = []
        for index in range(20):
            store.store.commit(Commit(appends=[append(f"e{index}")]), answers.append)
        while len(answers) < 20:
            store.clock.pump()

        assert answers == [Committed([index]) for index in range(20)]

    def test_a_commit_is_one_transaction(self, place: "Place") -> None:
        """Everything in one commit is there after reopening, whatever its kinds."""
        store = place.open()
        store.commit(
            Commit(
                catalogue=[PutTopic(topic(1)), PutSubscription(subscription(1))],
                appends=[append("a")],
                outcome_id=1,
                outcome=b"outcome",
                states=[StateRow(kind="lane", owner_id=1, partition=0, state=b"state")],
                ladder_put=[ladder_row(5)],
                dead_put=[dead_letter(1)],
                attempts=[attempt(0, 1)],
            )
        )

        store = place.open()

        assert store.recovered.topics == [topic(1)]
        assert store.recovered.subscriptions == [subscription(1)]
        assert store.recovered.outcomes == [(1, b"outcome")]
        assert [state.state for state in store.recovered.states] == [b"state"]
        assert store.recovered.ladder_counts == {(1, 0, 0): 1}
        assert store.recovered.dead_letter_counts == {1: 1}
        assert store.ask(store.store.attempts, 1, 0, 0) == [attempt(0, 1)]

    def test_an_empty_commit_is_answered(self, place: "Place") -> None:
        """A commit of nothing is answered as done."""
        assert place.open().commit(Commit()) == Committed([])

    def test_a_closed_store_fails_and_says_so(self, place: "Place") -> None:
        """After `close` commits and reads are answered with a failure; closing again is fine."""
        store = place.open()
        store.store.close()
        store.store.close()

        assert store.failed(with_topic()).reason
        assert store.answer(ReadFailed, store.store.read, 1, 0, 0, 1).reason

    # --- catalogue, outcomes, states ------------------------------------------------------------

    def test_the_catalogue_is_replaced_by_id(self, place: "Place") -> None:
        """Putting a topic, subscription or setting again replaces it."""
        store = place.open()
        changed = topic(1, partition_count=4)
        store.commit(Commit(catalogue=[PutTopic(topic(1)), PutSetting("token", b"1")]))
        store.commit(Commit(catalogue=[PutTopic(changed), PutSetting("token", b"2")]))

        store = place.open()

        assert store.recovered.topics == [changed]
        assert store.recovered.settings == {"token": b"2"}
        assert store.recovered.next_positions == {(1, index): 0 for index in range(4)}

    def test_ids_are_not_forgotten_with_what_they_named(self, place: "Place") -> None:
        """The highest ids ever given are known after their topic and subscription are gone."""
        store = place.open()
        store.commit(Commit(catalogue=[PutTopic(topic(7)), PutSubscription(subscription(9, 7))]))
        store.commit(Commit(catalogue=[RemoveTopic(7)]))
        store.sweep()

        recovered = place.open().recovered

        assert (recovered.topics, recovered.subscriptions) == ([], [])
        assert (recovered.topic_id_max, recovered.subscription_id_max) == (7, 9)

    def test_connections_are_replaced_by_name(self, place: "Place") -> None:
        """A connection comes back as it was put last; one that was removed does not."""
        store = place.open()
        kept = [connection("aws", region="eu-west-1"), connection("home", port=9_092, tls=True)]
        store.commit(Commit(catalogue=[PutConnection(each) for each in kept]))
        changed = connection("aws", region="us-east-1", names=["a", "b"])
        gone = connection("gone")
        store.commit(Commit(catalogue=[PutConnection(changed), PutConnection(gone)]))
        store.commit(Commit(catalogue=[RemoveConnection("gone"), RemoveConnection("never")]))

        assert place.open().recovered.connections == [changed, kept[1]]

    def test_sources_are_replaced_by_id(self, place: "Place") -> None:
        """A source comes back as it was put last, its id is never forgotten."""
        store = place.open()
        store.commit(with_topic())
        store.commit(Commit(catalogue=[PutSource(source(1)), PutSource(source(4))]))
        changed = msgspec.structs.replace(source(1), is_paused=False, queue="others")
        store.commit(Commit(catalogue=[PutSource(changed), RemoveSource(4)]))

        recovered = place.open().recovered

        assert recovered.sources == [changed]
        assert recovered.source_id_max == 4

    def test_sources_go_with_their_topic(self, place: "Place") -> None:
        """Removing a topic removes its sources, and no other's."""
        store = place.open()
        for topic_id in (1, 2):
            added = source(topic_id, topic_id)
            store.commit(Commit(catalogue=[PutTopic(topic(topic_id)), PutSource(added)]))
        store.commit(Commit(catalogue=[RemoveTopic(1)]))

        recovered = place.open().recovered

        assert recovered.sources == [source(2, 2)]
        assert recovered.source_id_max == 2

    def test_outcomes_are_kept_until_they_are_not_needed(self, place: "Place") -> None:
        """Outcome blobs come back in order, from `outcomes_below` on."""
        store = place.open()
        for outcome_id in range(1, 6):
            store.commit(Commit(outcome_id=outcome_id, outcome=b"%d" % outcome_id))
        store.commit(Commit(outcomes_below=4))

        recovered = place.open().recovered

        assert recovered.outcomes == [(4, b"4"), (5, b"5")]
        assert recovered.last_outcome_id == 5

    def test_the_last_outcome_id_outlives_all_outcomes(self, place: "Place") -> None:
        """When every outcome blob was given up, their ids still are not given again."""
        store = place.open()
        store.commit(Commit(outcome_id=1, outcome=b"1"))
        store.commit(Commit(outcomes_below=2))
        store.sweep()

        recovered = place.open().recovered

        assert recovered.outcomes == []
        assert recovered.last_outcome_id == 1

    def test_states_are_replaced_as_a_whole(self, place: "Place") -> None:
        """A state row replaces the one of its kind, owner and partition, and no other."""
        store = place.open()
        rows = [
            StateRow(kind="lane", owner_id=1, partition=0, state=b"a"),
            StateRow(kind="lane", owner_id=1, partition=1, state=b"b"),
            StateRow(kind="partition", owner_id=1, partition=0, state=b"c"),
        ]
        store.commit(Commit(states=rows))
        changed = StateRow(kind="lane", owner_id=1, partition=0, state=b"d")
        store.commit(Commit(states=[changed]))

        recovered = place.open().recovered

        assert sorted(recovered.states, key=lambda row: row.state) == [rows[1], rows[2], changed]

    # --- the ladder -----------------------------------------------------------------------------

    def test_due_rows_come_by_due_time(self, place: "Place") -> None:
        """`due` returns rows within the times in order, and one later row when it has room."""
        store = place.open()
        rows = [ladder_row(due_ms, position) for position, due_ms in enumerate((50, 10, 30, 20))]
        store.commit(Commit(ladder_put=rows))

        assert due(store, 0, 25, 10) == [rows[1], rows[3], rows[2]]
        assert due(store, 11, 30, 10) == [rows[3], rows[2], rows[0]]
        assert due(store, 0, 100, 2) == [rows[1], rows[3]]
        assert due(store, 51, 100, 10) == []

    def test_the_limit_of_due_rows_is_kept_at_its_edge(self, place: "Place") -> None:
        """Exactly `limit` due rows are all of the answer; one fewer leaves room for a later one."""
        store = place.open()
        rows = [ladder_row(due_ms) for due_ms in (1, 2, 3, 9)]
        store.commit(Commit(ladder_put=rows))

        assert due(store, 0, 3, 2) == rows[:2]
        assert due(store, 0, 3, 3) == rows[:3]
        assert due(store, 0, 3, 4) == rows

    def test_parked_rows_are_read_by_lane_only(self, place: "Place") -> None:
        """A parked row is not due; it is read with its subscription and partition."""
        store = place.open()
        parked = [ladder_row(20, 1, is_parked=True), ladder_row(10, 2, is_parked=True)]
        other = ladder_row(5, 3, subscription_id=2, is_parked=True)
        store.commit(Commit(ladder_put=[*parked, other]))

        assert due(store, 0, 100, 10) == []
        assert store.ask(store.store.parked, 1, 0, 10) == [parked[1], parked[0]]
        assert store.ask(store.store.parked, 1, 0, 1) == [parked[1]]
        assert store.ask(store.store.parked, 1, 1, 10) == []

    def test_ladder_rows_are_removed_by_identity(self, place: "Place") -> None:
        """Removing a row leaves its parked twin, its replay and other generations."""
        store = place.open()
        row = ladder_row(10)
        others = [
            ladder_row(10, dead_letter_id=4),
            ladder_row(10, generation=1),
            ladder_row(11),
            ladder_row(10, is_parked=True),
        ]
        store.commit(Commit(ladder_put=[row, *others]))

        store.commit(Commit(ladder_remove=[row]))

        found = store.answer(list, store.store.ladder_of, 1, 0, 0)
        assert sorted(found, key=repr) == sorted(others, key=repr)

    def test_rows_are_found_by_their_lock(self, place: "Place") -> None:
        """A lock finds the rows of its lane that it holds, and no row that no lock holds, that is
        parked, or that is another lane's."""
        store = place.open()
        held = [ladder_row(10, 1, lock=7), ladder_row(10, 2, lock=7), ladder_row(30, 3, lock=8)]
        others = [
            ladder_row(10, 4),
            ladder_row(10, 5, lock=7, is_parked=True),
            ladder_row(10, 6, lock=7, subscription_id=2),
            ladder_row(10, 7, lock=7, partition=1),
            ladder_row(10, 8, lock=9),
        ]
        store.commit(Commit(ladder_put=[*held, *others]))

        assert store.ask(store.store.locked, 1, 0, [7, 8]) == held
        assert store.ask(store.store.locked, 1, 0, [8, 6]) == held[2:]
        assert store.ask(store.store.locked, 1, 0, []) == []
        store.commit(Commit(ladder_remove=[held[0]]))
        assert store.ask(store.store.locked, 1, 0, [7]) == [held[1]]

    def test_a_row_moves_in_one_commit(self, place: "Place") -> None:
        """Removals come before what is put, so a row can be put back as it was."""
        store = place.open()
        row = ladder_row(10)
        store.commit(Commit(ladder_put=[row]))
        store.commit(Commit(ladder_remove=[row], ladder_put=[row]))

        assert due(store, 0, 100, 10) == [row]

    def test_the_ladder_counts_by_lane_and_generation(self, place: "Place") -> None:
        """Recovery counts rows, parked ones included, by subscription, partition, generation."""
        store = place.open()
        store.commit(
            Commit(
                ladder_put=[
                    ladder_row(1),
                    ladder_row(2, is_parked=True),
                    ladder_row(3, generation=1),
                    ladder_row(4, partition=2),
                ]
            )
        )

        assert place.open().recovered.ladder_counts == {(1, 0, 0): 2, (1, 0, 1): 1, (1, 2, 0): 1}

    def test_the_floor_is_what_waiting_rows_need(self, place: "Place") -> None:
        """The ladder's floor is the lowest position of rows that need their segment: no replays."""
        store = place.open()
        store.commit(
            Commit(
                ladder_put=[
                    ladder_row(1, 30),
                    ladder_row(2, 20, is_parked=True),
                    ladder_row(3, 10, dead_letter_id=1),
                    ladder_row(4, 5, topic_id=2),
                ]
            )
        )

        assert store.ask(store.store.ladder_floor) == {(1, 0): 20, (2, 0): 5}

    # --- dead letters and attempts --------------------------------------------------------------

    def test_dead_letters_come_back_whole(self, place: "Place") -> None:
        """A dead letter is read back with its event's bytes, its trace and its evidence."""
        store = place.open()
        letter = dead_letter(5)
        store.commit(Commit(dead_put=[letter]))

        assert letters(place.open(), DeadLetterQuery()) == [letter]

    def test_dead_letters_are_filtered(self, place: "Place") -> None:
        """Every field of a query narrows it; times include both ends."""
        store = place.open()
        kept = [
            dead_letter(1, dead_ms=100),
            dead_letter(2, dead_ms=200, subscription_id=2),
            dead_letter(3, dead_ms=300, reason=Reason.TIME_TO_LIVE),
            dead_letter(4, dead_ms=400, topic_id=2, finding="EP2101"),
        ]
        store.commit(Commit(dead_put=kept))

        def ids(**query: object) -> list[int]:
            asked = DeadLetterQuery(**query)  # type: ignore[arg-type]  # keyword arguments of it
            found = [letter.id for letter in letters(store, asked)]
            assert store.ask(store.store.count_dead_letters, asked) == len(found)
            return found

        assert ids() == [1, 2, 3, 4]
        assert ids(subscription_ids=[2, 9]) == [2]
        assert ids(subscription_ids=[]) == []
        assert ids(subscription_id=2) == [2]
        assert ids(topic_id=2) == [4]
        assert ids(ids=[4, 1, 99]) == [1, 4]
        assert ids(ids=[]) == []
        assert ids(since_ms=200) == [2, 3, 4]
        assert ids(until_ms=200) == [1, 2]
        assert ids(reason="TimeToLiveExceeded") == [3]
        assert ids(finding="EP2101") == [4]
        assert ids(finding="EP2101", subscription_id=2) == []
        assert ids(event=(1, 0, 3)) == [3]
        assert ids(event=(2, 0, 3)) == []
        assert ids(event=(1, 1, 3)) == []
        assert ids(source_id=0) == []

    def test_a_sources_dead_letters_come_back_whole(self, place: "Place") -> None:
        """A message of which no event could be made is kept with its bytes and what its queue said,
        apart from what subscriptions gave up."""
        store = place.open()
        kept = [poison(1), poison(2, source_id=2), dead_letter(3)]
        store.commit(Commit(dead_put=kept))

        for driver in place.now_and_reopened(store):
            assert letters(driver, DeadLetterQuery()) == kept
            assert letters(driver, DeadLetterQuery(source_id=2)) == [kept[1]]
            assert letters(driver, DeadLetterQuery(subscription_id=1)) == [kept[2]]
        assert driver.recovered.source_letter_counts == {1: 1, 2: 1}
        assert driver.recovered.dead_letter_counts == {1: 1}

    def test_a_removed_source_takes_its_dead_letters(self, place: "Place") -> None:
        """Removing a source, or its topic, removes its dead letters and no other's."""
        store = place.open()
        owners = ((1, 1), (2, 1), (3, 2))
        store.commit(Commit(catalogue=[PutTopic(topic(topic_id)) for topic_id in (1, 2)]))
        store.commit(
            Commit(
                catalogue=[PutSource(source(*owner)) for owner in owners],
                dead_put=[
                    *(
                        poison(owner, source_id=owner, topic_id=topic_id)
                        for owner, topic_id in owners
                    ),
                    dead_letter(9),
                ],
            )
        )

        store.commit(Commit(catalogue=[RemoveSource(1), RemoveTopic(2)]))

        for driver in place.now_and_reopened(store):
            assert [letter.id for letter in letters(driver, DeadLetterQuery())] == [2, 9]
        assert driver.recovered.source_letter_counts == {2: 1}
        driver.sweep()
        assert [letter.id for letter in letters(driver, DeadLetterQuery())] == [2, 9]

    def test_dead_letters_are_paged_by_id(self, place: "Place") -> None:
        """Pages of `limit` after the last id cover all, once each; the count covers all pages."""
        store = place.open()
        store.commit(Commit(dead_put=[dead_letter(index) for index in range(1, 8)]))

        pages = []
        after_id = 0
        while page := letters(store, DeadLetterQuery(after_id=after_id, limit=3)):
            pages.append([letter.id for letter in page])
            after_id = page[-1].id

        assert pages == [[1, 2, 3], [4, 5, 6], [7]]
        assert store.ask(store.store.count_dead_letters, DeadLetterQuery(limit=1, after_id=6)) == 7

    def test_a_replayed_dead_letter_is_not_among_the_dead(self, place: "Place") -> None:
        """Replayed letters are asked for apart, not counted, and can be put back."""
        store = place.open()
        store.commit(Commit(dead_put=[dead_letter(1), dead_letter(2)]))
        store.commit(Commit(dead_states=[DeadLetterState(id=1, replayed_ms=77)]))

        assert [letter.id for letter in letters(store, DeadLetterQuery())] == [2]
        (replayed,) = letters(store, DeadLetterQuery(is_replayed=True))
        assert (replayed.id, replayed.replayed_ms) == (1, 77)
        assert len(letters(store, DeadLetterQuery(is_replayed=None))) == 2
        assert place.open().recovered.dead_letter_counts == {1: 1}

    def test_a_dead_letter_put_back_is_dead_again(self, place: "Place") -> None:
        """`replayed_ms=0` puts a replayed letter back among the dead."""
        store = place.open()
        store.commit(Commit(dead_put=[dead_letter(1)]))
        store.commit(Commit(dead_states=[DeadLetterState(id=1, replayed_ms=77)]))
        store.commit(Commit(dead_states=[DeadLetterState(id=1, replayed_ms=0)]))

        assert letters(store, DeadLetterQuery()) == [dead_letter(1)]

    def test_exports_that_are_due_are_found(self, place: "Place") -> None:
        """Letters whose export is due are found until they are written; others never are."""
        store = place.open()
        waiting = [dead_letter(1, export_due_ms=10), dead_letter(2, export_due_ms=30)]
        store.commit(Commit(dead_put=[*waiting, dead_letter(3)]))
        query = DeadLetterQuery(export_due_ms=20, is_replayed=None)

        assert letters(store, query) == [waiting[0]]
        written = DeadLetterState(id=1, export_due_ms=0, exported_to="folder:/x/1.json")
        store.commit(Commit(dead_states=[written]))
        assert letters(store, query) == []
        assert letters(store, DeadLetterQuery(ids=[1]))[0].exported_to == "folder:/x/1.json"
        copied = DeadLetterQuery(exported_to=["folder:/x/1.json", "folder:/x/2.json"])
        assert [letter.id for letter in letters(store, copied)] == [1]
        assert letters(store, DeadLetterQuery(exported_to=["folder:/x"])) == []

    def test_removed_dead_letters_are_gone(self, place: "Place") -> None:
        """Purging removes exactly the ids given; unknown ids do not matter."""
        store = place.open()
        store.commit(Commit(dead_put=[dead_letter(1), dead_letter(2)]))
        store.commit(Commit(dead_remove=[1, 99]))

        assert [letter.id for letter in letters(store, DeadLetterQuery())] == [2]

    def test_the_attempt_log_of_one_event(self, place: "Place") -> None:
        """Attempts come oldest first for their event alone, and go when they are old."""
        store = place.open()
        records = [attempt(0, number, NOW_MS + number) for number in (1, 2, 3)]
        store.commit(Commit(attempts=[*records, attempt(1, 1, NOW_MS + 9)]))

        assert store.ask(store.store.attempts, 1, 0, 0) == records
        store.commit(Commit(attempts_before_ms=NOW_MS + 3))
        store.sweep()
        assert store.ask(store.store.attempts, 1, 0, 0) == [records[2]]
        assert store.ask(store.store.attempts, 1, 0, 1) == [attempt(1, 1, NOW_MS + 9)]

    def test_the_attempt_log_answers_at_most_a_thousand(self, place: "Place") -> None:
        """An event with more attempts than that shows the oldest thousand."""
        store = place.open()
        store.commit(Commit(attempts=[attempt(0, number) for number in range(1, 1_002)]))

        found = store.answer(list, store.store.attempts, 1, 0, 0)

        assert [record.attempt for record in found] == list(range(1, 1_001))

    # --- what was taken -------------------------------------------------------------------------

    def test_what_was_taken_is_known_until_it_is_removed(self, place: "Place") -> None:
        """Ids are known by their queue, also after reopening, until they are removed."""
        store = place.open()
        store.commit(with_topic())
        store.commit(
            Commit(
                appends=[append("a")],
                taken=[Taken(7, ["m-1", "m-2", 'q"x'], NOW_MS), Taken(-8, ["m-1"], NOW_MS)],
            )
        )

        for driver in place.now_and_reopened(store):
            assert taken(driver, 7, "m-1", "m-3", 'q"x') == {"m-1", 'q"x'}
            assert taken(driver, -8, "m-1", "m-2") == {"m-1"}
            assert taken(driver, 9, "m-1") == set()
            assert taken(driver, 7) == set()
        driver.commit(Commit(taken_remove=[Taken(7, ["m-1", "never"])]))
        assert taken(driver, 7, "m-1", "m-2") == {"m-2"}
        assert taken(driver, -8, "m-1") == {"m-1"}

    def test_what_was_taken_and_is_gone_leaves_nothing(self, place: "Place") -> None:
        """An id that is added and removed in one commit is not known; added again, it is once."""
        store = place.open()
        both = Commit(taken=[Taken(7, ["m-1"], 1)], taken_remove=[Taken(7, ["m-1"])])
        store.commit(both)
        assert taken(store, 7, "m-1") == set()

        for at_ms in (1, 5):
            store.commit(Commit(taken=[Taken(7, ["m-1"], at_ms)]))
        store.commit(Commit(taken_before_ms=5))
        store.sweep()

        assert taken(store, 7, "m-1") == {"m-1"}

    def test_what_was_taken_long_ago_goes_in_slices(self, place: "Place") -> None:
        """Ids older than the bound go, oldest first, a slice per commit; the others stay."""
        store = place.open()
        for at_ms in range(10):
            ids = [f"m-{at_ms}-{index}" for index in range(300)]
            store.commit(Commit(taken=[Taken(7, ids, at_ms)]))
        store.commit(Commit(taken_before_ms=9))
        commits = store.sweep()

        assert taken(store, 7, "m-8-299", "m-9-0") == {"m-9-0"}
        assert commits > 1

    # --- finding --------------------------------------------------------------------------------

    def test_events_are_found_by_id_newest_first(self, place: "Place") -> None:
        """`find` tells every event with an id, newest first, by topic and since a time."""
        store = place.open()
        store.commit(Commit(catalogue=[PutTopic(topic(1)), PutTopic(topic(2))]))
        store.commit(Commit(appends=[append("x", "y", published_ms=100)]))
        store.commit(Commit(appends=[append("x", topic_id=2, published_ms=200)]))
        store.commit(Commit(appends=[append("z", "x", published_ms=300)]))
        wire = event("x").wire
        newest, other, oldest = (
            Found(1, 0, 3, 300, wire),
            Found(2, 0, 0, 200, wire),
            Found(1, 0, 0, 100, wire),
        )

        for driver in place.now_and_reopened(store):
            assert driver.ask(driver.store.find, "x", None, 0, 9) == [newest, other, oldest]
            assert driver.ask(driver.store.find, "x", 1, 0, 9) == [newest, oldest]
            assert driver.ask(driver.store.find, "x", None, 200, 9) == [newest, other]
            assert driver.ask(driver.store.find, "x", None, 0, 1) == [newest]
            assert driver.ask(driver.store.find, "w", None, 0, 9) == []

    def test_ids_with_equal_fingerprints_are_told_apart(self, place: "Place") -> None:
        """Two ids with the same CRC-32 are different events."""
        store = place.open()
        store.commit(with_topic())
        store.commit(Commit(appends=[append("plumless", "buckeroo")]))

        found = store.answer(list, store.store.find, "plumless", None, 0, 9)

        assert [hit.position for hit in found] == [0]

    def test_a_position_is_found_by_time(self, place: "Place") -> None:
        """The first position published at or after a time; the next position when there is none."""
        store = place.open()
        store.commit(with_topic())
        for published_ms in (100, 200, 200, 300):
            store.commit(Commit(appends=[append("a", "b", published_ms=published_ms)]))

        expected = {0: 0, 100: 0, 101: 2, 200: 2, 201: 6, 300: 6, 301: 8}
        found = {at: store.ask(store.store.position_at, 1, 0, at) for at in expected}

        assert found == expected

    # --- giving up ------------------------------------------------------------------------------

    def test_trimmed_events_are_not_shown(self, place: "Place") -> None:
        """After a trim a read from the start begins at most with the segment that is needed."""
        store = place.open()
        store.commit(with_topic())
        for group in ("ab", "cd", "ef"):
            store.commit(Commit(appends=[append(*group)]))

        store.commit(Commit(trims=[Trim(1, 0, 4)]))
        store.sweep()

        for driver in place.now_and_reopened(store):
            assert [segment.first for segment in read(driver, 1, 0)] == [4]
            assert driver.ask(driver.store.events, [(1, 0, 1), (1, 0, 4)]).keys() == {(1, 0, 4)}  # type: ignore[attr-defined]  # a dict
            assert driver.ask(driver.store.find, "a", None, 0, 9) == []
            assert driver.ask(driver.store.position_at, 1, 0, 0) == 4

    def test_positions_go_on_after_everything_was_trimmed(self, place: "Place") -> None:
        """A partition that was emptied gives no position twice, also after reopening."""
        store = place.open()
        store.commit(with_topic())
        store.commit(Commit(appends=[append("a", "b")]))
        store.commit(Commit(trims=[Trim(1, 0, 2)]))
        store.sweep()

        store = place.open()

        assert store.recovered.next_positions == {(1, 0): 2}
        assert read(store, 1, 0) == []
        assert store.commit(Commit(appends=[append("c")])).firsts == [2]
        assert ids_from(read(store, 1, 0), 0) == ["c"]

    def test_a_segment_that_is_partly_needed_stays(self, place: "Place") -> None:
        """Trimming inside a segment keeps it: events at and above the position stay readable."""
        store = place.open()
        store.commit(Commit(catalogue=[PutTopic(topic(1))], appends=[append("a", "b", "c")]))
        store.commit(Commit(trims=[Trim(1, 0, 1)]))
        store.sweep()

        assert ids_from(read(store, 1, 1), 1) == ["b", "c"]

    def test_a_removed_topic_is_gone_with_all_of_its_rows(self, place: "Place") -> None:
        """Removing a topic removes events, subscriptions, states, ladder rows, dead letters."""
        store = place.open()
        store.commit(
            Commit(
                catalogue=[
                    *(PutTopic(topic(topic_id)) for topic_id in (1, 2)),
                    PutSubscription(subscription(1, 1)),
                    PutSubscription(subscription(2, 2)),
                ],
                appends=[append("a"), append("b", topic_id=2)],
                states=[
                    StateRow(kind=kind, owner_id=owner_id, partition=0, state=b"")
                    for kind in ("lane", "partition")
                    for owner_id in (1, 2)
                ],
                ladder_put=[
                    ladder_row(1, subscription_id=owner_id, topic_id=owner_id, is_parked=is_parked)
                    for owner_id in (1, 2)
                    for is_parked in (False, True)
                ],
                dead_put=[dead_letter(1), dead_letter(2, subscription_id=2, topic_id=2)],
            )
        )

        store.commit(Commit(catalogue=[RemoveTopic(1)]))

        for driver in place.now_and_reopened(store):
            assert read(driver, 1, 0) == []
            assert driver.ask(driver.store.find, "a", None, 0, 9) == []
            assert [row.subscription_id for row in due(driver, 0, 9, 9)] == [2]
            assert driver.ask(driver.store.parked, 1, 0, 9) == []
            assert [letter.id for letter in letters(driver, DeadLetterQuery())] == [2]
            assert ids_from(read(driver, 2, 0), 0) == ["b"]
        recovered = driver.recovered
        assert (recovered.topics, recovered.subscriptions) == ([topic(2)], [subscription(2, 2)])
        assert [row.owner_id for row in recovered.states] == [2, 2]
        assert recovered.ladder_counts == {(2, 0, 0): 2}
        assert recovered.dead_letter_counts == {2: 1}

    def test_a_removed_subscription_leaves_the_others(self, place: "Place") -> None:
        """Removing a subscription takes its rows and nothing of its topic or siblings."""
        store = place.open()
        store.commit(
            Commit(
                catalogue=[
                    PutTopic(topic(1)),
                    PutSubscription(subscription(1)),
                    PutSubscription(subscription(2)),
                ],
                appends=[append("a")],
                ladder_put=[ladder_row(1), ladder_row(2, subscription_id=2)],
                dead_put=[dead_letter(1), dead_letter(2, subscription_id=2)],
            )
        )

        store.commit(Commit(catalogue=[RemoveSubscription(1)]))
        store.sweep()

        assert [row.subscription_id for row in due(store, 0, 9, 9)] == [2]
        assert [letter.id for letter in letters(store, DeadLetterQuery())] == [2]
        assert ids_from(read(store, 1, 0), 0) == ["a"]
        assert place.open().recovered.subscriptions == [subscription(2)]

    def test_leftovers_outlive_a_restart(self, place: "Place") -> None:
        """What a removal left to do is done after reopening, until nothing is left."""
        store = place.open()
        store.commit(Commit(catalogue=[PutTopic(topic(1)), PutTopic(topic(2))]))
        for index in range(30):
            store.commit(Commit(appends=[append(f"a{index}"), append(f"b{index}", topic_id=2)]))
        store.commit(Commit(catalogue=[RemoveTopic(1)], trims=[Trim(2, 0, 30)]))

        store = place.open()
        store.sweep()

        usage = store.answer(Usage, store.store.usage)
        assert (usage.event_count, usage.segment_count) == (0, 0)
        assert store.recovered.next_positions == {(2, 0): 30}

    def test_usage_counts_what_is_kept(self, place: "Place") -> None:
        """Usage tells events, rows, bytes, and the oldest position kept of each partition."""
        store = place.open()
        store.commit(with_topic())
        empty = store.answer(Usage, store.store.usage)
        for group in ("ab", "cd"):
            store.commit(Commit(appends=[append(*group)]))
        store.commit(
            Commit(
                ladder_put=[ladder_row(1), ladder_row(2, is_parked=True)], dead_put=[dead_letter(1)]
            )
        )
        store.commit(Commit(trims=[Trim(1, 0, 2)]))
        store.sweep()

        usage = store.answer(Usage, store.store.usage)

        assert usage.event_count == 2
        assert usage.segment_count == 1
        assert usage.ladder_count == 2
        assert usage.dead_letter_count == 1
        assert usage.first_positions == {(1, 0): 2}
        assert usage.bytes_used >= empty.bytes_used > 0

    # --- any sequence ---------------------------------------------------------------------------

    @pytest.mark.slow
    def test_any_sequence_of_commits_and_restarts(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """Whatever is committed, trimmed, removed and reopened, reads answer as a model does."""

        def new_store() -> Callable[[Clock], Store]:
            directory = tmp_path_factory.mktemp("store")
            return lambda clock: self.new_place(directory, clock)()

        store_machine.run(new_store, self.settings_of_machine())


class Place:
    """One place for a store, opened again and again."""

    def __init__(
        self, new_place: Callable[[Path, Clock], Callable[[], Store]], directory: Path
    ) -> None:
        self._clock = PumpClock()
        self._new_store = new_place(directory / "data", self._clock)
        self._driver: Driver | None = None

    def open(self) -> Driver:
        """Close the store that is open, if any, and open another."""
        self.close()
        self._driver = Driver(self._new_store(), self._clock)
        return self._driver

    def now_and_reopened(self, driver: Driver) -> Iterator[Driver]:
        """The store as it is, then the same place opened anew."""
        yield driver
        yield self.open()

    def close(self) -> None:
        if self._driver is not None:
            self._driver.store.close()


def read(driver: Driver, topic_id: int, position: int, bytes_max: int = ALL) -> list[Segment]:
    return driver.answer(list, driver.store.read, topic_id, 0, position, bytes_max)


def ids_from(segments: list[Segment], position: int) -> list[str]:
    """The ids of the sample events from `position` on; the segments must follow one another."""
    wires: dict[int, bytes] = {}
    for segment in segments:
        assert not wires or segment.first in wires.keys() | {max(wires) + 1}
        wires |= {segment.first + index: wire for index, wire in enumerate(segment.wires)}
    return [wire.decode().split('"')[3] for at, wire in sorted(wires.items()) if at >= position]


def due(driver: Driver, from_ms: int, until_ms: int, limit: int) -> list[LadderRow]:
    return driver.answer(list, driver.store.due, from_ms, until_ms, limit)


def taken(driver: Driver, queue: int, *ids: str) -> set[str]:
    return driver.answer(set, driver.store.taken, queue, list(ids))


def letters(driver: Driver, query: DeadLetterQuery) -> list[DeadLetter]:
    return driver.answer(list, driver.store.dead_letters, query)
