"""Long work on dead letters and the tail of a topic, as asynchronous iterators.

Each page is durable before its count is given out, so that an interrupted replay or purge has done
exactly what it said.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from eventpost.app import asking
from eventpost.core.events import Event
from eventpost.core.interfaces import DeadLetter, DeadLetterQuery

if TYPE_CHECKING:
    from eventpost.app.application import App

Take = Callable[[list[DeadLetter], Callable[[bool], None]], int]
PAGE = 500
PACE_S = 0.1
"""A paced replay puts back a tenth of a second's worth at a time."""


async def replay(
    app: "App", query: DeadLetterQuery, rate_per_s: float | None
) -> AsyncIterator[int]:
    """Put matching dead letters back on the ladder; yields the running count."""
    page = PAGE if rate_per_s is None else max(1, min(PAGE, int(rate_per_s * PACE_S)))
    total = 0
    async for read, taken in _pages(
        app, query, page, lambda letters, done: _replayed(app, letters, done)
    ):
        total += taken
        yield total
        if rate_per_s is not None:
            await asyncio.sleep(read / rate_per_s)


def _replayed(app: "App", letters: list[DeadLetter], done: Callable[[bool], None]) -> int:
    """Deliveries go back on the ladder; messages of sources become events, where they can by now.
    Both in the open commit, which is the same."""
    dead = app.grid.dead_letters
    messages = [letter for letter in letters if letter.source_id]
    republished = 0
    if messages:
        republished = dead.republish(app.sources.read_anew(messages), lambda _: None)
    return republished + dead.replay([each for each in letters if not each.source_id], done)


async def purge(app: "App", query: DeadLetterQuery) -> AsyncIterator[int]:
    """Remove matching dead letters for good; yields the running count."""
    total = 0
    async for _, taken in _pages(
        app, query, PAGE, lambda letters, done: app.grid.dead_letters.purge(letters, done)
    ):
        total += taken
        yield total


async def _pages(
    app: "App", query: DeadLetterQuery, page: int, take: Take
) -> AsyncIterator[tuple[int, int]]:
    """Take what the query matches now, a page at a time; what falls later is left alone. Yields how
    many were read and how many of these were taken, once that is durable."""
    until_ms = app.grid.clock.now_ms() if query.until_ms is None else query.until_ms
    after_id = query.after_id
    left = query.limit
    while left > 0:
        following = _copy(query, after_id=after_id, limit=min(page, left), until_ms=until_ms)
        async with app.taking_dead_letters:  # or another replay would take what was read
            letters = await app.dead_letters(following)
            if not letters:
                return
            taken = await _durably(take, letters)
        yield len(letters), taken
        after_id = letters[-1].id
        left -= len(letters)


async def _durably(take: Take, letters: list[DeadLetter]) -> int:
    counts: list[int] = []
    await asking.durable(lambda done: counts.append(take(letters, done)))
    return counts[0]


def _copy(query: DeadLetterQuery, **changes: int) -> DeadLetterQuery:
    fields = {name: getattr(query, name) for name in DeadLetterQuery.__slots__}
    return DeadLetterQuery(**{**fields, **changes})


async def tail(
    app: "App", topic_id: int, waiting_max: int
) -> AsyncIterator[tuple[int, int, Event]]:
    """Events of a topic as they become durable, from now on. The oldest of more than `waiting_max`
    that wait for a slow reader are passed over: the positions tell."""
    waiting: deque[tuple[int, int, Event]] = deque(maxlen=waiting_max)
    arrived = asyncio.Event()

    def listener(first: int, published_ms: int, events: list[Event]) -> None:
        for offset, event in enumerate(events):
            waiting.append((first + offset, published_ms, event))
        arrived.set()

    listeners = app.listeners.setdefault(topic_id, [])
    listeners.append(listener)
    try:
        while True:
            while waiting:
                yield waiting.popleft()
            arrived.clear()
            await arrived.wait()
    finally:
        listeners.remove(listener)
