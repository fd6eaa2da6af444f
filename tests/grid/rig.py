"""An engine on a real SQLite store, with a clock, answers and destinations in the test's hand."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from eventpost.core.books import Dropped, Tally
from eventpost.core.errors import Overloaded
from eventpost.core.events import Delivery, Event, Schema
from eventpost.core.interfaces import (
    AttemptRecord,
    Commit,
    CommitFailed,
    Committed,
    DeadLetter,
    DeadLetterPlace,
    DeadLetterQuery,
    DeliveryDone,
    FileWritten,
    ReadFailed,
    Segment,
)
from eventpost.core.outcomes import DELIVERED, Evidence, Failed, Fault, Outcome, Stage
from eventpost.core.subscriptions import (
    DEAD_LETTER_TOPIC,
    Endpoint,
    Filter,
    RetryPolicy,
    Subscription,
    Topic,
)
from eventpost.formats import eventgrid, topics
from eventpost.grid import catalogue
from eventpost.grid.engine import Engine, Surroundings, Watcher
from eventpost.grid.lane import Lane
from eventpost.grid.limits import GridLimits
from eventpost.stores.executor import InlineExecutor
from eventpost.stores.sqlite import SqliteSettings, SqliteStore
from eventpost.testing.audit import unbalanced
from eventpost.testing.clock import VirtualClock

T = TypeVar("T")
Reaction = Callable[[Sequence[Delivery]], "Outcome | Sequence[Outcome] | None"]
"""What a destination answers at once; None leaves the attempt to the test."""

STORE = SqliteSettings(synchronous="NORMAL")
"""These tests end the process, never the machine."""


def failed(status: int = 500, *, retry_after_s: int | None = None, **changes: Any) -> Failed:
    """A complete answer that says no."""
    evidence = Evidence(
        stage=Stage.ANSWER, fault=Fault.STATUS, status=status, retry_after_s=retry_after_s
    )
    return Failed(evidence, **changes)


UNTRIED = Failed(Evidence(stage=Stage.SETTINGS, fault=Fault.NO_DESCRIPTORS), is_counted=False)


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt that a destination was asked to make."""

    deliveries: Sequence[Delivery]
    done: DeliveryDone
    at_ms: int
    is_answered: bool = False

    @property
    def ids(self) -> list[str]:
        return [delivery.event.id for delivery in self.deliveries]

    @property
    def id(self) -> str:
        (found,) = self.ids
        return found


class Scripted:
    """A destination that keeps every attempt until the test, or `react`, answers it."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.attempts: list[Attempt] = []
        self.react: Reaction = lambda _: None
        self.is_closed = False

    def deliver(self, deliveries: Sequence[Delivery], done: DeliveryDone) -> None:
        attempt = Attempt(list(deliveries), done, self._clock.now_ms())
        self.attempts.append(attempt)
        outcome = self.react(deliveries)
        if outcome is not None:
            attempt.is_answered = True
            self._clock.call_soon(done, deliveries, outcome)

    def close(self) -> None:
        self.is_closed = True

    @property
    def open(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if not attempt.is_answered]

    @property
    def ids(self) -> list[str]:
        """Of everything that was sent, in order."""
        return [each for attempt in self.attempts for each in attempt.ids]

    def answer(
        self, outcome: Outcome | Sequence[Outcome] = DELIVERED, *, count: int | None = None
    ) -> None:
        """Answer the oldest attempts that wait, all of them without `count`."""
        for attempt in self.open[:count]:
            attempt.is_answered = True
            attempt.done(attempt.deliveries, outcome)
        self._clock.advance(0.0)

    def always(self, outcome: Outcome | None) -> None:
        """Answer so from now on, what waits included; None lets attempts hang."""
        self.react = lambda _: outcome
        if outcome is not None:
            self.answer(outcome)


FileDone = Callable[[FileWritten | Failed], None]


class Files:
    """Dead-letter files that a test lets be written, or not."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.failure: Failed | None = None
        self.is_holding = False
        self.held: list[tuple[FileDone, FileWritten | Failed]] = []
        self.written: list[tuple[str, str, bytes]] = []
        self.tries_ms: list[int] = []

    def write(self, place: DeadLetterPlace, path: str, body: bytes, done: FileDone) -> None:
        self.tries_ms.append(self._clock.now_ms())
        answer: FileWritten | Failed = FileWritten(url=f"file:///{path}")
        if self.failure is not None:
            answer = self.failure
        else:
            self.written.append((place.address, path, body))
        if self.is_holding:
            self.held.append((done, answer))
        else:
            self._clock.call_soon(done, answer)

    @property
    def events(self) -> list[list[dict[str, Any]]]:
        """What the files hold, one list per file."""
        return [msgspec.json.decode(body) for _, _, body in self.written]


