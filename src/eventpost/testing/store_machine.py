"""A Hypothesis state machine that compares a store with a model in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from eventpost.core.interfaces import (
    Append,
    CatalogueChange,
    Clock,
    Commit,
    DeadLetter,
    DeadLetterQuery,
    LadderRow,
    PutConnection,
    PutSource,
    PutSubscription,
    PutTopic,
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
from eventpost.core.sources import Connection, Source
from eventpost.core.subscriptions import Subscription, Topic
from eventpost.testing.driver import Driver, PumpClock
from eventpost.testing.samples import (
    NOW_MS,
    connection,
    dead_letter,
    event,
    ladder_row,
    poison,
    source,
    subscription,
    topic,
)

PARTITIONS = 2
MESSAGE_IDS = ("m-1", "m-2", "m-3", "0/7")
Key = tuple[int, int]


@dataclass(frozen=True)
class Effort:
    """How many sequences, and how long each."""

    sequences: int = 25
    steps: int = 40


@dataclass
class Model:
    """What the store must answer."""

    topics: dict[int, Topic] = field(default_factory=dict)
    subscriptions: dict[int, Subscription] = field(default_factory=dict)
    logs: dict[Key, list[tuple[bytes, int]]] = field(default_factory=dict)
    """(wire, published_ms) by position."""
    floors: dict[Key, int] = field(default_factory=dict)
    outcomes: dict[int, bytes] = field(default_factory=dict)
    last_outcome: int = 0
    states: dict[tuple[str, int, int], StateRow] = field(default_factory=dict)
    ladder: dict[tuple[object, ...], LadderRow] = field(default_factory=dict)
    letters: dict[int, DeadLetter] = field(default_factory=dict)
    topic_id_max: int = 0
    subscription_id_max: int = 0
    connections: dict[str, Connection] = field(default_factory=dict)
    sources: dict[int, Source] = field(default_factory=dict)
    source_id_max: int = 0
    taken: dict[tuple[int, str], int] = field(default_factory=dict)
    """When each message was taken, by queue and id."""
    events: int = 0

    def put_topic(self, added: Topic) -> None:
        self.topics[added.id] = added
        self.topic_id_max = max(self.topic_id_max, added.id)

    def put_subscription(self, added: Subscription) -> None:
        self.subscriptions[added.id] = added
        self.subscription_id_max = max(self.subscription_id_max, added.id)

    def append(self, appended: Append) -> int:
        log = self.logs.setdefault((appended.topic_id, appended.partition), [])
        first = len(log)
        log += [(kept.wire, appended.published_ms) for kept in appended.events]
        return first

    def remove_topic(self, topic_id: int) -> None:
        del self.topics[topic_id]
        for key in [key for key in self.logs if key[0] == topic_id]:
            del self.logs[key]
            self.floors.pop(key, None)
        self._drop_states("partition", topic_id)
        for owned in [one for one in self.subscriptions.values() if one.topic_id == topic_id]:
            self.remove_subscription(owned.id)
        for source_id in [one.id for one in self.sources.values() if one.topic_id == topic_id]:
            self.remove_source(source_id)

    def remove_subscription(self, subscription_id: int) -> None:
        del self.subscriptions[subscription_id]
        self._drop_states("lane", subscription_id)
        for key, row in list(self.ladder.items()):
            if row.subscription_id == subscription_id:
                del self.ladder[key]
        for letter in list(self.letters.values()):
            if letter.subscription_id == subscription_id:
                del self.letters[letter.id]

    def remove_source(self, source_id: int) -> None:
        del self.sources[source_id]
        for letter in list(self.letters.values()):
            if letter.source_id == source_id:
                del self.letters[letter.id]

    def _drop_states(self, kind: str, owner_id: int) -> None:
        for key in [key for key in self.states if key[:2] == (kind, owner_id)]:
            del self.states[key]


def row_key(row: LadderRow) -> tuple[object, ...]:
    return (
        row.is_parked,
        row.due_ms,
        row.subscription_id,
        row.partition,
        row.position,
        row.generation,
        row.dead_letter_id,
    )


def run(new_store: Callable[[], Callable[[Clock], Store]], effort: Effort) -> None:
    """Try random sequences; each on a new place, on which `new_store()` makes stores by a clock."""

    class OnNewPlace(StoreMachine):
        def __init__(self) -> None:
            super().__init__(new_store())

    run_state_machine_as_test(
        OnNewPlace,
        settings=settings(
            max_examples=effort.sequences,
            stateful_step_count=effort.steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


class StoreMachine(RuleBasedStateMachine):
    """Each rule commits something to the store and to the model; after each, reads must agree."""

    def __init__(self, new_store: Callable[[Clock], Store]) -> None:
        super().__init__()
        self._clock = PumpClock()
        self._new_store = new_store
        self._driver: Driver | None = None
        self._model = Model()
        self._now_ms = NOW_MS

    @property
    def driver(self) -> Driver:
        assert self._driver is not None
        return self._driver

    @initialize()
    def begin(self) -> None:
        self._driver = Driver(self._new_store(self._clock), self._clock)

    def teardown(self) -> None:
        if self._driver is not None:
            self._driver.store.close()

    def _commit(self, commit: Commit) -> list[int]:
        return self.driver.commit(commit).firsts

    def _some(self, data: st.DataObject, values: list[int]) -> int:
        return data.draw(st.sampled_from(values))

    # --- rules ----------------------------------------------------------------------------------

    @rule(gap=st.integers(1, 3))
    def add_topic(self, gap: int) -> None:
        if len(self._model.topics) >= 4:
            return
        added = topic(self._model.topic_id_max + gap, PARTITIONS)
        self._commit(Commit(catalogue=[PutTopic(added)]))
        self._model.put_topic(added)

    @rule(data=st.data())
    def add_subscription(self, data: st.DataObject) -> None:
        if not self._model.topics or len(self._model.subscriptions) >= 4:
            return
        owner = self._some(data, sorted(self._model.topics))
        added = subscription(self._model.subscription_id_max + 1, owner)
        self._commit(Commit(catalogue=[PutSubscription(added)]))
        self._model.put_subscription(added)

    @rule(name=st.sampled_from(["aws", "home", "work"]), port=st.integers(1, 9))
    def put_connection(self, name: str, port: int) -> None:
        added = connection(name, port=port)
        self._commit(Commit(catalogue=[PutConnection(added)]))
        self._model.connections[name] = added

    @rule(name=st.sampled_from(["aws", "home", "work"]))
    def remove_connection(self, name: str) -> None:
        self._commit(Commit(catalogue=[RemoveConnection(name)]))
        self._model.connections.pop(name, None)

    @rule(data=st.data())
    def add_source(self, data: st.DataObject) -> None:
        if not self._model.topics or len(self._model.sources) >= 4:
            return
        added = source(self._model.source_id_max + 1, self._some(data, sorted(self._model.topics)))
        self._commit(Commit(catalogue=[PutSource(added)]))
        self._model.sources[added.id] = added
        self._model.source_id_max = added.id

    @rule(data=st.data())
    def remove_source(self, data: st.DataObject) -> None:
        if self._model.sources:
            removed = self._some(data, sorted(self._model.sources))
            self._remove(RemoveSource(removed))
            self._model.remove_source(removed)

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        """Some messages become the events of a commit, or a dead letter; others never come back."""
        queue = data.draw(st.integers(1, 2))
        ids = data.draw(st.lists(st.sampled_from(MESSAGE_IDS), unique=True))
        gone = data.draw(st.lists(st.sampled_from(MESSAGE_IDS), unique=True))
        commit = Commit(taken=[Taken(queue, ids, self._now_ms)], taken_remove=[Taken(queue, gone)])
        if self._model.sources:
            self._model.events += 1
            owner = self._some(data, sorted(self._model.sources))
            letter = poison(self._model.events, source_id=owner)
            commit.dead_put.append(letter)
            self._model.letters[letter.id] = letter
        self._commit(commit)
        self._model.taken |= dict.fromkeys(((queue, one) for one in ids), self._now_ms)
        for one in gone:
            self._model.taken.pop((queue, one), None)

    @rule(back_ms=st.integers(-2, 10))
    def forget_what_was_taken(self, back_ms: int) -> None:
        before_ms = self._now_ms - back_ms
        self._commit(Commit(taken_before_ms=before_ms))
        self.driver.sweep()
        self._model.taken = {
            key: at_ms for key, at_ms in self._model.taken.items() if at_ms >= before_ms
        }

    @rule(data=st.data(), commits=st.integers(1, 6))
    def publish(self, data: st.DataObject, commits: int) -> None:
        keys = [(topic_id, part) for topic_id in self._model.topics for part in range(PARTITIONS)]
        if not keys:
            return
        for _ in range(commits):
            chosen = data.draw(st.lists(st.sampled_from(keys), min_size=1, unique=True))
            self._now_ms += data.draw(st.integers(-2, 5))
            appends = [self._append(data, key) for key in chosen]
            firsts = self._commit(Commit(appends=appends))
            assert firsts == [self._model.append(appended) for appended in appends]

    def _append(self, data: st.DataObject, key: Key) -> Append:
        events = []
        for size in data.draw(st.lists(st.sampled_from((0, 10, 150, 700)), max_size=5)):
            self._model.events += 1
            is_traced = size == 10
            events.append(
                event(
                    f"event-{self._model.events}", "x" * size, ("00-1", "") if is_traced else None
                )
            )
        return Append(*key, self._now_ms, events)

    @rule(data=st.data())
    def trim(self, data: st.DataObject) -> None:
        trims = []
        for key, log in self._model.logs.items():
            below = data.draw(st.integers(0, len(log)))
            trims.append(Trim(*key, below))
            self._model.floors[key] = max(self._model.floors.get(key, 0), below)
        self._commit(Commit(trims=trims))

    @rule(data=st.data())
    def remove_topic(self, data: st.DataObject) -> None:
        if self._model.topics:
            removed = self._some(data, sorted(self._model.topics))
            self._remove(RemoveTopic(removed))
            self._model.remove_topic(removed)

    @rule(data=st.data())
    def remove_subscription(self, data: st.DataObject) -> None:
        if self._model.subscriptions:
            removed = self._some(data, sorted(self._model.subscriptions))
            self._remove(RemoveSubscription(removed))
            self._model.remove_subscription(removed)

    def _remove(self, change: CatalogueChange) -> None:
        self._commit(Commit(catalogue=[change]))

    @rule(count=st.integers(1, 3))
    def sweep_some(self, count: int) -> None:
        for _ in range(count):
            self._commit(Commit())

    @rule()
    def sweep_all(self) -> None:
        """Once nothing is left over, the store is sound and keeps no event for nobody."""
        self.driver.sweep()
        assert self.driver.answer(list, self.driver.store.verify) == []
        usage = self.driver.answer(Usage, self.driver.store.usage)
        kept = {
            key: (self._model.floors.get(key, 0), len(log)) for key, log in self._model.logs.items()
        }
        if all(floor == end for floor, end in kept.values()):
            assert (usage.event_count, usage.segment_count) == (0, 0)

    @rule(data=st.data(), rows=st.integers(1, 6))
    def climb(self, data: st.DataObject, rows: int) -> None:
        if not self._model.subscriptions:
            return
        owners = sorted(self._model.subscriptions)
        put = [
            ladder_row(
                data.draw(st.integers(0, 20)),
                data.draw(st.integers(0, 5)),
                subscription_id=self._some(data, owners),
                is_parked=data.draw(st.booleans()),
                dead_letter_id=data.draw(st.integers(0, 1)),
            )
            for _ in range(rows)
        ]
        self._commit(Commit(ladder_put=put))
        self._model.ladder |= {row_key(row): row for row in put}

    @rule(data=st.data())
    def leave_the_ladder(self, data: st.DataObject) -> None:
        if self._model.ladder:
            key = data.draw(st.sampled_from(sorted(self._model.ladder)))
            row = self._model.ladder.pop(key)
            moved = replace_due(row, row.due_ms + 5)
            self._commit(Commit(ladder_remove=[row], ladder_put=[moved]))
            self._model.ladder[row_key(moved)] = moved

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        if self._model.subscriptions:
            owner = self._some(data, sorted(self._model.subscriptions))
            self._model.events += 1
            letter = dead_letter(self._model.events, subscription_id=owner)
            self._commit(Commit(dead_put=[letter]))
            self._model.letters[letter.id] = letter

    @rule(body=st.binary(max_size=300), is_last=st.booleans())
    def settle(self, body: bytes, is_last: bool) -> None:
        """An outcome, and now and then a snapshot that makes the earlier ones needless."""
        model = self._model
        model.last_outcome += 1
        model.outcomes[model.last_outcome] = body
        commit = Commit(outcome_id=model.last_outcome, outcome=body)
        if is_last:
            commit.outcomes_below = model.last_outcome
            model.outcomes = {model.last_outcome: body}
        self._commit(commit)

    @rule(data=st.data(), body=st.binary(max_size=50))
    def snapshot(self, data: st.DataObject, body: bytes) -> None:
        if self._model.topics:
            owner = self._some(data, sorted(self._model.topics))
            row = StateRow(kind="partition", owner_id=owner, partition=0, state=body)
            self._commit(Commit(states=[row]))
            self._model.states["partition", owner, 0] = row

    @rule()
    def reopen(self) -> None:
        self.driver.store.close()
        self._driver = Driver(self._new_store(self._clock), self._clock)
        self._check_recovered()

    # --- what must agree ------------------------------------------------------------------------

    def _check_recovered(self) -> None:
        recovered, model = self.driver.recovered, self._model
        assert {one.id: one for one in recovered.topics} == model.topics
        assert {one.id: one for one in recovered.subscriptions} == model.subscriptions
        assert recovered.next_positions == {
            (topic_id, part): len(model.logs.get((topic_id, part), []))
            for topic_id in model.topics
            for part in range(PARTITIONS)
        }
        assert recovered.outcomes == sorted(model.outcomes.items())
        assert recovered.last_outcome_id == model.last_outcome
        assert sorted(row.state for row in recovered.states) == sorted(
            row.state for row in model.states.values()
        )
        assert sum(recovered.ladder_counts.values()) == len(model.ladder)
        counts = (recovered.dead_letter_counts, recovered.source_letter_counts)
        assert sum(sum(each.values()) for each in counts) == len(model.letters)
        assert recovered.topic_id_max == model.topic_id_max
        assert recovered.subscription_id_max == model.subscription_id_max
        assert {one.name: one for one in recovered.connections} == model.connections
        assert {one.id: one for one in recovered.sources} == model.sources
        assert recovered.source_id_max == model.source_id_max

    @invariant()
    def logs_agree(self) -> None:
        if self._driver is None:
            return
        for key, log in self._model.logs.items():
            floor = self._model.floors.get(key, 0)
            for start in {0, floor, (floor + len(log)) // 2, len(log)}:
                self._check_read(key, log, floor, start)
            self._check_position_at(key, log, floor)
            if log[floor:]:
                self._check_single(key, log, (floor + len(log)) // 2)

    def _check_read(self, key: Key, log: list[tuple[bytes, int]], floor: int, start: int) -> None:
        segments = self.driver.answer(list, self.driver.store.read, *key, start, 1 << 30)
        found: dict[int, tuple[bytes, int]] = {}
        for segment in segments:
            assert not found or segment.first == max(found) + 1
            for offset, wire in enumerate(segment.wires):
                found[segment.first + offset] = (wire, segment.published_ms)
        wanted = max(start, floor)
        assert all(log[position] == kept for position, kept in found.items())
        assert set(range(wanted, len(log))) <= found.keys()
        assert not found or min(found) <= wanted < segments[0].end

    def _check_single(self, key: Key, log: list[tuple[bytes, int]], position: int) -> None:
        wanted = (*key, position)
        found = self.driver.answer(dict, self.driver.store.events, [wanted, (*key, len(log))])
        segment: Segment = found[wanted]
        assert found.keys() == {wanted}
        assert (segment.wires, segment.published_ms) == ([log[position][0]], log[position][1])
        event_id = segment.wires[0].decode().split('"')[3]
        hits = self.driver.answer(list, self.driver.store.find, event_id, None, 0, 9)
        assert [(hit.topic_id, hit.partition, hit.position) for hit in hits] == [wanted]

    def _check_position_at(self, key: Key, log: list[tuple[bytes, int]], floor: int) -> None:
        at_ms = self._now_ms - 3
        found = self.driver.answer(int, self.driver.store.position_at, *key, at_ms)
        later = [index for index, (_, ms) in enumerate(log) if ms >= at_ms]
        expected = max(floor, later[0]) if later else len(log)
        assert found == expected

    @invariant()
    def rows_agree(self) -> None:
        if self._driver is None:
            return
        driver, model = self.driver, self._model
        waiting = [row for row in model.ladder.values() if not row.is_parked]
        found = driver.answer(list, driver.store.due, 0, 1_000, 1_000)
        assert sorted(found, key=repr) == sorted(waiting, key=repr)
        assert [row.due_ms for row in found] == sorted(row.due_ms for row in waiting)
        for owner in model.subscriptions:
            parked = [
                row
                for row in model.ladder.values()
                if row.is_parked and row.subscription_id == owner
            ]
            found = driver.answer(list, driver.store.parked, owner, 0, 1_000)
            assert sorted(found, key=repr) == sorted(parked, key=repr)
        for queue in (1, 2):
            known = {one for number, one in model.taken if number == queue}
            assert driver.answer(set, driver.store.taken, queue, [*MESSAGE_IDS]) == known
        query = DeadLetterQuery(limit=1_000)
        found = driver.answer(list, driver.store.dead_letters, query)
        assert found == [letter for _, letter in sorted(model.letters.items())]


def replace_due(row: LadderRow, due_ms: int) -> LadderRow:
    """The same delivery on another rung."""
    return ladder_row(
        due_ms,
        row.position,
        subscription_id=row.subscription_id,
        dead_letter_id=row.dead_letter_id,
        is_parked=row.is_parked,
    )
