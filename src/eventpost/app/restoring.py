"""Dead letters read back from where their copies lie: a folder, a container, a bucket.

What still waits here is replayed as what it is. What the store knows nothing of any more (it was
purged, or the store was lost; Azure's own Event Grid wrote it) is taken in again, and replayed in
the same commit. Each page is durable before its count is given out.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventpost.app import asking
from eventpost.core.errors import InvalidRequest
from eventpost.core.interfaces import (
    CopyQuery,
    DeadLetter,
    DeadLetterPlace,
    DeadLetterQuery,
)
from eventpost.core.outcomes import Failed
from eventpost.core.subscriptions import Subscription, Topic
from eventpost.destinations.storages import Storage
from eventpost.diagnosis.classify import explain
from eventpost.formats import deadletters as formats
from eventpost.formats.deadletters import Copied

if TYPE_CHECKING:
    from eventpost.app.application import App

NAME = re.compile(
    r"(?:[^/]+/[^/]+/)?(?P<subscription>[^/]+)"
    r"/\d{1,4}/\d{1,2}/\d{1,2}/\d{1,2}/[^/]+\.json"
)
"""Where Event Grid puts a file; anything else in the place is passed over."""
FILES_PAGE = 8
"""Files of which is looked at once what still waits here."""
KNOWN_MAX = 1 << 30
"""All of them: no more than these files have events."""
MALFORMED = "EP3330"


@dataclass(slots=True)
class _File:
    url: str
    topic: Topic
    subscription: Subscription
    letters: list[Copied]


async def count(app: "App", place: DeadLetterPlace, wanted: CopyQuery) -> int:
    """How many letters there are. Reads every file."""
    total = 0
    async for page in _pages(app, place, wanted):
        total += sum(len(file.letters) for file in page)
    return total


async def replay(
    app: "App", place: DeadLetterPlace, wanted: CopyQuery, rate_per_s: float | None
) -> AsyncIterator[int]:
    """Put the letters of every file on the ladder; yields the running count. Files stay as they
    are. Raises InvalidRequest for a place or a file that cannot be read: those before it are done.
    """
    total = 0
    async for page in _pages(app, place, wanted):
        async with app.taking_dead_letters:  # or another replay would take what was read
            taken = await _taken(app, page)
        total += taken
        yield total
        if rate_per_s is not None and taken:
            await asyncio.sleep(taken / rate_per_s)


async def _taken(app: "App", page: list[_File]) -> int:
    known = await _known(app, page)
    waiting: list[DeadLetter] = []
    lost: list[DeadLetter] = []
    for file in page:
        left = [each for each in known if each.exported_to == file.url]
        by_event: dict[str, list[DeadLetter]] = {}
        for each in left:
            by_event.setdefault(each.event_id, []).append(each)
        for copied in file.letters:
            same = by_event.get(copied.event.id)
            if same:
                waiting.append(same.pop())
            else:
                lost.append(_letter(app, file, copied))
    counts: list[int] = []
    dead = app.grid.dead_letters

    def start(done: Callable[[bool], None]) -> None:
        counts.append(dead.bring_back(lost) + dead.replay(waiting, done))

    await asking.durable(start)
    return counts[0]


async def _known(app: "App", page: list[_File]) -> list[DeadLetter]:
    """What the store still has of these files, replays under way included."""
    query = DeadLetterQuery(
        exported_to=[file.url for file in page],
        is_replayed=None,
        limit=KNOWN_MAX,
    )
    return await app.dead_letters(query)


def _letter(app: "App", file: _File, copied: Copied) -> DeadLetter:
    """As it was; its position in the log is not known any more."""
    return DeadLetter(
        id=app.grid.dead_letters.new_id(),
        topic_id=file.topic.log_id,
        subscription_id=file.subscription.id,
        partition=0,
        position=-1,
        event_id=copied.event.id,
        event_type=copied.event.type,
        subject=copied.event.subject,
        wire=copied.event.wire,
        published_ms=copied.published_ms,
        dead_ms=app.now_ms(),
        last_attempt_ms=copied.last_attempt_ms,
        attempts=copied.attempts,
        reason=formats.reason_named(copied.reason),
        outcome=copied.outcome,
        finding=copied.finding,
        exported_to=file.url,
    )


# --- reading --------------------------------------------------------------------------------------


async def _pages(
    app: "App", place: DeadLetterPlace, wanted: CopyQuery
) -> AsyncIterator[list[_File]]:
    """Files with what is wanted of them, read on a thread."""
    storage = await asyncio.to_thread(app.endpoints.places.storage, place)
    one = None
    if wanted.subscription is not None:
        one = app.subscription(wanted.subscription, wanted.topic)
    names = storage.names("" if one is None else _folder(*one))
    while True:
        found = await asyncio.to_thread(_next_names, names)
        if found is None:
            return
        matches = [match for match in map(NAME.fullmatch, found) if match is not None]
        for start in range(0, len(matches), FILES_PAGE):
            page = []
            for match in matches[start : start + FILES_PAGE]:
                topic, subscription = one or _owner(app, match, wanted.topic)
                body = await asyncio.to_thread(_read, app, storage, match.string)
                url = storage.url(match.string)
                read = await asyncio.to_thread(_letters, app, url, body, topic)
                letters = [each for each in read if _is_wanted(each, wanted)]
                page.append(_File(url, topic, subscription, letters))
            yield page


def _folder(topic: Topic, subscription: Subscription) -> str:
    """What the names of a subscription's files begin with."""
    pulled_from = topic.name if subscription.endpoint.is_pulled else None
    return formats.folder(subscription.name, pulled_from=pulled_from) + "/"


