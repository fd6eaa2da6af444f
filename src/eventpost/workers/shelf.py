"""Looking after a dead-letter queue: what is in it, a second chance, and throwing away.

Layer: workers. A queue has no list: letters are taken under lease, looked at, and given back. While
that lasts nobody else sees them, and each look is one more receive.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from eventpost.core.errors import EventpostError
from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Message, Received
from eventpost.workers.broker import LeaseBroker
from eventpost.workers.deadletters import DeadLetter, decode, revived
from eventpost.workers.errors import told
from eventpost.workers.transport import NO_SUCH_QUEUE, WorkQueue

LOOK_LEASE_S = 300.0
"""How long letters are held while they are looked at; a command that takes longer finds some of
them again, and passes over those that it knows."""
PAGE = 32
WAIT_S = 1.0
EMPTY_LOOKS = 2
"""Answers without letters after which there are none: servers look in one part at a time."""


class ShelfError(EventpostError):
    """The queue could not be looked at, or a letter could not be moved."""


@dataclass(frozen=True, slots=True)
class Letter:
    received: Received
    letter: DeadLetter

    @property
    def id(self) -> str:
        return self.received.id

    @property
    def at_ms(self) -> int:
        """When it failed, or came here."""
        story = self.letter.story
        return story.at_ms if story is not None and story.at_ms else self.received.sent_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which letters; what is empty selects all."""

    reason: str = ""
    finding: str = ""
    actor: str = ""
    error: str = ""
    """Part of its error."""
    since_ms: int = 0
    until_ms: int = 0
    ids: frozenset[str] = frozenset()

    def takes(self, one: Letter) -> bool:
        story = one.letter.story
        return (
            (not self.reason or (story is not None and story.reason.value == self.reason))
            and (not self.finding or (story is not None and story.finding == self.finding))
            and (not self.actor or one.letter.actor == self.actor)
            and (not self.error or (story is not None and self.error in story.error))
            and (not self.since_ms or one.at_ms >= self.since_ms)
            and (not self.until_ms or one.at_ms < self.until_ms)
            and (not self.ids or one.id in self.ids)
        )


class Shelf:
    """The dead letters of one queue, for one look. Use it as a context: at its end whatever was not
    moved or thrown away is given back."""

    def __init__(self, broker: LeaseBroker, queue_name: str) -> None:
        broker.declare_queue(queue_name)
        self._broker = broker
        self._queue_name = queue_name
        self._queue = broker.open_dead_letters(queue_name)
        self._target: WorkQueue | None = None
        self._held: dict[str, Received] = {}

    def __enter__(self) -> "Shelf":
        return self

    def __exit__(self, *_: object) -> None:
        held = list(self._held.values())
        self._held.clear()
        if held and not self._queue.traits.is_log:  # a log's are simply read again
            self._queue.release(held, 0.0)
        self._queue.close()
        if self._target is not None:
            self._target.close()

    def letters(self, selection: Selection, count_max: int = 0) -> Iterator[Letter]:
        """Those selected, at most so many (0: all). Raises ShelfError."""
        found, empty = 0, 0
        seen: set[str] = set()
        while empty < EMPTY_LOOKS:
            page = self._queue.receive(PAGE, WAIT_S, LOOK_LEASE_S)
            if isinstance(page, Failed):
                if page.evidence.code in NO_SUCH_QUEUE:
                    return
                raise ShelfError("DeadLettersNotRead", f"They cannot be read. {told(page)}")
            empty = 0 if page else empty + 1
            self._held.update((received.id, received) for received in page)
            for received in page:
                one = Letter(received, decode(received.body))
                if received.id in seen or not selection.takes(one):
                    continue
                seen.add(received.id)
                yield one
                found += 1
                if found == count_max:
                    return

    def replay(self, one: Letter) -> None:
        """Send it anew, its retries from the first, and take it off the shelf: in this order, so
        that a crash in between leaves it here, too. Raises ShelfError."""
        if self._target is None:
            self._target = self._broker.open_queue(self._queue_name)
        body = self._broker.wire(revived(one.letter))
        outcome = self._target.send([Message(body=body)])[0]
        if isinstance(outcome, Failed):
            raise ShelfError("NotReplayed", f"{one.id} could not be sent. {told(outcome)}")
        self.remove(one)

    def remove(self, one: Letter) -> None:
        """For good. Raises ShelfError."""
        verdict = self._queue.settle([one.received])[0]
        if isinstance(verdict, Failed):
            raise ShelfError("NotRemoved", f"{one.id} could not be removed. {told(verdict)}")
        self._held.pop(one.id, None)


def paced(
    letters: Iterator[Letter],
    rate: float,
    sleep: Callable[[float], None],
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Iterator[Letter]:
    """At most `rate` a second; 0 for as fast as it goes."""
    next_s = monotonic_s()
    for one in letters:
        if rate:
            rest_s = next_s - monotonic_s()
            if rest_s > 0:
                sleep(rest_s)
            next_s = max(next_s, monotonic_s()) + 1 / rate
        yield one
