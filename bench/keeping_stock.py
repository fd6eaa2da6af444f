"""Data directories that hold very much, written through the store in large commits."""

import time
from pathlib import Path

from bench.stock import KEY, Stock
from eventpost.core.events import Event
from eventpost.core.interfaces import (
    Append,
    Commit,
    DeadLetter,
    PutSubscription,
    PutTopic,
    StateRow,
)
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.core.retry import Reason
from eventpost.core.subscriptions import Endpoint, Subscription, Topic
from eventpost.grid.checkpoint import LaneState, PartitionState, encode

EVENT_ID = "event-%012d"
EVENTS_PAGE = 20_000
LETTERS_PAGE = 2_000
LETTER_BYTES = 1_000
TOPIC_ID = SUBSCRIPTION_ID = 1
_WIRE = (
    b'{"id":"event-%012d","topic":"/subscriptions/local/resourceGroups/local/providers/'
    b'Microsoft.EventGrid/topics/bench","subject":"genre/blues","eventType":"Bench.Event",'
    b'"eventTime":"2026-11-21T18:53:03.123456Z","data":{"text":"%b"},"dataVersion":"1.0",'
    b'"metadataVersion":"1"}'
)


def event_stock(data: Path, hook: str, events: int) -> None:
    """So many events of 300 bytes, delivered to one subscription, none of them pending."""
    made = Stock(data)
    made.commit(_declared(hook))
    _append(made, events)
    made.commit(_read_to(events))
    made.store.close()


def dead_stock(data: Path, hook: str, letters: int) -> None:
    """So many dead letters of one subscription, each with an event of 1 KB."""
    made = Stock(data)
    made.commit(_declared(hook))
    _append(made, letters)
    made.commit(_read_to(letters))
    now_ms = time.time_ns() // 1_000_000
    for start in range(0, letters, LETTERS_PAGE):
        page = range(start, min(letters, start + LETTERS_PAGE))
        made.commit(Commit(dead_put=[_letter(number, now_ms) for number in page]))
    made.store.close()


def _append(made: Stock, events: int) -> None:
    published_ms = time.time_ns() // 1_000_000
    for start in range(0, events, EVENTS_PAGE):
        kept = [_event(number) for number in range(start, min(events, start + EVENTS_PAGE))]
        made.commit(Commit(appends=[Append(TOPIC_ID, 0, published_ms, kept)]))


def _declared(hook: str) -> Commit:
    topic = Topic(id=TOPIC_ID, name="bench", key1=KEY, key2=KEY, created_ms=0)
    subscription = Subscription(
        id=SUBSCRIPTION_ID,
        topic_id=TOPIC_ID,
        name="bench",
        created_ms=0,
        endpoint=Endpoint(address=hook),
    )
    commit = Commit(catalogue=[PutTopic(topic), PutSubscription(subscription)])
    state = encode(LaneState(0, 0, True, 0, 0, [], [0, 0, 0, {}, {}], 0))
    commit.states.append(StateRow(kind="lane", owner_id=SUBSCRIPTION_ID, partition=0, state=state))
    return commit


def _read_to(position: int) -> Commit:
    state = encode(PartitionState(0, position, 0))
    row = StateRow(kind="partition", owner_id=TOPIC_ID, partition=0, state=state)
    return Commit(states=[row])


def _event(number: int) -> Event:
    return Event(EVENT_ID % number, "Bench.Event", "genre/blues", _WIRE % (number, b"x" * 30))


def _letter(number: int, now_ms: int) -> DeadLetter:
    filler = LETTER_BYTES - len(_WIRE) - 10
    return DeadLetter(
        id=number + 1,
        topic_id=TOPIC_ID,
        subscription_id=SUBSCRIPTION_ID,
        partition=0,
        position=number,
        event_id=EVENT_ID % number,
        event_type="Bench.Event",
        subject="genre/blues",
        wire=_WIRE % (number, b"x" * filler),
        published_ms=now_ms,
        dead_ms=now_ms,
        last_attempt_ms=now_ms,
        attempts=30,
        reason=Reason.ATTEMPTS,
        outcome="Busy",
        finding="EP2503",
        evidence=Evidence(
            stage=Stage.ANSWER, fault=Fault.STATUS, status=503, address="127.0.0.1:8080"
        ),
    )