class HeldExecutor(InlineExecutor):
    """Does the work at once, and keeps answers back while the test says so."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self._clock_ = clock
        self.held: dict[str, list[tuple[Callable[..., object], object]]] = {}
        self.faults: dict[str, list[ReadFailed]] = {"read": [], "scan": []}
        """Answers to the next reads, in place of what is on the disk."""

    def hold(self, *kinds: str) -> None:
        for kind in kinds:
            self.held.setdefault(kind, [])

    def release(self, *kinds: str) -> None:
        """Give out the answers that were kept back, in order, and keep no more."""
        for kind in kinds:
            for done, answer in self.held.pop(kind):
                self._clock_.call_soon(done, answer)
        self._clock_.settle()

    def _answer(self, kind: str, done: Callable[..., object], answer: object) -> None:
        if kind in self.held:
            self.held[kind].append((done, answer))
        else:
            self._clock_.call_soon(done, answer)

    def write(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._answer("write", done, work())

    def read(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._answer("read", done, self._read("read", work))

    def scan(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._answer("scan", done, self._read("scan", work))

    def _read(self, kind: str, work: Callable[[], T]) -> object:
        return self.faults[kind].pop(0) if self.faults[kind] else work()


class WatchedStore(SqliteStore):
    """The store, and a note of what was asked of it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.commits: list[Commit] = []
        self.reads: list[tuple[int, int, int]] = []
        self.calls: Counter[str] = Counter()

    def commit(self, commit: Commit, done: Callable[[Committed | CommitFailed], None]) -> None:
        self.commits.append(commit)
        super().commit(commit, done)

    def read(
        self,
        topic_id: int,
        partition: int,
        position: int,
        bytes_max: int,
        done: Callable[[list[Segment] | ReadFailed], None],
    ) -> None:
        self.reads.append((topic_id, partition, position))
        super().read(topic_id, partition, position, bytes_max, done)

    def due(self, *arguments: Any) -> None:
        self.calls["due"] += 1
        super().due(*arguments)

    def parked(self, *arguments: Any) -> None:
        self.calls["parked"] += 1
        super().parked(*arguments)

    def events(self, *arguments: Any) -> None:
        self.calls["events"] += 1
        super().events(*arguments)


class Onlooker(Watcher):
    """What the engine told, as a test asks for it."""

    def __init__(self) -> None:
        self.failed: list[AttemptRecord] = []
        self.dead: list[DeadLetter] = []
        self.breaker: list[str] = []
        self.read_failures: list[str] = []
        self.lost: list[tuple[str, int, int, int]] = []
        self.exports_failed: list[int] = []

    def attempt_failed(self, lane: Lane, record: AttemptRecord) -> None:
        self.failed.append(record)

    def dead_lettered(self, lane: Lane, letter: DeadLetter) -> None:
        self.dead.append(letter)

    def breaker_opened(self, lane: Lane) -> None:
        self.breaker.append("opened")

    def breaker_closed(self, lane: Lane) -> None:
        self.breaker.append("closed")

    def read_failed(self, reason: str) -> None:
        self.read_failures.append(reason)

    def events_lost(self, lane: Lane, first: int, end: int, count: int) -> None:
        self.lost.append((lane.subscription.name, first, end, count))

    def export_failed(self, subscription: Subscription, evidence: Evidence, wait_ms: int) -> None:
        self.exports_failed.append(wait_ms)


