"""What the server asks of the application, so that neither has to know the other's insides.

All calls on the event loop's thread. Errors are `core.errors`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from eventpost.config.settings import Settings
from eventpost.core.books import SubscriptionReport, TopicReport
from eventpost.core.clauses import ClauseResult
from eventpost.core.errors import EventpostError, Overloaded
from eventpost.core.events import Event, Schema
from eventpost.core.histogram import Histogram
from eventpost.core.interfaces import (
    AttemptRecord,
    CopyQuery,
    DeadLetter,
    DeadLetterPlace,
    DeadLetterQuery,
    Usage,
)
from eventpost.core.namespaces import Namespace
from eventpost.core.sources import NO_MAPPING, Connection, InputMapping, Source, SourceReport
from eventpost.core.subscriptions import DomainRules, Subscription, Topic
from eventpost.credentials.bearer import Tokens
from eventpost.credentials.reports import Report
from eventpost.formats.custom import CustomInput
from eventpost.formats.domains import DomainInput
from eventpost.formats.locktokens import LockTokens
from eventpost.grid.pull import Handed
from eventpost.grid.settling import Action, Key, Result
from eventpost.grid.trace import Story


class HealthPort(Protocol):
    """Whether one worker inside does its work, and what is wrong if not."""

    @property
    def name(self) -> str: ...
    @property
    def ok(self) -> bool: ...
    @property
    def detail(self) -> str: ...
    @property
    def is_outside(self) -> bool:
        """Whether it depends on what is not in this process."""
        ...


class GridPort(Protocol):
    """The publish side of the grid, as the data plane uses it."""

    def publish(
        self, topic_id: int, events: list[Event], done: Callable[[Overloaded | None], None]
    ) -> None:
        """Keep `events`. `done(None)` once they are durable, `done(Overloaded)` when they were not
        kept. Raises Overloaded at once when there is no room; then `done` is never called."""
        ...


class NamespacesPort(Protocol):
    """The namespace that the server is for Azure's management SDKs; `app.namespaces`."""

    @property
    def namespace(self) -> Namespace | None:
        """None as long as it has no name."""
        ...

    def get(self, name: str) -> Namespace:
        """Raises NotFound."""
        ...

    async def create(self, name: str) -> Namespace: ...
    async def regenerate_key(self, name: str, key_name: str) -> Namespace: ...
    async def delete(self, name: str) -> None: ...


class TopicsPort(Protocol):
    """What the data plane needs to find a topic."""

    settings: Settings
    public_url: str
    rejected: dict[str, int]
    """Publish requests refused, by topic name; the data plane counts here."""
    tokens: Tokens | None
    """None when no issuer of bearer tokens is configured."""
    publish_times: Histogram
    """From a whole publish request to its answer; the data plane observes here."""

    @property
    def namespaces(self) -> NamespacesPort: ...

    @property
    def grid(self) -> GridPort: ...
    def custom_input(self, topic: Topic) -> CustomInput | None:
        """The publish rules of a topic of a custom schema; None for any other."""
        ...

    def domain_input(self, topic: Topic) -> DomainInput | None:
        """What a domain asks of its events; None for any other topic."""
        ...

    def topics(self) -> list[Topic]:
        """Those with a log: domains, but not the topics of domains."""
        ...

    def topic(self, name: str) -> Topic:
        """Raises NotFound. The same object until the topic changes."""
        ...


class LanePort(Protocol):
    """A subscription that is pulled; `grid.pull.PullLane`."""

    subscription: Subscription

    def receive(
        self,
        count: int,
        wait_s: float,
        is_listening: Callable[[], bool],
        done: Callable[[Handed | EventpostError], None],
    ) -> None: ...

    def settle(
        self,
        action: Action,
        keys: list[Key],
        delay_ms: int,
        done: Callable[[list[Result] | EventpostError], None],
    ) -> None: ...


class DataPort(TopicsPort, Protocol):
    """What the data plane needs."""

    @property
    def lock_tokens(self) -> LockTokens: ...

    def pulled(self, topic: Topic, name: str) -> LanePort:
        """Raises NotFound, or InvalidRequest for a subscription that is not pulled."""
        ...


class ConnectionsPort(Protocol):
    """Named settings of brokers and accounts."""

    def all(self) -> list[Connection]: ...
    def get(self, name: str) -> Connection:
        """Raises NotFound."""
        ...

    def users(self, name: str) -> list[str]:
        """What uses the connection, in words."""
        ...

    def credentials(self, name: str) -> Report | None:
        """Who answered when credentials were asked for; None as long as nobody has asked."""
        ...

    async def create(self, draft: Connection) -> Connection:
        """Raises Conflict, and InvalidRequest for settings that its kind does not take."""
        ...

    async def update(self, name: str, draft: Connection) -> Connection: ...
    async def delete(self, name: str) -> None:
        """Raises Conflict while something uses it."""
        ...


