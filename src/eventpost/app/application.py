"""A running grid as its management sees it: topics, subscriptions, dead letters, stories.

Implements `server.ports.AppPort`. All calls on the event loop's thread. Each change is durable when
its coroutine returns.
"""

import asyncio
import secrets
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from eventpost.app import asking, replaying, restoring
from eventpost.app.alerts import Alerts
from eventpost.app.connecting import Connecting
from eventpost.app.domains import Domains
from eventpost.app.namespaces import Namespaces
from eventpost.app.pulling import Pulling, told
from eventpost.app.queues import NO_CONNECTIONS
from eventpost.app.sourcing import Sourcing
from eventpost.app.subscribing import Subscribing
from eventpost.app.tokens import IssuerKeys
from eventpost.config.settings import Settings
from eventpost.core.books import SubscriptionReport, Tally, TopicReport
from eventpost.core.bounds import check_input_mapping, check_topic_name
from eventpost.core.domains import split
from eventpost.core.errors import Conflict, InvalidRequest, NotFound, StoreError
from eventpost.core.events import Event, Schema
from eventpost.core.filters import ClauseResult
from eventpost.core.histogram import Histogram
from eventpost.core.interfaces import (
    AttemptRecord,
    CopyQuery,
    DeadLetter,
    DeadLetterPlace,
    DeadLetterQuery,
    Found,
    Usage,
)
from eventpost.core.sources import NO_MAPPING, InputMapping, SourceReport
from eventpost.core.subscriptions import (
    BUILTIN_TOPIC_PREFIX,
    DEAD_LETTER_TOPIC,
    HEALTH_TOPIC,
    DomainRules,
    Subscription,
    Topic,
)
from eventpost.core.version import VERSION
from eventpost.credentials.bearer import Tokens
from eventpost.credentials.reports import Report
from eventpost.formats.custom import CustomInput
from eventpost.formats.domains import DomainInput
from eventpost.formats.locktokens import SECRET_BYTES, LockTokens
from eventpost.formats.publish import decode_publish
from eventpost.grid import audit, catalogue
from eventpost.grid.engine import Listeners
from eventpost.grid.pull import PullLane
from eventpost.grid.trace import Story, tell
from eventpost.sources.kinds import Opener
from eventpost.telemetry import logs
from eventpost.telemetry.metrics import Snapshot, copied, render

if TYPE_CHECKING:
    from eventpost.app.endpoints import Endpoints
    from eventpost.app.supervisor import Supervisor
    from eventpost.grid.engine import Engine

LOCK_SECRET = "lock-secret"  # noqa: S105  # the setting's name
"""The setting that keeps what lock tokens are signed with."""
STORIES_MAX = 20
TAIL_EVENTS_MAX = 1_000
"""Events that wait for one reader of `tail`; a slower reader loses the oldest, and is told."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether one worker inside does its work."""

    name: str
    ok: bool
    detail: str = ""
    is_outside: bool = False
    """Whether it depends on what is not here: then it says nothing about this process."""


def _of_source(report: SourceReport) -> Health:
    detail = told(report.failures) if report.is_failing else ""
    name = f"source {report.source}"
    return Health(name, not report.is_failing, detail or report.state.value, is_outside=True)


def new_key() -> str:
    """An access key: 32 random bytes in base64, as Event Grid's are."""
    return b64encode(secrets.token_bytes(32)).decode()


def new_event_id() -> str:
    return str(uuid.uuid4())


def _no_subscription(name: str, where: str) -> NotFound:
    return NotFound(
        "SubscriptionNotFound",
        f"There is no event subscription {name!r}{where}.",
        fix="eventpost subscription list shows those there are.",
    )


def _backup_failed(reason: str) -> StoreError:
    return StoreError(
        "BackupFailed",
        f"The backup was not written: {reason}",
        fix="choose a file that does not exist, in a folder that the server may write to",
    )


