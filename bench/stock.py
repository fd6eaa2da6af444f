"""Data directories with what takes long to bring about over HTTP, written through the store."""

import json
import time
from pathlib import Path

from msgspec import structs

from bench.load import event
from eventpost.core.events import Event, Schema
from eventpost.core.interfaces import (
    Append,
    Commit,
    CommitFailed,
    Committed,
    LadderRow,
    PutSubscription,
    PutTopic,
    StateRow,
)
from eventpost.core.subscriptions import PULL, Endpoint, Filter, Subscription, Topic
from eventpost.grid.checkpoint import LaneState, PartitionState, encode
from eventpost.stores.executor import InlineExecutor
from eventpost.stores.sqlite.store import SqliteStore
from eventpost.testing.clock import VirtualClock

KEY = "YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtMTI="
MATCHES = 10
PAGE = 2_000
FAR_MS = 4_102_444_800_000
"""2100-01-01: never due while the bench runs."""
MATCH_EVERY = 1_000
FRESH = "fresh/"
"""What the one subscription that does not lag wants."""


class Stock:
    """A new store in `data`, written to from this thread."""

    def __init__(self, data: Path) -> None:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.clock = VirtualClock()
        self.store = SqliteStore(data, self.clock, executor=InlineExecutor(self.clock))
        self.store.open()

    def commit(self, commit: Commit) -> None:
        answers: list[Committed | CommitFailed] = []
        self.store.commit(commit, answers.append)
        self.clock.settle()
        if not answers or isinstance(answers[0], CommitFailed):
            raise RuntimeError(f"commit failed: {answers}")


def stock(
    data: Path,
    hook: str,
    *,
    groups: int,
    topics: int = 1,
    ladder_rows: int = 0,
    lagging: int = 0,
    events: int = 0,
) -> str:
    """Returns the key of every topic.

    `groups` times ten subscriptions, each group with a subject prefix of its own; 0: one
    subscription without a filter per topic. `lagging` subscriptions at position 0 of `events`
    stored events, each wanting one in a thousand.
    """
    made = Stock(data)
    made.commit(_topics(topics))
    subscriptions = list(_subscriptions(hook, groups, topics, lagging))
    for start in range(0, len(subscriptions), PAGE):
        commit = Commit()
        for subscription in subscriptions[start : start + PAGE]:
            commit.catalogue.append(PutSubscription(subscription))
            is_lagging = subscription.name.startswith("lagging")
            state = LaneState(0, 0, not is_lagging, 0, 0, [], [0, 0, 0, {}, {}], 0)
            commit.states.append(
                StateRow(kind="lane", owner_id=subscription.id, partition=0, state=encode(state))
            )
        made.commit(commit)
    _store_events(made, events)
    for start in range(0, ladder_rows, PAGE):
        made.commit(Commit(ladder_put=_rows(start, min(PAGE, ladder_rows - start))))
    made.store.close()
    return KEY


def stock_pull(data: Path, topic: str, name: str, *, locks: int) -> str:
    """A topic of CloudEvents with one subscription that is pulled, of which `locks` events are
    locked; returns the topic's key."""
    made = Stock(data)
    schema = Schema.CLOUD_EVENTS
    kept = Topic(id=1, name=topic, key1=KEY, key2=KEY, created_ms=0, input_schema=schema)
    subscription = Subscription(
        id=1, topic_id=1, name=name, created_ms=0, endpoint=Endpoint(type=PULL)
    )
    state = encode(LaneState(0, 0, True, 0, 0, [], [locks, 0, 0, {}, {}], 0))
    commit = Commit(catalogue=[PutTopic(kept), PutSubscription(subscription)])
    commit.states.append(StateRow(kind="lane", owner_id=1, partition=0, state=state))
    made.commit(commit)
    for start in range(0, locks, PAGE):
        rows = _rows(start, min(PAGE, locks - start))
        held = [structs.replace(row, lock=1 + row.position // 100) for row in rows]
        made.commit(Commit(ladder_put=held))
    made.store.close()
    return KEY


def _topics(count: int) -> Commit:
    commit = Commit()
    for number in range(count):
        name = f"bench{number or ''}"
        topic = Topic(id=number + 1, name=name, key1=KEY, key2=KEY, created_ms=0)
        commit.catalogue.append(PutTopic(topic))
    return commit


def _subscriptions(hook: str, groups: int, topics: int, lagging: int) -> list[Subscription]:
    made: list[Subscription] = []

    def add(name: str, topic_id: int, subject: str, ends: str = "") -> None:
        made.append(
            Subscription(
                id=len(made) + 1,
                topic_id=topic_id,
                name=name,
                created_ms=0,
                filter=Filter(subject_begins_with=subject, subject_ends_with=ends),
                endpoint=Endpoint(address=f"{hook}/{len(made)}"),
            )
        )

    for group in range(groups):
        for member in range(MATCHES):
            add(f"group-{group}-{member}", 1, f"group/{group}/")
    if groups == 0:
        for topic_id in range(1, topics + 1):
            add(f"all-{topic_id}", topic_id, FRESH if lagging else "")
    for number in range(lagging):
        add(f"lagging-{number}", 1, "", f"/{number % MATCH_EVERY}")
    return made


def _store_events(made: Stock, count: int) -> None:
    published_ms = time.time_ns() // 1_000_000  # within their time to live
    for start in range(0, count, PAGE):
        kept = []
        for number in range(start, min(count, start + PAGE)):
            subject = f"behind/{number % MATCH_EVERY}"
            wire = event(number, subject=subject)
            kept.append(Event(json.loads(wire)["id"], "Bench.Event", subject, wire))
        made.commit(Commit(appends=[Append(1, 0, published_ms, kept)]))
    if count:
        state = encode(PartitionState(0, count, 0))
        made.commit(
            Commit(states=[StateRow(kind="partition", owner_id=1, partition=0, state=state)])
        )


def _rows(start: int, count: int) -> list[LadderRow]:
    return [
        LadderRow(
            due_ms=FAR_MS + number * 7_919 % 1_000_003,
            subscription_id=1,
            partition=0,
            position=number,
            topic_id=1,
            generation=0,
            attempts=3,
            published_ms=FAR_MS,
            offered_ms=FAR_MS,
        )
        for number in range(start, start + count)
    ]
