"""The engine: one object that owns the topics, partitions and lanes of a store while it is open.

It is made from what the store recovered, and thrown away when a commit fails; the application then
opens the store anew and makes another one. Asking it to change something answers through a callback
once the change is durable.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from eventpost.core.errors import Overloaded
from eventpost.core.events import Event
from eventpost.core.interfaces import (
    AttemptRecord,
    Clock,
    CommitFailed,
    Committed,
    DeadLetter,
    DeadLetterFiles,
    Destination,
    Holding,
    ReadFailed,
    Recovered,
    Store,
    Taken,
)
from eventpost.core.outcomes import Evidence
from eventpost.core.register import Register
from eventpost.core.retry import is_expired
from eventpost.core.sources import Connection, Source
from eventpost.core.subscriptions import (
    DEAD_LETTER_TOPIC,
    RetryPolicy,
    Subscription,
    Topic,
)
from eventpost.grid.checkpoint import Restored, RestoredLane, restore
from eventpost.grid.deadletters import DeadLetters
from eventpost.grid.export import Exports
from eventpost.grid.journal import Group, Journal, PublishDone, store_failed
from eventpost.grid.ladder import Ladder
from eventpost.grid.lane import Lane
from eventpost.grid.limits import GridLimits
from eventpost.grid.partition import Partition
from eventpost.grid.pull import PullLane
from eventpost.grid.retention import Retention
from eventpost.grid.tail import Stretch, Tail

Listeners = dict[int, list[Callable[[int, int, list[Event]], None]]]
NewDestination = Callable[[Topic, Subscription], Destination]


@dataclass(slots=True, kw_only=True)
class Haul:
    """What a source made of a page of messages."""

    topic_id: int
    source: str
    """Its name."""
    events: list[Event]
    letters: list[DeadLetter]
    """Messages of which no event could be made; `dead_letters.new_id` gave their ids."""
    taken: Taken
    """Ids of all of them."""


class Watcher:
    """What the engine tells whoever looks on (logs, metrics). Does nothing; override what matters.

    Called on the grid's thread, in the middle of things: must not call back into the engine.
    """

    def attempt_failed(self, lane: Lane, record: AttemptRecord) -> None: ...
    def dead_lettered(self, lane: Lane, letter: DeadLetter) -> None: ...
    def breaker_opened(self, lane: Lane) -> None: ...
    def breaker_closed(self, lane: Lane) -> None: ...
    def read_failed(self, reason: str) -> None: ...
    def events_lost(self, lane: Lane, first: int, end: int, count: int) -> None: ...
    def export_failed(
        self, subscription: Subscription, evidence: Evidence, wait_ms: int
    ) -> None: ...


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """Everything that the engine is given: time, chance, the store and the ways out."""

    store: Store
    clock: Clock
    random: random.Random
    new_event_id: Callable[[], str]
    new_destination: NewDestination
    topic_resource: Callable[[str], str]
    """What a topic's name becomes in `topic` of its events."""
    files: DeadLetterFiles
    classify: Callable[[Evidence], str]
    finding_expired: Callable[[Evidence | None], str]
    limits: GridLimits
    watcher: Watcher
    on_failed: Callable[[CommitFailed], None]


