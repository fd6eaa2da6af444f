"""One event's whole story: who wanted it and why not, what was tried, and where it is now."""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from eventpost.core.domains import joined, split
from eventpost.core.filters import ClauseResult
from eventpost.core.interfaces import (
    AttemptRecord,
    DeadLetter,
    DeadLetterQuery,
    Found,
    LadderRow,
    ReadFailed,
)
from eventpost.formats import wire

if TYPE_CHECKING:
    from eventpost.core.events import Event
    from eventpost.grid.engine import Engine
    from eventpost.grid.lane import Lane


class Where(StrEnum):
    """Where a delivery is."""

    UNMATCHED = "unmatched"  # a clause of the filter says no, see `clauses`
    BEFORE_START = "before-start"  # the subscription began behind it
    UNREAD = "unread"  # matches; the lane has not come to it yet
    SENDING = "sending"  # taken: waits for a slot or a consumer, or is in flight
    LOCKED = "locked"  # a consumer holds it until `next_ms`
    LADDER = "ladder"  # failed; tried again at `next_ms`
    DEAD = "dead-letter"
    REPLAYING = "replaying"  # a dead letter put back on the ladder
    DELIVERED = "delivered"


class DeliveryStory(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """What became of the event for one subscription; one to a topic of a domain is told as
    `TOPIC/SUBSCRIPTION`."""

    subscription: str
    where: Where
    clauses: list[ClauseResult] = msgspec.field(default_factory=list)
    attempts: list[AttemptRecord] = msgspec.field(default_factory=list)
    """Failed attempts, and the success that followed failures, oldest first."""
    next_ms: int = 0
    dead_letter_id: int = 0
    reason: str = ""
    finding: str = ""


class Story(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """One stored event. Ids are not unique, so one id may have several stories."""

    topic: str
    partition: int
    position: int
    event_id: str
    event_type: str
    subject: str
    published_ms: int
    deliveries: list[DeliveryStory] = msgspec.field(default_factory=list)


Told = Callable[[Story | ReadFailed], None]


def tell(engine: "Engine", found: Found, done: Told) -> None:
    """Put the story of one stored event together; answers through `done`."""
    key = (found.topic_id, found.partition, found.position)

    def with_letters(
        rows: list[LadderRow], attempts: list[AttemptRecord], letters: list[DeadLetter] | ReadFailed
    ) -> None:
        done(
            letters
            if isinstance(letters, ReadFailed)
            else _story(engine, found, rows, attempts, letters)
        )

    def with_attempts(rows: list[LadderRow], attempts: list[AttemptRecord] | ReadFailed) -> None:
        if isinstance(attempts, ReadFailed):
            done(attempts)
            return
        query = DeadLetterQuery(event=key, is_replayed=None, limit=1_000)
        engine.store.dead_letters(query, lambda letters: with_letters(rows, attempts, letters))

    def with_rows(rows: list[LadderRow] | ReadFailed) -> None:
        if isinstance(rows, ReadFailed):
            done(rows)
            return
        engine.store.attempts(*key, lambda attempts: with_attempts(rows, attempts))

    engine.store.ladder_of(*key, with_rows)


def _story(
    engine: "Engine",
    found: Found,
    rows: list[LadderRow],
    attempts: list[AttemptRecord],
    letters: list[DeadLetter],
) -> Story | ReadFailed:
    topic = engine.topics.get(found.topic_id)
    if topic is None:
        return ReadFailed("The topic was deleted meanwhile.")
    event = wire.parse(topic.input_schema, found.wire, None)
    story = Story(
        topic=topic.name,
        partition=found.partition,
        position=found.position,
        event_id=event.id,
        event_type=event.type,
        subject=event.subject,
        published_ms=found.published_ms,
    )
    for lane in engine.partitions[found.topic_id, found.partition].lanes.values():
        delivery = _delivery(lane, event, found.position, rows, letters)
        delivery.attempts = [
            record for record in attempts if record.subscription_id == lane.subscription.id
        ]
        story.deliveries.append(delivery)
    return story


def _delivery(
    lane: "Lane",
    event: "Event",
    position: int,
    rows: list[LadderRow],
    letters: list[DeadLetter],
) -> DeliveryStory:
    subscription = lane.subscription
    topic = lane.engine.topics[subscription.topic_id]
    name = joined(split(topic.name)[1], subscription.name) if topic.domain_id else subscription.name
    story = DeliveryStory(subscription=name, where=Where.DELIVERED)
    for letter in letters:
        if letter.subscription_id == subscription.id:
            story.where = Where.REPLAYING if letter.replayed_ms else Where.DEAD
            story.dead_letter_id = letter.id
            story.reason = letter.reason.value
            story.finding = letter.finding
    for row in rows:
        if row.subscription_id == subscription.id and row.generation == lane.generation:
            story.where = Where.REPLAYING if row.dead_letter_id else Where.LADDER
            story.next_ms = row.due_ms
            if row.lock:
                story.where = Where.LOCKED
    if story.where is not Where.DELIVERED:
        return story
    if position in lane.outstanding:
        story.where = Where.SENDING  # whatever the filter says by now
        story.next_ms = lane.locked_until_ms(position)
        if story.next_ms:
            story.where = Where.LOCKED
    elif not lane.compiled.matches(event):
        story.where = Where.UNMATCHED
        story.clauses = lane.compiled.explain(event)
    elif position < lane.start_position:
        story.where = Where.BEFORE_START
    elif position >= lane.taken or _is_being_restored(lane, position):
        story.where = Where.UNREAD
    return story


def _is_being_restored(lane: "Lane", position: int) -> bool:
    """Whether the lane held the event before a restart and has not come to it again."""
    recovery = lane.recovery
    return (
        recovery is not None
        and position >= lane.cursor
        and recovery.is_outstanding(position, is_match=True)
    )