class App:
    """See `server.ports.AppPort`. Errors are core.errors."""

    def __init__(
        self,
        settings: Settings,
        supervisor: "Supervisor",
        endpoints: "Endpoints",
        *,
        admin_token: str,
        public_url: str,
        topic_resource: Callable[[Topic], str],
        opener: Opener = NO_CONNECTIONS.opener,
        bearer: tuple[Tokens, IssuerKeys] | None = None,
    ) -> None:
        self.settings = settings
        self.supervisor = supervisor
        self.admin_token = admin_token
        self.public_url = public_url
        self.topic_resource = topic_resource
        self._bearer = bearer
        self.tokens = None if bearer is None else bearer[0]
        self.started_ms = 0
        self.stopping = asyncio.Event()
        """Set when the server begins to stop."""
        self.rejected: dict[str, int] = {}
        """Publish requests refused, by topic name."""
        self._topics: dict[str, Topic] = {}
        """Those with a log, by their names."""
        self.endpoints = endpoints
        self.publish_times = Histogram()
        self.taking_dead_letters = asyncio.Lock()
        """Held from reading dead letters until it is durable that they were replayed or purged."""
        self.listeners: Listeners = {}
        """Who hears of the events of a topic, whichever engine runs."""
        self.connections = Connecting(self)
        self.domains = Domains(self)
        self.sources = Sourcing(self)
        self.pulling = Pulling(self, opener)
        self.connections.on_changed = self.pulling.connection_changed
        self.lock_tokens = LockTokens(secrets.token_bytes(SECRET_BYTES))
        self._subscribing = Subscribing(self, endpoints)
        self.namespaces = Namespaces(self, new_key)
        self.alerts = Alerts(self, settings.alerts)
        self.checks: list[Callable[[], Health]] = []
        """Further workers' health; the server adds its own."""

    @property
    def grid(self) -> "Engine":
        return self.supervisor.engine

    def now_ms(self) -> int:
        """The grid's time: what is stored is dated by it."""
        return self.grid.clock.now_ms()

    async def start(self) -> None:
        """Open the store; make the built-in topics when it is new. Raises StoreError."""
        await self.supervisor.open()
        self.started_ms = self.now_ms()
        self.reopened(self.grid)
        if self.tokens is not None:
            self.tokens.start()
        for name in (DEAD_LETTER_TOPIC, HEALTH_TOPIC):
            if name not in self._topics:
                await self.create_log(name, Schema.EVENT_GRID)
        await self._open_lock_tokens()
        self.alerts.start()

    async def _open_lock_tokens(self) -> None:
        """With the installation's secret, which the first start makes: tokens outlive a restart."""
        secret = self.grid.settings.get(LOCK_SECRET)
        if secret is None:
            secret = made = secrets.token_bytes(SECRET_BYTES)
            await asking.durable(
                lambda done: catalogue.put_setting(self.grid, LOCK_SECRET, made, done)
            )
        self.lock_tokens = LockTokens(secret)

    def reopened(self, engine: "Engine") -> None:
        """The store was opened anew: what it holds is what counts."""
        engine.listeners = self.listeners
        self._topics = {
            topic.name: topic for topic in engine.topics.values() if not topic.domain_id
        }
        self._subscribing.resume()
        self.pulling.sync()

    # --- topics -----------------------------------------------------------------------------------

    def topics(self) -> list[Topic]:
        return list(self._topics.values())

    def topic(self, name: str) -> Topic:
        found = self._topics.get(name)
        if found is None:
            domain, of_domain = split(name)
            if of_domain:
                return self.domains.topic(domain, of_domain)
            raise NotFound(
                "TopicNotFound",
                f"There is no topic {name!r}.",
                fix="eventpost topic list shows those there are.",
            )
        return found

    def custom_input(self, topic: Topic) -> CustomInput | None:
        if topic.input_schema is not Schema.CUSTOM:
            return None
        return CustomInput(topic.input_mapping, new_event_id, self.now_ms)

    def domain_input(self, topic: Topic) -> DomainInput | None:
        if not topic.is_domain:
            return None
        return DomainInput(topic, self.settings.server.topic_resource_prefix, self.settings.limits)

    async def create_topic(
        self, name: str, input_schema: Schema, mapping: InputMapping = NO_MAPPING
    ) -> Topic:
        check_topic_name(name, self.settings.limits)
        check_input_mapping(input_schema, mapping, self.settings.limits)
        return await self.create_log(name, input_schema, mapping)

    async def create_log(
        self,
        name: str,
        input_schema: Schema,
        mapping: InputMapping = NO_MAPPING,
        rules: DomainRules | None = None,
    ) -> Topic:
        """A topic, or a domain where it has `rules`, whose name and mapping are good."""
        if name in self._topics:
            what = "domain" if self._topics[name].is_domain else "topic"
            raise Conflict(f"{what.title()}Exists", f"There is a {what} {name!r} already.")
        topic = Topic(
            id=self.grid.new_topic_id(),
            name=name,
            key1=new_key(),
            key2=new_key(),
            created_ms=self.grid.clock.now_ms(),
            input_schema=input_schema,
            input_mapping=mapping,
            domain=rules,
        )
        await self.keep_log(topic)
        return topic

    async def keep_log(self, topic: Topic) -> None:
        self._topics[topic.name] = topic
        await asking.durable(lambda done: catalogue.put_topic(self.grid, topic, done))

    async def delete_topic(self, name: str) -> None:
        topic = self.topic(name)
        if name.startswith(BUILTIN_TOPIC_PREFIX):
            raise InvalidRequest(
                "BuiltinTopic", f"The topic {name!r} is built in and cannot be deleted."
            )
        subscriptions = self.grid.subscriptions_of(topic.id)
        for each in self.grid.topics_of(topic.id).values():
            subscriptions += self.grid.subscriptions_of(each.id)
        dropped_count = sum(self._report_one(each).tally.pending for each in subscriptions)
        told = [(each, self.grid.topics[each.topic_id]) for each in subscriptions]
        self._topics.pop(name, None)  # the topic of a domain is not among them
        await asking.durable(lambda done: catalogue.remove_topic(self.grid, topic.id, done))
        self.pulling.sync()
        for subscription, of_topic in told:
            self.endpoints.say_farewell(of_topic, subscription)
        logs.log("topic.deleted", topic=name, dropped_count=dropped_count)

    async def regenerate_key(self, name: str, key_name: str) -> Topic:
        if key_name not in {"key1", "key2"}:
            raise InvalidRequest(
                "InvalidKeyName", f"There is no key {key_name!r}.", fix="use key1 or key2"
            )
        topic = msgspec.structs.replace(self.topic(name), **{key_name: new_key()})
        await self.keep_log(topic)
        return topic

    # --- subscriptions ----------------------------------------------------------------------------

    def subscriptions(self, topic: str | None = None) -> list[Subscription]:
        if topic is not None:
            return self.grid.subscriptions_of(self.topic(topic).id)
        return list(self.grid.subscriptions.values())

    def topic_of(self, subscription: Subscription) -> Topic:
        return self.grid.topics[subscription.topic_id]

    def subscription(self, name: str, topic: str | None) -> tuple[Topic, Subscription]:
        found = [each for each in self.subscriptions(topic) if each.name == name]
        if not found:
            raise _no_subscription(name, f" on topic {topic!r}" if topic else "")
        if len(found) > 1:
            names = sorted(self.grid.topics[each.topic_id].name for each in found)
            raise Conflict(
                "SubscriptionAmbiguous",
                f"Several topics have an event subscription {name!r}: {', '.join(names)}.",
                fix="say which with --topic",
            )
        return self.grid.topics[found[0].topic_id], found[0]

    async def create_subscription(
        self, topic: str, draft: Subscription, start: str | int
    ) -> Subscription:
        return await self._subscribing.create(self.domains.wanted(topic), draft, start)

    async def update_subscription(self, topic: str, name: str, draft: Subscription) -> Subscription:
        return await self._subscribing.update(*self.subscription(name, topic), draft)

    async def delete_subscription(self, topic: str, name: str) -> None:
        found, subscription = self.subscription(name, topic)
        await asking.durable(lambda done: self._subscribing.remove(found, subscription, done))

    async def pause(self, topic: str, name: str) -> None:
        await self._set_paused(topic, name, is_paused=True)

    async def resume(self, topic: str, name: str) -> None:
        await self._set_paused(topic, name, is_paused=False)

    async def _set_paused(self, topic: str, name: str, *, is_paused: bool) -> None:
        _, subscription = self.subscription(name, topic)
        await self._subscribing.change(msgspec.structs.replace(subscription, is_paused=is_paused))

    async def rewind(self, topic: str, name: str, position: int | None, at_ms: int | None) -> int:
        if position is None:
            assert at_ms is not None, "a position or a time"
            position = await self.position_at(self.subscription(name, topic)[0], at_ms)
        found, subscription = self.subscription(name, topic)
        partition = self.grid.partitions_of(found.id)[0]
        if not 0 <= position <= partition.routed:
            raise InvalidRequest(
                "PositionOutOfRange",
                f"Position {position} is not between 0 and {partition.routed}, the topic's end.",
            )
        await asking.durable(
            lambda done: catalogue.rewind(self.grid, subscription.id, [position], done)
        )
        return position

    async def position_at(self, topic: Topic, at_ms: int) -> int:
        store = self.grid.store
        return await asking.read(lambda done: store.position_at(topic.log_id, 0, at_ms, done))

    def explain_match(self, topic: str, name: str, event_body: bytes) -> list[ClauseResult]:
        found, subscription = self.subscription(name, topic)
        headers = {b"content-type": b"application/cloudevents+json"}
        resource = self.topic_resource(found)
        custom = self.custom_input(self.grid.topics[found.log_id])
        log = self.grid.topics[found.log_id]
        domain = self.domain_input(log)
        event = decode_publish(found.input_schema, event_body, headers, resource, custom, domain)[0]
        return self.grid.lanes_of(subscription.id)[0].compiled.explain(event)

    def complete_validation(self, token: str) -> bool:
        return self._subscribing.complete(token)

    # --- pull ---

    def pulled(self, topic: Topic, name: str) -> PullLane:
        """The lane of a subscription that is pulled, its name in any case.

        Raises NotFound, or InvalidRequest for one that is not pulled."""
        folded = name.lower()
        for partition in self.grid.partitions_of(topic.id)[:1]:
            for lane in partition.lanes.values():
                subscription = lane.subscription
                if subscription.name.lower() != folded or subscription.topic_id != topic.id:
                    continue
                if isinstance(lane, PullLane):
                    return lane
                raise InvalidRequest(
                    "NotPulled",
                    f"The event subscription {name!r} delivers to an endpoint.",
                    why="Only one of the endpoint type pull can be received from.",
                    fix="make another one: eventpost subscription create NAME "
                    f"--topic {topic.name} --endpoint-type pull",
                )
        raise _no_subscription(name, f" on topic {topic.name!r}")

    # --- events -----------------------------------------------------------------------------------

    async def publish(self, topic: str, body: bytes) -> int:
        found = self.topic(topic)
        if found.is_builtin:
            raise InvalidRequest(
                "BuiltinTopic",
                f"The topic {topic!r} is built in; only eventpost itself publishes to it.",
                fix="publish to a topic of your own",
            )
        if found.domain_id:
            raise InvalidRequest(
                "DomainTopic",
                f"{topic} is a topic of a domain, which is published to as a whole.",
                fix=f"publish to {split(found.name)[0]}; each event names its topic",
            )
        kind = b"cloudevents-batch" if body.lstrip().startswith(b"[") else b"cloudevents"
        headers = {b"content-type": b"application/%b+json" % kind}
        resource = self.topic_resource(found)
        custom = self.custom_input(found)
        domain = self.domain_input(found)
        events = decode_publish(found.input_schema, body, headers, resource, custom, domain)
        await asking.kept(lambda done: self.grid.publish(found.id, events, done))
        return len(events)

    async def trace(self, event_id: str, topic: str | None, since_ms: int) -> Sequence[Story]:
        store = self.grid.store
        only = None if topic is None else self.topic(topic).log_id
        found: list[Found] = await asking.read(
            lambda done: store.find(event_id, only, since_ms, STORIES_MAX, done)
        )
        return [
            await asking.read(lambda done, each=each: tell(self.grid, each, done))  # type: ignore[misc]
            for each in found
        ]

    def tail(self, topic: str) -> AsyncIterator[tuple[int, int, Event]]:
        return replaying.tail(self, self.topic(topic).log_id, TAIL_EVENTS_MAX)

    # --- dead letters -----------------------------------------------------------------------------

    async def dead_letters(self, query: DeadLetterQuery) -> list[DeadLetter]:
        return await asking.read(lambda done: self.grid.store.dead_letters(query, done))

    async def count_dead_letters(self, query: DeadLetterQuery) -> int:
        return await asking.read(lambda done: self.grid.store.count_dead_letters(query, done))

    async def replay(self, query: DeadLetterQuery, rate_per_s: float | None) -> AsyncIterator[int]:
        return replaying.replay(self, query, rate_per_s)

    async def replay_files(
        self, place: DeadLetterPlace, wanted: CopyQuery, rate_per_s: float | None
    ) -> AsyncIterator[int]:
        return restoring.replay(self, place, wanted, rate_per_s)

    async def count_in_files(self, place: DeadLetterPlace, wanted: CopyQuery) -> int:
        return await restoring.count(self, place, wanted)

    async def purge(self, query: DeadLetterQuery) -> AsyncIterator[int]:
        return replaying.purge(self, query)

    # --- the whole --------------------------------------------------------------------------------

    def report(self) -> tuple[list[TopicReport], list[SubscriptionReport]]:
        engine = self.grid
        topics = []
        for topic in self._topics.values():
            partitions = engine.partitions_of(topic.id)
            topics.append(
                TopicReport(
                    topic=topic.name,
                    published=sum(each.next for each in partitions),
                    unmatched=sum(each.unmatched + each.unmatched_delta for each in partitions),
                    rejected=self.rejected.get(topic.name, 0),
                )
            )
        found = [self._report_one(each) for each in engine.subscriptions.values()]
        return topics, found

    def status(self, topic: str, name: str) -> SubscriptionReport:
        return self._report_one(self.subscription(name, topic)[1])

    def _report_one(self, subscription: Subscription) -> SubscriptionReport:
        engine = self.grid
        lanes = engine.lanes_of(subscription.id)
        tally = Tally()
        for lane in lanes:
            tally.add(lane.total())
        return SubscriptionReport(
            topic=engine.topics[subscription.topic_id].name,
            subscription=subscription.name,
            tally=tally,
            lag=sum(lane.partition.next - lane.taken for lane in lanes),
            in_flight=sum(lane.held_count for lane in lanes),
            ladder=sum(lane.ladder_count for lane in lanes),
            dead_letters=engine.dead_letters.counts.get(subscription.id, 0),
            is_paused=subscription.is_paused,
            is_breaker_open=any(lane.breaker.is_open for lane in lanes),
            attempts_failed=sum(lane.attempts_failed for lane in lanes),
            reconnects=sum(lane.reconnects for lane in lanes),
        )

    def last_failures(self, topic: str, name: str) -> list[AttemptRecord]:
        _, subscription = self.subscription(name, topic)
        found = [each for lane in self.grid.lanes_of(subscription.id) for each in lane.failures]
        return sorted(found, key=lambda each: each.at_ms, reverse=True)

    def newest_failures(self) -> dict[tuple[str, str], AttemptRecord]:
        """The newest failed attempt of each subscription, by topic and name."""
        found: dict[tuple[str, str], AttemptRecord] = {}
        for subscription in self.grid.subscriptions.values():
            failures = [
                each for lane in self.grid.lanes_of(subscription.id) for each in lane.failures
            ]
            if failures:
                key = self.grid.topics[subscription.topic_id].name, subscription.name
                found[key] = max(failures, key=lambda each: each.at_ms)
        return found

    def export_failure(self, topic: str, name: str) -> AttemptRecord | None:
        _, subscription = self.subscription(name, topic)
        return self.grid.exports.failures.get(subscription.id)

    def health(self) -> list[Health]:
        failure = self.supervisor.failure
        engine = self.grid
        store = Health("store", failure is None and not engine.is_stopped, failure or "")
        room = Health(
            "store-room", not engine.is_full, "byte limit reached" if engine.is_full else ""
        )
        return [store, room, *(check() for check in self.checks), *map(_of_source, self._pulled())]

    def _pulled(self) -> list[SourceReport]:
        return [self.pulling.report(each) for each in self.sources.all()]

    async def usage(self) -> Usage:
        return await asking.read(self.grid.store.usage)

    async def verify(self) -> list[str]:
        """Every damage found, and every book that does not balance; [] when there is none. Reads
        everything, beside the traffic."""
        damage = await asking.read(self.supervisor.store.verify)
        return [*damage, *(f"The books: {text}." for text in audit.unbalanced(self.grid))]

    async def backup(self, path: str) -> int:
        """A consistent copy at `path`; returns its bytes."""
        return await asking.read(
            lambda done: self.supervisor.store.backup(path, done), failed=_backup_failed
        )

    async def metrics(self) -> bytes:
        """Prometheus' text: collected here, rendered on another thread."""
        topics, subscriptions = self.report()
        usage = self.retention_usage()
        suppressed, dropped = logs.lost()
        snapshot = Snapshot(
            topics=topics,
            subscriptions=subscriptions,
            sources=self._pulled(),
            delivery=copied(self.endpoints.delivery_times),
            publish=copied(self.publish_times),
            store_bytes=0 if usage is None else usage.bytes_used,
            store_bytes_max=self.grid.limits.store_bytes_max,
            credentials=self.known_credentials(),
            alerts=[each.condition.key for each in self.alerts.active],
            alerts_started=dict(self.alerts.started_counts),
            suppressed_log_records=suppressed,
            dropped_log_lines=dropped,
            version=VERSION,
        )
        bounds = self.settings.metrics
        return await asyncio.to_thread(
            render,
            snapshot,
            subscriptions_max=bounds.subscriptions_max,
            sources_max=bounds.sources_max,
        )

    def known_credentials(self) -> list[tuple[str, Report]]:
        """Who each connection turned out to be, where somebody has asked."""
        names = [each.name for each in self.connections.all()]
        found = [(name, self.connections.credentials(name)) for name in names]
        return [(name, report) for name, report in found if report is not None]

    def retention_usage(self) -> Usage | None:
        return self.grid.retention.usage

    async def close(self) -> None:
        """Receive no more, keep what is settled, stop sending, close the store."""
        await self.alerts.stop()
        await self.pulling.close()
        await self.supervisor.close()
        self.endpoints.close()
        if self._bearer is not None:
            self._bearer[1].close()


__all__ = ["App", "Health"]