class Engine:
    """All calls on the grid's thread."""

    def __init__(self, surroundings: Surroundings, recovered: Recovered) -> None:
        self.store = surroundings.store
        self.clock = surroundings.clock
        self.random = surroundings.random
        self.new_event_id = surroundings.new_event_id
        self.files = surroundings.files
        self.notices_resource = surroundings.topic_resource(DEAD_LETTER_TOPIC)
        self.classify = surroundings.classify
        self.finding_expired = surroundings.finding_expired
        self.limits = surroundings.limits
        self.watcher = surroundings.watcher
        self._new_destination = surroundings.new_destination
        self._on_failed = surroundings.on_failed
        self.is_stopped = False
        self.is_draining = False
        """Nothing new is sent; attempts in flight still end."""
        self.is_full = False
        self.deliveries_held = 0
        self.deliveries_max = self.limits.deliveries_max
        self.topics: dict[int, Topic] = {}
        self.domain_topics: dict[int, Register[Topic]] = {}
        """Topics of domains by the domain's id and their names in lower case."""
        self.subscriptions: dict[int, Subscription] = {}
        self.replaced: dict[Destination, None] = {}
        """Of subscriptions whose endpoint changed: these end with their attempts."""
        self._subscription_ids: dict[int, dict[int, None]] = {}
        self.connections: dict[str, Connection] = {
            each.name: each for each in recovered.connections
        }
        self.sources: dict[int, Source] = {each.id: each for each in recovered.sources}
        """As declared; who runs them looks here."""
        self.settings = recovered.settings
        self._last_topic_id = recovered.topic_id_max
        self._last_subscription_id = recovered.subscription_id_max
        self._last_source_id = recovered.source_id_max
        self.tail = Tail(self.limits.tail_bytes_max)
        self.partitions: dict[tuple[int, int], Partition] = {}
        self._lanes: dict[tuple[int, int], Lane] = {}
        self.notices: Partition | None = None
        self.ladder = Ladder(self)
        self.dead_letters = DeadLetters(self, recovered)
        self.exports = Exports(self)
        self.retention = Retention(self)
        self.listeners: Listeners = {}
        """Called with (first, published_ms, events) for each commit of a topic, by topic id."""
        self.journal = Journal(
            self.store,
            self.clock,
            self.limits,
            recovered.last_outcome_id,
            self._committed,
            self._failed,
        )
        self._restore(recovered)

    # --- after a start ----------------------------------------------------------------------------

    def _restore(self, recovered: Recovered) -> None:
        restored = restore(
            [
                (row.owner_id, row.partition, row.state)
                for row in recovered.states
                if row.kind == "lane"
            ],
            [
                (row.owner_id, row.partition, row.state)
                for row in recovered.states
                if row.kind == "partition"
            ],
            recovered.outcomes,
        )
        for topic in recovered.topics:
            self._restore_topic(topic, restored, recovered)
        for subscription in recovered.subscriptions:
            if subscription.topic_id in self.topics:
                self._restore_subscription(subscription, restored, recovered)
        for owner_id, index, _generation in recovered.ladder_counts:
            # Also rows of older generations: somebody has to take them off.
            if (owner_id, index) in self._lanes:
                self._lanes[owner_id, index].has_parked = True

    def _restore_topic(self, topic: Topic, restored: Restored, recovered: Recovered) -> None:
        for partition in self.add_topic(topic):
            key = (topic.id, partition.index)
            partition.next = recovered.next_positions.get(key, 0)
            known = restored.partitions.get(key)
            if known is not None:
                partition.routed = known.routed
                partition.unmatched = known.unmatched
                if known.is_behind:
                    self.journal.soil(partition)
            partition.is_recovering = partition.routed < partition.next

    def _restore_subscription(
        self, subscription: Subscription, restored: Restored, recovered: Recovered
    ) -> None:
        for partition in self.partitions_of(subscription.topic_id):
            known = restored.lanes.get((subscription.id, partition.index), RestoredLane())
            lane = self._new_lane(partition, subscription)
            lane.generation = known.generation
            lane.start_position = known.start
            lane.offered_ms = known.offered_ms
            lane.tally = known.tally
            key = (subscription.id, partition.index, known.generation)
            lane.ladder_count = recovered.ladder_counts.get(key, 0)
            lane.recovery = known.recovery(partition.routed)
            if known.locks and lane.recovery is not None:
                lane.relock(known.locks.values())
            lane.cursor = known.checkpoint if lane.recovery is not None else known.cursor
            lane.is_live = known.is_live and lane.recovery is None and not lane.is_paused
            if known.is_live and lane.recovery is None:
                lane.cursor = partition.routed
            partition.add(lane)
            if known.is_behind:
                self.journal.soil(lane)
            if known.is_live and not lane.is_live:
                # The router passes it by from now on, and must not be remembered without that.
                self.journal.touch(lane)

    def start(self) -> None:
        """Begin to send: what was in flight at the last stop goes out again at once."""
        for partition in self.partitions.values():
            if partition.is_recovering:
                partition.catchup.wake()
            for lane in partition.lagging:
                partition.catchup.wake(lane)
        for lane in self._lanes.values():
            lane.pump()
        self.ladder.start()
        self.retention.start()
        for subscription in self.subscriptions.values():
            if subscription.deadletter is not None:
                self.exports.expect(subscription)

    @property
    def in_flight(self) -> int:
        """Attempts under way."""
        return sum(lane.in_flight for lane in self._lanes.values())

    def drain(self) -> None:
        """Send nothing new from now on. What waits for company goes without it."""
        self.is_draining = True
        for lane in self._lanes.values():
            if isinstance(lane.destination, Holding):
                lane.destination.hasten()

    def stop(self) -> None:
        """Send and commit nothing more. Outcomes of attempts in flight are no longer taken; those
        that wait for their commit never came: their events are sent again after the next start."""
        self.is_stopped = True
        self.journal.stop()
        for lane in self._lanes.values():
            lane.close()
        for replaced in self.replaced:
            replaced.close()
        self.replaced.clear()

    # --- look-ups ---------------------------------------------------------------------------------

    def lane(self, subscription_id: int, partition: int) -> Lane | None:
        return self._lanes.get((subscription_id, partition))

    def lanes_of(self, subscription_id: int) -> list[Lane]:
        found = []
        subscription = self.subscriptions[subscription_id]
        for partition in self.partitions_of(subscription.topic_id):
            lane = self._lanes.get((subscription_id, partition.index))
            if lane is not None:
                found.append(lane)
        return found

    def topics_of(self, domain_id: int) -> Register[Topic]:
        """The topics of a domain, by their folded names."""
        return self.domain_topics.get(domain_id) or Register()

    def subscriptions_of(self, topic_id: int) -> list[Subscription]:
        """Those of one topic, however many there are of others."""
        return [self.subscriptions[each] for each in self._subscription_ids.get(topic_id, ())]

    def partitions_of(self, topic_id: int) -> list[Partition]:
        """Where its events are: those of its domain for a topic of one."""
        log = self.topics[self.topics[topic_id].log_id]
        return [self.partitions[log.id, index] for index in range(log.partition_count)]

    def is_expired(self, policy: RetryPolicy, offered_ms: int) -> bool:
        return is_expired(policy, offered_ms, self.clock.now_ms())

    def new_topic_id(self) -> int:
        """Never given twice, also after a deletion."""
        self._last_topic_id += 1
        return self._last_topic_id

    def new_subscription_id(self) -> int:
        self._last_subscription_id += 1
        return self._last_subscription_id

    def new_source_id(self) -> int:
        self._last_source_id += 1
        return self._last_source_id

    # --- publishing -------------------------------------------------------------------------------

    def publish(self, topic_id: int, events: list[Event], done: PublishDone) -> None:
        """Keep events. `done(None)` once they are durable, `done(Overloaded)` when they were not
        kept after all.

        Raises Overloaded at once, and keeps nothing, when the store is full, behind or failed.
        """
        if self.is_full:
            raise _full()
        if len(events) == 1:  # a comprehension costs a call
            size = len(events[0].wire)
        else:
            size = sum([len(event.wire) for event in events])
        self.journal.append(self.partitions[topic_id, 0], events, size, done)

    def take(self, haul: Haul, done: PublishDone) -> None:
        """Keep what a source made of messages, and their ids, in one transaction; `done` as for
        `publish`. Raises Overloaded at once, and keeps nothing."""
        if self.is_full:
            raise _full()
        if haul.events:
            size = sum([len(event.wire) for event in haul.events])
            self.journal.append(self.partitions[haul.topic_id, 0], haul.events, size, done)
        else:
            self.journal.wait(lambda is_durable: done(None if is_durable else self._refusal()))
        for letter in haul.letters:
            self.dead_letters.fall_from_source(letter, haul.source)
        self.journal.take(haul.taken)

    def _refusal(self) -> Overloaded:
        assert self.journal.failure is not None
        return store_failed(self.journal.failure)

    def _committed(self, group: Group, result: Committed) -> None:
        commit = group.commit
        self.retention.grew(group.bytes)
        self.ladder.committed(commit.ladder_put)
        for append, first, partition in zip(
            commit.appends, result.firsts, group.partitions, strict=True
        ):
            if partition.is_removed:
                continue
            if partition.lagging or partition.is_recovering:
                size = sum(len(event.wire) for event in append.events)
                stretch = Stretch(first, append.published_ms, append.events, size)
                self.tail.add(append.topic_id, append.partition, stretch)
            partition.committed(first, append.events, append.published_ms)
            for listener in self.listeners.get(append.topic_id, ()):
                listener(first, append.published_ms, append.events)

    def _failed(self, failure: CommitFailed) -> None:
        self.stop()
        self._on_failed(failure)

    # --- the catalogue in memory ------------------------------------------------------------------

    def add_topic(self, topic: Topic) -> list[Partition]:
        """Know a topic, new or changed; returns its partitions."""
        is_new = topic.id not in self.topics
        self.topics[topic.id] = topic
        if topic.domain_id:
            of_domain = self.domain_topics.setdefault(topic.domain_id, Register())
            of_domain[topic.name.casefold()] = topic
        found = []
        for index in range(topic.partition_count):
            if is_new:
                self.partitions[topic.id, index] = Partition(self, topic, index)
            partition = self.partitions[topic.id, index]
            partition.topic = topic
            found.append(partition)
        if topic.name == DEAD_LETTER_TOPIC:
            self.notices = found[0]
        return found

    def drop_topic(self, topic_id: int) -> None:
        """Forget a topic whose subscriptions are gone; a domain's topics go before it."""
        topic = self.topics.pop(topic_id)
        for index in range(topic.partition_count):
            partition = self.partitions.pop((topic_id, index))
            partition.is_removed = True
            self.journal.withdraw(partition)
        if self.notices is not None and self.notices.topic_id == topic_id:
            self.notices = None
        if topic.domain_id:
            del self.domain_topics[topic.domain_id][topic.name.casefold()]
        self.domain_topics.pop(topic_id, None)

    def _new_lane(self, partition: Partition, subscription: Subscription) -> Lane:
        self.subscriptions[subscription.id] = subscription
        self._subscription_ids.setdefault(subscription.topic_id, {})[subscription.id] = None
        topic = self.topics[subscription.topic_id]
        destination = self._new_destination(topic, subscription)
        kind = PullLane if subscription.endpoint.is_pulled else Lane
        lane = kind(self, partition, subscription, destination)
        self._lanes[subscription.id, partition.index] = lane
        return lane

    def add_lanes(self, subscription: Subscription, cursors: Iterable[int | None]) -> list[Lane]:
        """Make the lanes of a new subscription, each at its cursor; None follows the router."""
        lanes = []
        now_ms = self.clock.now_ms()
        partitions = self.partitions_of(subscription.topic_id)
        for partition, cursor in zip(partitions, cursors, strict=True):
            lane = self._new_lane(partition, subscription)
            lane.is_live = cursor is None and not lane.is_paused
            lane.cursor = partition.routed if cursor is None else cursor
            lane.start_position = lane.cursor
            lane.offered_ms = 0 if cursor is None else now_ms
            partition.add(lane)
            self.journal.touch(lane)
            lanes.append(lane)
        return lanes

    def drop_lanes(self, subscription_id: int) -> None:
        """Forget a subscription; what its lanes held is counted by the caller."""
        for lane in self.lanes_of(subscription_id):
            lane.is_removed = True
            lane.partition.remove(lane)
            self.ladder.drop(lane)
            del self._lanes[subscription_id, lane.partition.index]
            lane.close()
        topic_id = self.subscriptions.pop(subscription_id).topic_id
        left = self._subscription_ids[topic_id]
        del left[subscription_id]
        if not left:
            del self._subscription_ids[topic_id]

    def renew_destination(self, topic: Topic, subscription: Subscription) -> Destination:
        return self._new_destination(topic, subscription)

    # --- what lanes report ------------------------------------------------------------------------

    def breaker_opened(self, lane: Lane) -> None:
        if lane.breaker.probe_wait_s == self.limits.breaker_probe_s:
            self.watcher.breaker_opened(lane)
        self._probe_later(lane)

    def _probe_later(self, lane: Lane) -> None:
        breaker = lane.breaker
        if breaker.timer is not None:
            breaker.timer.cancel()
        breaker.timer = self.clock.call_later(breaker.probe_wait_s, self._probe, lane)

    def _probe(self, lane: Lane) -> None:
        """Let one attempt through; while the breaker stays open, time to live still runs."""
        if self.is_stopped or lane.is_removed or not lane.breaker.is_open:
            return
        lane.pump()
        if lane.ladder_count:
            self.ladder.expire_parked(lane)
        if lane.in_flight == 0:
            self._probe_later(lane)

    def breaker_closed(self, lane: Lane) -> None:
        self.watcher.breaker_closed(lane)
        lane.has_parked = lane.has_parked or lane.ladder_count > 0

    def attempt_failed(self, lane: Lane, record: AttemptRecord) -> None:
        self.watcher.attempt_failed(lane, record)

    def dead_lettered(self, lane: Lane, letter: DeadLetter) -> None:
        self.watcher.dead_lettered(lane, letter)

    def read_failed(self, failed: ReadFailed) -> None:
        self.watcher.read_failed(failed.reason)

    def events_lost(self, lane: Lane, first: int, end: int, count: int) -> None:
        self.watcher.events_lost(lane, first, end, count)

    def export_failed(self, subscription: Subscription, evidence: Evidence, wait_ms: int) -> None:
        self.watcher.export_failed(subscription, evidence, wait_ms)


def _full() -> Overloaded:
    return Overloaded(
        "EP3001",
        "The store has reached its byte limit; nothing was kept.",
        fix="raise store.bytes_max, or let subscriptions catch up",
        retry_after_s=10,
    )