class DomainsPort(Protocol):
    """Domains, and the topics of each."""

    def all(self) -> list[Topic]: ...
    def get(self, name: str) -> Topic:
        """Raises NotFound."""
        ...

    async def create(
        self, name: str, input_schema: Schema, mapping: InputMapping, rules: DomainRules
    ) -> Topic: ...
    async def change(self, name: str, rules: DomainRules) -> Topic: ...
    def topics(self, domain: str) -> list[Topic]: ...
    def topic(self, domain: str, name: str) -> Topic:
        """Raises NotFound."""
        ...

    def page(self, domain: str, after: str, count: int) -> list[Topic]:
        """At most `count` topics in the order of their names, behind the name `after`."""
        ...

    async def create_topics(self, domain: str, names: Sequence[str]) -> list[Topic]:
        """All of them, or none. Raises Conflict."""
        ...

    def wanted(self, scope: str) -> Topic:
        """What a new subscription is to; the topic of a domain may come with it. Raises
        NotFound."""
        ...


class SourcesPort(Protocol):
    """Queues from which messages are pulled into topics."""

    def all(self, topic: str | None = None) -> list[Source]: ...
    def get(self, name: str) -> Source:
        """Raises NotFound."""
        ...

    async def create(self, topic: Topic, draft: Source) -> Source: ...
    async def update(self, name: str, draft: Source) -> Source: ...
    async def set_paused(self, name: str, *, is_paused: bool) -> Source: ...
    async def delete(self, name: str) -> None: ...
    def report(self, name: str) -> SourceReport:
        """How it is."""
        ...


class AppPort(TopicsPort, Protocol):
    """Everything that the management API can do."""

    admin_token: str
    started_ms: int
    stopping: asyncio.Event
    """Set when the server begins to stop: streams end then."""

    @property
    def domains(self) -> DomainsPort: ...
    @property
    def connections(self) -> ConnectionsPort: ...
    @property
    def sources(self) -> SourcesPort: ...

    def now_ms(self) -> int:
        """The grid's time, which ages such as `2h` are counted from."""
        ...

    async def create_topic(
        self, name: str, input_schema: Schema, mapping: InputMapping = NO_MAPPING
    ) -> Topic: ...
    async def delete_topic(self, name: str) -> None: ...
    async def regenerate_key(self, name: str, key_name: str) -> Topic: ...

    def subscriptions(self, topic: str | None = None) -> list[Subscription]: ...
    def topic_of(self, subscription: Subscription) -> Topic:
        """What it is to: a topic, a domain, or a topic of one."""
        ...

    def subscription(self, name: str, topic: str | None) -> tuple[Topic, Subscription]:
        """Raises NotFound, and Conflict when several topics have one of that name."""
        ...

    async def create_subscription(
        self, topic: str, draft: Subscription, start: str | int
    ) -> Subscription:
        """`start`: "now", "earliest" or UTC milliseconds. Raises HandshakeFailed, Conflict."""
        ...

    async def update_subscription(
        self, topic: str, name: str, draft: Subscription
    ) -> Subscription: ...
    async def delete_subscription(self, topic: str, name: str) -> None: ...
    async def pause(self, topic: str, name: str) -> None: ...
    async def resume(self, topic: str, name: str) -> None: ...
    async def rewind(
        self, topic: str, name: str, position: int | None, at_ms: int | None
    ) -> int: ...

    def report(self) -> tuple[list[TopicReport], list[SubscriptionReport]]: ...
    def status(self, topic: str, name: str) -> SubscriptionReport: ...
    def last_failures(self, topic: str, name: str) -> list[AttemptRecord]: ...
    def export_failure(self, topic: str, name: str) -> AttemptRecord | None:
        """The last try to write the subscription's dead letters to their place, if it failed."""
        ...

    def explain_match(self, topic: str, name: str, event_body: bytes) -> list[ClauseResult]: ...

    async def trace(self, event_id: str, topic: str | None, since_ms: int) -> Sequence[Story]:
        """Stories of all events of that id, newest first."""
        ...

    async def dead_letters(self, query: DeadLetterQuery) -> list[DeadLetter]: ...
    async def count_dead_letters(self, query: DeadLetterQuery) -> int: ...
    async def replay(self, query: DeadLetterQuery, rate_per_s: float | None) -> AsyncIterator[int]:
        """The running count of those put back on the ladder."""
        ...

    async def replay_files(
        self, place: DeadLetterPlace, wanted: CopyQuery, rate_per_s: float | None
    ) -> AsyncIterator[int]:
        """The same of dead letters whose copies lie in a place."""
        ...

    async def count_in_files(self, place: DeadLetterPlace, wanted: CopyQuery) -> int: ...

    async def purge(self, query: DeadLetterQuery) -> AsyncIterator[int]: ...

    def tail(self, topic: str) -> AsyncIterator[tuple[int, int, Event]]:
        """(position, published_ms, event) of events published from now on."""
        ...

    async def publish(self, topic: str, body: bytes) -> int: ...
    async def metrics(self) -> bytes:
        """Prometheus' text, made off the event loop."""
        ...

    def health(self) -> Sequence[HealthPort]: ...
    async def usage(self) -> Usage: ...
    async def verify(self) -> list[str]: ...
    async def backup(self, path: str) -> int: ...
    def complete_validation(self, token: str) -> bool: ...