def _is_wanted(copied: Copied, wanted: CopyQuery) -> bool:
    at_ms = copied.last_attempt_ms or copied.published_ms
    return (
        (wanted.since_ms is None or at_ms >= wanted.since_ms)
        and (wanted.until_ms is None or at_ms <= wanted.until_ms)
        and wanted.reason in (None, copied.reason)
        and wanted.finding in (None, copied.finding)
    )


def _next_names(names: Iterator[list[str] | Failed]) -> list[str] | None:
    page = next(names, None)
    if isinstance(page, Failed):
        raise _unreadable(page)
    return page


def _read(app: "App", storage: Storage, name: str) -> bytes:
    body = storage.read(name, app.settings.grid.import_bytes_max)
    if isinstance(body, Failed):
        raise _unreadable(body, name)
    return body


def _letters(app: "App", url: str, body: bytes, topic: Topic) -> Sequence[Copied]:
    try:
        domain = app.domain_input(topic)
        return formats.read(body, topic.input_schema, app.topic_resource(topic), domain)
    except ValueError as error:
        raise InvalidRequest(
            MALFORMED,
            f"{url} is no file of dead letters: {error}",
            fix="Mend it or move it away, or choose other files: --subscription NAME.",
        ) from error


def _owner(app: "App", match: "re.Match[str]", topic: str | None) -> tuple[Topic, Subscription]:
    """The subscription whose files lie there. Raises InvalidRequest."""
    topics = app.grid.topics
    known = [(topics[each.topic_id], each) for each in app.subscriptions(topic)]
    found = [each for each in known if match.string.startswith(_folder(*each))]
    if len(found) == 1:
        return found[0]
    name = match["subscription"]
    if found:
        what = f"Several topics have an event subscription {name}."
        fix = "Say which topic: --topic NAME."
    else:
        what = f"The place holds dead letters of {name}, which is no event subscription here."
        fix = "Create it, or choose others: --subscription NAME."
    raise InvalidRequest("SubscriptionUnknown", what, fix=fix)


def _unreadable(failed: Failed, name: str = "") -> InvalidRequest:
    found = explain(failed.evidence)
    at = f"{name}: " if name else ""
    return InvalidRequest(
        found.code, f"{at}{found.title}. {failed.evidence.detail}", why=found.cause, fix=found.fix
    )
