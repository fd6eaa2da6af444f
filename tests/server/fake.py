"""A stand-in for the application: the catalogue in memory, no deliveries."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import msgspec

from eventpost.config.settings import Settings
from eventpost.core.books import SubscriptionReport, Tally, TopicReport
from eventpost.core.clauses import ClauseResult
from eventpost.core.errors import Conflict, HandshakeFailed, NotFound, Overloaded
from eventpost.core.events import Event, Schema
from eventpost.core.histogram import Histogram
from eventpost.core.interfaces import AttemptRecord, DeadLetter, DeadLetterQuery, Usage
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.core.retry import Reason
from eventpost.core.subscriptions import DEAD_LETTER_TOPIC, Subscription, Topic
from eventpost.formats.publish import decode_publish
from eventpost.grid.trace import Story

TOKEN = "an-admin-token"


@dataclass
class Health:
    name: str
    ok: bool
    detail: str = ""


@dataclass
class Grid:
    published: list[Event] = field(default_factory=list)
    failure: Overloaded | None = None
    is_failing_late: bool = False

    def publish(
        self, topic_id: int, events: list[Event], done: Callable[[Overloaded | None], None]
    ) -> None:
        if self.failure and not self.is_failing_late:
            raise self.failure
        if not self.failure:
            self.published += events
        done(self.failure)


class FakeApp:
    def __init__(self) -> None:
        self.settings = Settings()
        self.public_url = "http://localhost:7790"
        self.admin_token = TOKEN
        self.started_ms = 1_000
        self.rejected: dict[str, int] = {}
        self.publish_times = Histogram()
        self.grid = Grid()
        self.checks = [Health("store", True)]
        self.failures: list[AttemptRecord] = []
        self.letters: dict[int, DeadLetter] = {}
        self.tailed: list[tuple[int, int, Event]] = []
        self.error: Exception | None = None
        self._topics: dict[str, Topic] = {}
        self._subscriptions: dict[tuple[int, str], Subscription] = {}
        self._put(DEAD_LETTER_TOPIC, Schema.EVENT_GRID)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def _put(self, name: str, schema: Schema) -> Topic:
        topic = Topic(
            id=len(self._topics) + 1,
            name=name,
            key1="a2V5MQ==",
            key2="a2V5Mg==",
            created_ms=1_000,
            input_schema=schema,
        )
        self._topics[name] = topic
        return topic

    def topics(self) -> list[Topic]:
        if self.error:
            raise self.error
        return list(self._topics.values())

    def topic(self, name: str) -> Topic:
        if name not in self._topics:
            raise NotFound("TopicNotFound", f"There is no topic {name!r}.", fix="List them.")
        return self._topics[name]

    async def create_topic(self, name: str, input_schema: Schema) -> Topic:
        if name in self._topics:
            raise Conflict("TopicExists", f"There is a topic {name!r} already.")
        return self._put(name, input_schema)

    async def delete_topic(self, name: str) -> None:
        del self._topics[self.topic(name).name]

    async def regenerate_key(self, name: str, key_name: str) -> Topic:
        topic = msgspec.structs.replace(self.topic(name), **{key_name: "bmV3a2V5"})
        self._topics[name] = topic
        return topic

    def subscriptions(self, topic: str | None = None) -> list[Subscription]:
        only = None if topic is None else self.topic(topic).id
        return [s for s in self._subscriptions.values() if only in (None, s.topic_id)]

    def subscription(self, name: str, topic: str | None) -> tuple[Topic, Subscription]:
        found = [each for each in self.subscriptions(topic) if each.name == name]
        if not found:
            raise NotFound("SubscriptionNotFound", f"There is no subscription {name!r}.")
        if len(found) > 1:
            raise Conflict("SubscriptionAmbiguous", f"Several {name!r}.", fix="Say --topic.")
        (owner,) = [each for each in self.topics() if each.id == found[0].topic_id]
        return owner, found[0]

    async def create_subscription(
        self, topic: str, draft: Subscription, start: str | int
    ) -> Subscription:
        if "refusing" in draft.endpoint.address:
            raise HandshakeFailed("EP2601", "It did not consent.", fix="Answer with the code.")
        owner = self.topic(topic)
        made = msgspec.structs.replace(draft, id=7, topic_id=owner.id, created_ms=2_000)
        self._subscriptions[owner.id, draft.name] = made
        return made

    async def update_subscription(self, topic: str, name: str, draft: Subscription) -> Subscription:
        _, current = self.subscription(name, topic)
        return self._change(msgspec.structs.replace(draft, id=7, topic_id=current.topic_id))

    def _change(self, subscription: Subscription) -> Subscription:
        self._subscriptions[subscription.topic_id, subscription.name] = subscription
        return subscription

    async def delete_subscription(self, topic: str, name: str) -> None:
        owner, _ = self.subscription(name, topic)
        del self._subscriptions[owner.id, name]

    async def pause(self, topic: str, name: str) -> None:
        self._change(msgspec.structs.replace(self.subscription(name, topic)[1], is_paused=True))

    async def resume(self, topic: str, name: str) -> None:
        self._change(msgspec.structs.replace(self.subscription(name, topic)[1], is_paused=False))

    async def rewind(self, topic: str, name: str, position: int | None, at_ms: int | None) -> int:
        return position if position is not None else 77

    def report(self) -> tuple[list[TopicReport], list[SubscriptionReport]]:
        topics = [
            TopicReport(topic=t, published=3, unmatched=1, rejected=self.rejected.get(t, 0))
            for t in self._topics
        ]
        return topics, [
            self.status(self._owner(each), each.name) for each in self._subscriptions.values()
        ]

    def _owner(self, subscription: Subscription) -> str:
        return next(t.name for t in self._topics.values() if t.id == subscription.topic_id)

    def status(self, topic: str, name: str) -> SubscriptionReport:
        tally = Tally(matched=9, replayed=1, delivered=5, dead_lettered={"Poison": 2})
        return SubscriptionReport(
            topic=topic,
            subscription=name,
            tally=tally,
            lag=0,
            in_flight=1,
            ladder=2,
            dead_letters=2,
            is_paused=False,
            is_breaker_open=False,
            attempts_failed=4,
        )

    def last_failures(self, topic: str, name: str) -> list[AttemptRecord]:
        return self.failures

    def explain_match(self, topic: str, name: str, event_body: bytes) -> list[ClauseResult]:
        decode_publish(Schema.EVENT_GRID, event_body, {}, "/t")
        return [
            ClauseResult(clause="subject begins with genre/", is_met=True, found='"genre/x"'),
            ClauseResult(clause="data.bpm in 60-90", is_met=False, found=None, why="missing"),
        ]

    async def trace(self, event_id: str, topic: str | None, since_ms: int) -> list[Story]:
        return [
            Story(
                topic="songs",
                partition=0,
                position=4,
                event_id=event_id,
                event_type="T",
                subject="s",
                published_ms=1_000,
            )
        ]

    async def dead_letters(self, query: DeadLetterQuery) -> list[DeadLetter]:
        found = [
            each
            for each in self.letters.values()
            if each.id > query.after_id and (query.ids is None or each.id in query.ids)
        ]
        return found[: query.limit]

    async def count_dead_letters(self, query: DeadLetterQuery) -> int:
        return len(self.letters)

    async def replay(self, query: DeadLetterQuery, rate_per_s: float | None) -> AsyncIterator[int]:
        return self._counted()

    async def purge(self, query: DeadLetterQuery) -> AsyncIterator[int]:
        return self._counted()

    async def _counted(self) -> AsyncIterator[int]:
        for count in range(1, len(self.letters) + 1):
            yield count
        if self.error:
            raise self.error

    async def tail(self, topic: str) -> AsyncIterator[tuple[int, int, Event]]:
        for each in self.tailed:
            yield each

    async def publish(self, topic: str, body: bytes) -> int:
        events = decode_publish(self.topic(topic).input_schema, body, {}, f"/{topic}")
        return len(events)

    def health(self) -> list[Health]:
        return self.checks

    async def usage(self) -> Usage:
        return Usage(1_000, 9, 3, 2, 1, {})

    async def verify(self) -> list[str]:
        return ["segment 3 of songs"]

    async def backup(self, path: str) -> int:
        return 123

    async def metrics(self) -> bytes:
        return b"eventpost_pending_events 0\n"

    def complete_validation(self, token: str) -> bool:
        return token == "right"


def dead_letter(number: int) -> DeadLetter:
    return DeadLetter(
        id=number,
        topic_id=2,
        subscription_id=7,
        partition=0,
        position=number,
        event_id=f"event-{number}",
        event_type="Song.Requested",
        subject="genre/blues",
        wire=b'{"id":"%d"}' % number,
        published_ms=1_000,
        dead_ms=3_000,
        last_attempt_ms=2_000,
        attempts=2,
        reason=Reason.ATTEMPTS,
        outcome="SocketError",
        finding="EP2004",
        evidence=Evidence(stage=Stage.CONNECT, fault=Fault.REFUSED, elapsed_ms=3),
    )
