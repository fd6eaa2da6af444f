"""Kinds of sources by name: a queue system, or an entry point, found on first use.

Layer: sources. A package that provides a queue system (`queues.kinds`) needs none of this. One that
pulls from something else registers a factory under the entry point group `eventpost.sources`:

    [project.entry-points."eventpost.sources"]
    mailbox = "eventpost_mailbox:new_source"

The factory's module may have `check_source(source)`, which raises InvalidRequest for what it cannot
pull from.
"""

import sys
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from random import Random
from typing import cast

from eventpost.core.errors import InvalidRequest
from eventpost.core.interfaces import Clock, Intake, Puller
from eventpost.core.outcomes import Evidence
from eventpost.core.sources import Source
from eventpost.core.subscriptions import Topic
from eventpost.queues import kinds as queue_kinds
from eventpost.queues.interfaces import Address, Queue
from eventpost.queues.leases import LeaseLimits
from eventpost.sources.limits import SourceLimits

ENTRY_POINT_GROUP = "eventpost.sources"
Opener = Callable[[str, str | None, Address], Callable[[], Queue]]
"""As for destinations: gives what opens a queue over a connection, by its name. That may be called
on any thread, blocks, and raises InvalidRequest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the server lends to its sources. Calls on the loop's thread, if nothing else is said."""

    intake: Intake
    opener: Opener
    clock: Clock
    monotonic_s: Callable[[], float]
    """From any thread."""
    executor: Executor
    """For what blocks and is short: opening a queue."""
    new_event_id: Callable[[], str]
    topic_resource: Callable[[Topic], str]
    classify: Callable[[Evidence], str]
    """From any thread."""
    log: Callable[..., None]
    """From any thread."""
    random: Random = field(default_factory=Random)
    limits: SourceLimits = field(default_factory=SourceLimits)
    leases: LeaseLimits = field(default_factory=LeaseLimits)
    """Bounds of the engines; prefetch and lease are each source's own."""


Factory = Callable[[Topic, Source, Services], Puller]


def is_queue(kind: str) -> bool:
    """Whether a source of that kind pulls from a queue system. Raises InvalidRequest for a kind
    that nothing provides."""
    if queue_kinds.is_system(kind):
        return True
    if entry_points(group=ENTRY_POINT_GROUP, name=kind):
        return False
    queue_kinds.queue_system(kind)  # raises, with what there is
    raise InvalidRequest("UnknownQueueSystem", f"There is no source of the kind {kind!r}.")


def new_source(topic: Topic, source: Source, services: Services) -> Puller:
    """What runs a source, not started yet. Raises InvalidRequest for a kind that nothing provides
    (any more)."""
    if is_queue(source.kind):
        from eventpost.sources.queue import QueueSource

        return QueueSource(topic, source, services)
    return _factory(source.kind)(topic, source, services)


def check(source: Source) -> None:
    """Ask the kind of a source that is no queue. Raises InvalidRequest for what it refuses."""
    module = sys.modules.get(getattr(_factory(source.kind), "__module__", ""))
    check_source = getattr(module, "check_source", None)
    if check_source is not None:
        check_source(source)


def _factory(kind: str) -> Factory:
    (entry_point, *_) = entry_points(group=ENTRY_POINT_GROUP, name=kind)
    return cast("Factory", entry_point.load())
