"""Sources as their management sees them: declared, changed, paused, shown."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from eventpost.app import asking
from eventpost.app.queues import check_queue
from eventpost.core.errors import Conflict, InvalidEvent, InvalidRequest, NotFound
from eventpost.core.events import Event
from eventpost.core.interfaces import DeadLetter
from eventpost.core.source_bounds import check_source
from eventpost.core.sources import Connection, Original, Source, SourceReport
from eventpost.core.subscriptions import Topic
from eventpost.formats import messaging
from eventpost.grid import catalogue
from eventpost.queues.interfaces import Address
from eventpost.sources import kinds as source_kinds
from eventpost.sources.catch import revived
from eventpost.sources.queue import target_of

if TYPE_CHECKING:
    from eventpost.app.application import App


class Sourcing:
    """Implements `server.ports.SourcesPort`. All calls on the event loop's thread."""

    def __init__(self, app: "App") -> None:
        self._app = app

    def all(self, topic: str | None = None) -> list[Source]:
        only = None if topic is None else self._app.topic(topic).id
        found = sorted(self._app.grid.sources.values(), key=lambda each: each.name)
        return [each for each in found if only is None or each.topic_id == only]

    def get(self, name: str) -> Source:
        found = next((each for each in self._app.grid.sources.values() if each.name == name), None)
        if found is None:
            raise NotFound(
                "SourceNotFound",
                f"There is no source {name!r}.",
                fix="eventpost source list shows those there are.",
            )
        return found

    async def create(self, topic: Topic, draft: Source) -> Source:
        """Keep a source, and begin to pull unless it is paused."""
        if topic.is_builtin:
            raise InvalidRequest(
                "BuiltinTopic",
                f"The topic {topic.name!r} is built in; only eventpost itself publishes to it.",
                fix="give a topic of your own",
            )
        if topic.is_domain or topic.domain_id:
            raise InvalidRequest(
                "DomainTopic",
                f"A source cannot feed {topic.name}, which is a domain or a topic of one.",
                why="Each event of a domain names its topic, and messages of queues name none.",
                fix="give a topic; a subscription to it can deliver to the domain's endpoint",
            )
        await self._check(draft)
        if any(each.name == draft.name for each in self._app.grid.sources.values()):
            raise Conflict(
                "SourceExists",
                f"There is a source {draft.name!r} already.",
                fix="choose another name, or use eventpost source update",
            )
        source = msgspec.structs.replace(
            draft,
            id=self._app.grid.new_source_id(),
            topic_id=self._app.topic(topic.name).id,
            created_ms=self._app.now_ms(),
        )
        return await self._put(source)

    async def update(self, name: str, draft: Source) -> Source:
        """Change what a source declares, but for its name and topic."""
        await self._check(draft)
        current = self.get(name)
        changed = msgspec.structs.replace(
            draft,
            id=current.id,
            topic_id=current.topic_id,
            name=name,
            created_ms=current.created_ms,
            is_paused=current.is_paused,
        )
        return await self._put(changed)

    async def set_paused(self, name: str, *, is_paused: bool) -> Source:
        return await self._put(msgspec.structs.replace(self.get(name), is_paused=is_paused))

    async def delete(self, name: str) -> None:
        """Pull no more, and forget the source; what was taken stays in its topic."""
        source_id = self.get(name).id
        await asking.durable(lambda done: catalogue.remove_source(self._app.grid, source_id, done))
        self._app.pulling.sync()

    def read_anew(self, letters: Sequence[DeadLetter]) -> list[tuple[DeadLetter, list[Event]]]:
        """Dead letters of sources with the events that they are by now; without those that are
        still none."""
        found = []
        for letter in letters:
            source = self._app.grid.sources.get(letter.source_id)
            if source is None:
                continue
            topic = self._app.grid.topics[source.topic_id]
            target = target_of(topic, source, self._app.pulling.services)
            try:
                message = revived(letter.wire, letter.original or Original())
                found.append((letter, messaging.decoder(source.format)(message, target)))
            except InvalidEvent:
                continue
        return found

    async def _check(self, draft: Source) -> None:
        check_source(draft, self._app.settings.limits)
        connection = None
        if draft.connection is not None:
            connection = self._app.connections.get(draft.connection)
        # The system's module is imported, which may take a moment.
        await asyncio.to_thread(_check_kind, draft, connection)
        if draft.connection is not None:
            self._app.connections.get(draft.connection)  # deleted meanwhile

    async def _put(self, source: Source) -> Source:
        await asking.durable(lambda done: catalogue.put_source(self._app.grid, source, done))
        self._app.pulling.sync()
        return source

    def report(self, name: str) -> SourceReport:
        """How a source is."""
        return self._app.pulling.report(self.get(name))


def _check_kind(draft: Source, connection: Connection | None) -> None:
    if source_kinds.is_queue(draft.kind):
        check_queue(draft.kind, connection, Address(name=draft.queue, options=draft.options))
    else:
        source_kinds.check(draft)
