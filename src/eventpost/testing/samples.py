"""Small values for tests of stores: events, topics, rows, with what a test does not care about."""

import json

from eventpost.core.events import Event
from eventpost.core.interfaces import Append, AttemptRecord, Commit, DeadLetter, LadderRow, PutTopic
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.core.retry import Reason
from eventpost.core.sources import Connection, InputMapping, MessageFormat, Original, Source
from eventpost.core.subscriptions import Subscription, Topic

NOW_MS = 1_767_225_600_000
EVIDENCE = Evidence(stage=Stage.ANSWER, fault=Fault.STATUS, status=503, detail="busy")


def topic(topic_id: int, partition_count: int = 1) -> Topic:
    return Topic(
        id=topic_id,
        name=f"topic-{topic_id}",
        key1="a2V5MQ==",
        key2="a2V5Mg==",
        created_ms=NOW_MS,
        partition_count=partition_count,
    )


def subscription(subscription_id: int, topic_id: int = 1) -> Subscription:
    name = f"subscription-{subscription_id}"
    return Subscription(id=subscription_id, topic_id=topic_id, name=name, created_ms=NOW_MS)


def connection(name: str = "home", **settings: object) -> Connection:
    return Connection(name=name, kind="aws", created_ms=NOW_MS, settings=settings)


def source(source_id: int, topic_id: int = 1) -> Source:
    """One with something in every field."""
    return Source(
        id=source_id,
        topic_id=topic_id,
        name=f"source-{source_id}",
        created_ms=NOW_MS,
        kind="sqs",
        queue="jobs.fifo",
        connection="home",
        options={"wait_s": 5, "names": ["a", "b"]},
        format=MessageFormat.RAW,
        mapping=InputMapping(fields={"subject": "data.genre"}, defaults={"eventtype": "Song"}),
        is_paused=True,
        lease_s=12.5,
        prefetch=7,
        receives_max=3,
    )


def event(event_id: str, data: str = "", trace: tuple[str, str] | None = None) -> Event:
    wire = json.dumps({"id": event_id, "eventType": "T", "subject": "s", "data": data})
    return Event(event_id, "T", "s", wire.encode(), trace)


def append(
    *event_ids: str, topic_id: int = 1, partition: int = 0, published_ms: int = NOW_MS
) -> Append:
    return Append(topic_id, partition, published_ms, [event(event_id) for event_id in event_ids])


def with_topic(topic_id: int = 1) -> Commit:
    return Commit(catalogue=[PutTopic(topic(topic_id))])


def ladder_row(
    due_ms: int,
    position: int = 0,
    *,
    subscription_id: int = 1,
    topic_id: int = 1,
    partition: int = 0,
    generation: int = 0,
    dead_letter_id: int = 0,
    is_parked: bool = False,
    lock: int = 0,
) -> LadderRow:
    return LadderRow(
        due_ms=due_ms,
        subscription_id=subscription_id,
        partition=partition,
        position=position,
        topic_id=topic_id,
        generation=generation,
        attempts=1,
        published_ms=NOW_MS,
        offered_ms=NOW_MS + 1,
        dead_letter_id=dead_letter_id,
        is_parked=is_parked,
        evidence=EVIDENCE,
        last_attempt_ms=NOW_MS + 2,
        lock=lock,
    )


def dead_letter(
    letter_id: int,
    *,
    subscription_id: int = 1,
    topic_id: int = 1,
    reason: Reason = Reason.ATTEMPTS,
    finding: str = "EP2503",
    dead_ms: int = NOW_MS,
    export_due_ms: int = 0,
) -> DeadLetter:
    dead = event(f"dead-{letter_id}", trace=("00-aa-bb-01", ""))
    return DeadLetter(
        id=letter_id,
        topic_id=topic_id,
        subscription_id=subscription_id,
        partition=0,
        position=letter_id,
        event_id=dead.id,
        event_type=dead.type,
        subject=dead.subject,
        wire=dead.wire,
        trace=dead.trace,
        published_ms=NOW_MS - 5,
        dead_ms=dead_ms,
        last_attempt_ms=NOW_MS - 1,
        attempts=3,
        reason=reason,
        outcome="Busy",
        finding=finding,
        evidence=EVIDENCE,
        export_due_ms=export_due_ms,
    )


def poison(letter_id: int, *, source_id: int = 1, topic_id: int = 1) -> DeadLetter:
    """A message of a source of which no event could be made."""
    return DeadLetter(
        id=letter_id,
        topic_id=topic_id,
        subscription_id=0,
        source_id=source_id,
        original=Original(
            message_id=f"message-{letter_id}",
            attributes={"kind": "song"},
            binary_attributes={"raw": b"\x00\xff"},
            system_attributes={"ApproximateReceiveCount": "11"},
            content_type="text/plain",
            sent_ms=NOW_MS - 9,
            receive_count=11,
        ),
        partition=0,
        position=-1,
        event_id=f"message-{letter_id}",
        event_type="",
        subject="",
        wire=b"\xff not JSON",
        published_ms=0,
        dead_ms=NOW_MS,
        last_attempt_ms=NOW_MS,
        attempts=11,
        reason=Reason.POISON,
        outcome="Poison",
        finding="EP4001",
    )


def attempt(
    position: int, number: int, at_ms: int = NOW_MS, *, topic_id: int = 1, subscription_id: int = 1
) -> AttemptRecord:
    return AttemptRecord(
        topic_id=topic_id,
        subscription_id=subscription_id,
        partition=0,
        position=position,
        attempt=number,
        at_ms=at_ms,
        finding="EP2503",
        evidence=EVIDENCE,
        next_ms=at_ms + 10_000,
    )