LIMITS = GridLimits(outcome_delay_s=0.0, retention_interval_s=3_600.0)


@dataclass
class Rig:
    """An engine with topics and subscriptions by name; `close` at the end."""

    directory: Path
    limits: GridLimits = LIMITS
    settings: SqliteSettings = STORE
    vfs: str | None = None
    clock: VirtualClock = field(default_factory=VirtualClock)
    topics: dict[str, Topic] = field(default_factory=dict)
    failures: list[CommitFailed] = field(default_factory=list)
    answers: dict[str, Overloaded | None] = field(default_factory=dict)
    """What the publisher of each event was told, by event id."""

    def __post_init__(self) -> None:
        self.executor = HeldExecutor(self.clock)
        self.store = WatchedStore(
            self.directory, self.clock, self.settings, executor=self.executor, vfs=self.vfs
        )
        self.destinations: dict[int, Scripted] = {}
        self.files = Files(self.clock)
        self.watcher = Onlooker()
        self.numbers: Iterator[int] = iter(range(1_000_000))
        self.ids: Iterator[int] = iter(range(1_000_000))
        self.start()

    # --- its life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """An engine on what the store holds; sends nothing before `settle`."""
        self.recovered = self.store.open()
        surroundings = Surroundings(
            store=self.store,
            clock=self.clock,
            random=random.Random(7),
            new_event_id=lambda: f"notice-{next(self.ids)}",
            new_destination=self._new_destination,
            topic_resource=topics.resource,
            files=self.files,
            classify=lambda evidence: f"EP-{evidence.status or evidence.fault.value}",
            finding_expired=lambda _: "EP-expired",
            limits=self.limits,
            watcher=self.watcher,
            on_failed=self.failures.append,
        )
        self.engine = Engine(surroundings, self.recovered)
        self.engine.start()

    def _new_destination(self, topic: Topic, subscription: Subscription) -> Scripted:
        known = self.destinations.get(subscription.id)
        made = Scripted(self.clock)
        if known is not None:  # the script is the handler's, which outlives restarts
            made.react = known.react
        self.destinations[subscription.id] = made
        return made

    def crash(self, *, hold: Sequence[str] = ()) -> None:
        """End the process: what no commit holds never happened. Then start again, keeping back
        answers of the kinds in `hold`."""
        self.engine.stop()
        self.executor.held.clear()
        self.executor.hold(*hold)
        self.store.close()
        self.start()

    def restart(self, *, hold: Sequence[str] = ()) -> None:
        """Keep what is settled, then end and start again."""
        self.engine.journal.wait(lambda _: None)
        self.clock.settle()
        self.crash(hold=hold)

    def close(self) -> None:
        self.engine.stop()
        self.store.close()

    def settle(self) -> None:
        """Let everything happen that waits for no time, the commit of outcomes included."""
        self.clock.advance(0.0)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # --- what there is ----------------------------------------------------------------------------

    def topic(self, name: str = "songs", *, schema: Schema = Schema.EVENT_GRID) -> Topic:
        topic = Topic(
            id=self.engine.new_topic_id(),
            name=name,
            key1="a",
            key2="b",
            created_ms=self.clock.now_ms(),
            input_schema=schema,
        )
        self.topics[name] = topic
        self.ask(lambda done: catalogue.put_topic(self.engine, topic, done))
        return topic

    def notices(self) -> Topic:
        """The built-in topic."""
        return self.topic(DEAD_LETTER_TOPIC)

    def subscribe(
        self,
        name: str = "handler",
        *,
        topic: str = "songs",
        start: int | None = None,
        wanted: Filter | None = None,
        retry: RetryPolicy | None = None,
        deadletter: str | None = None,
        is_paused: bool = False,
        **endpoint: Any,
    ) -> Lane:
        """A subscription of a topic, from position `start` or from now on."""
        subscription = Subscription(
            id=self.engine.new_subscription_id(),
            topic_id=self.topics[topic].id,
            name=name,
            created_ms=self.clock.now_ms(),
            filter=wanted or Filter(),
            endpoint=Endpoint(address="test", **endpoint),
            retry=retry or RetryPolicy(),
            deadletter=deadletter,
            is_paused=is_paused,
        )
        self.ask(lambda done: catalogue.add_subscription(self.engine, subscription, [start], done))
        return self.lane(name)

    def change(self, name: str = "handler", **changes: Any) -> None:
        changed = msgspec.structs.replace(self.subscription(name), **changes)
        self.ask(lambda done: catalogue.change_subscription(self.engine, changed, done))

    def rewind(self, position: int, name: str = "handler") -> None:
        number = self.subscription(name).id
        self.ask(lambda done: catalogue.rewind(self.engine, number, [position], done))

    def ask(self, start: Callable[[Callable[[bool], None]], object]) -> None:
        """Start a change and let it become durable."""
        answers: list[bool] = []
        start(answers.append)
        self.settle()
        assert answers == [True]

    def subscription(self, name: str = "handler") -> Subscription:
        (found,) = (each for each in self.engine.subscriptions.values() if each.name == name)
        return found

    def lane(self, name: str = "handler") -> Lane:
        (found,) = self.engine.lanes_of(self.subscription(name).id)
        return found

    def handler(self, name: str = "handler") -> Scripted:
        return self.destinations[self.subscription(name).id]

    # --- events -----------------------------------------------------------------------------------

    def offer(
        self, count: int = 1, *, topic: str = "songs", event_type: str = "T", data: str = ""
    ) -> list[str]:
        """Publish without waiting for the commit; returns the ids. Raises Overloaded."""
        number = self.topics[topic].id
        events = [self.event(topic, event_type, data) for _ in range(count)]
        ids = [event.id for event in events]

        def done(failure: Overloaded | None) -> None:
            self.answers.update(dict.fromkeys(ids, failure))

        self.engine.publish(number, events, done)
        return ids

    def publish(self, count: int = 1, **named: Any) -> list[str]:
        ids = self.offer(count, **named)
        self.settle()
        assert [self.answers.get(each, "none") for each in ids] == [None] * count
        return ids

    def event(self, topic: str = "songs", event_type: str = "T", data: str = "") -> Event:
        return eventgrid.make(
            topics.resource(topic),
            event_id=f"e{next(self.numbers)}",
            event_type=event_type,
            subject="s",
            now_ms=self.clock.now_ms(),
            data={"text": data},
        )

    # --- what came of them ------------------------------------------------------------------------

    def books(self, name: str = "handler") -> Tally:
        return self.lane(name).total()

    def dropped(self, reason: Dropped, name: str = "handler") -> int:
        return self.books(name).dropped.get(reason.value, 0)

    def letters(self, **query: Any) -> list[DeadLetter]:
        wanted = DeadLetterQuery(**{"is_replayed": None, "limit": 10_000, **query})
        found = self.read(lambda done: self.engine.store.dead_letters(wanted, done))
        assert isinstance(found, list)
        return found

    def read(self, start: Callable[[Callable[[Any], None]], object]) -> Any:
        """What a read of the store answers."""
        answers: list[Any] = []
        start(answers.append)
        self.settle()
        (answer,) = answers
        return answer

    def check(self) -> None:
        """The books balance with what lanes and ladder hold."""
        assert unbalanced(self.engine) == []
