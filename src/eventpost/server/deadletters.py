"""Dead letters: look, count, put back on the ladder, throw away."""

from collections.abc import AsyncGenerator, AsyncIterator
from urllib.parse import urlencode

from eventpost.core.errors import InvalidRequest, NotFound
from eventpost.core.interfaces import (
    CopyQuery,
    DeadLetter,
    DeadLetterPlace,
    DeadLetterQuery,
)
from eventpost.registry import forms
from eventpost.registry.models import (
    Count,
    DeadLetterList,
    DeadLetterPage,
    DeadLetterSelection,
    DeadLetterView,
    Progress,
    PurgeRequest,
    ReplayRequest,
)
from eventpost.server import views
from eventpost.server.ports import AppPort
from eventpost.server.routes import API_PREFIX, Call, Lines, Subject

PAGE_MAX = 1_000
EVERY = 2**62
IDS_MAX = 1_000
"""Dead letters chosen by their ids in one request."""

subject = Subject("dead letters")


@subject.get("/deadletters")
async def list_dead_letters(call: Call[DeadLetterPage, None]) -> DeadLetterList:
    """List dead letters by age, oldest first, a page at a time.

    `nextLink` leads to the next page. The events themselves are shown one by one.
    """
    limit = call.query.limit
    if not 1 <= limit <= PAGE_MAX:
        raise InvalidRequest(
            "InvalidField", f"limit is {limit}.", fix=f"Give 1 to {PAGE_MAX}, then follow nextLink."
        )
    query = selected(call.app, call.query)
    query.after_id = _id(call.query.after) if call.query.after else 0
    query.limit = limit + 1
    letters = await call.app.dead_letters(query)
    names = _Names(call.app)
    page = letters[:limit]
    return DeadLetterList(
        value=[names.view(letter) for letter in page],
        next_link=_next_link(call.query, page[-1].id) if len(letters) > limit else None,
    )


@subject.get("/deadletters/count")
async def count_dead_letters(call: Call[DeadLetterSelection, None]) -> Count:
    """Count dead letters without reading them."""
    return Count(count=await call.app.count_dead_letters(selected(call.app, call.query)))


@subject.post("/deadletters/replay")
async def replay_dead_letters(call: Call[None, ReplayRequest]) -> Lines[Progress]:
    """Put dead letters back on the ladder, at once or at a rate; NDJSON tells how far it is.

    Their attempts and time to live begin anew. Each is moved and marked in one transaction, so a
    replay that is cut off can simply be started again. With `dryRun` they are only counted.
    A source's message is read anew, as the source says now: what is an event by now is published,
    and is no dead letter any more; what is still none stays, and is not counted as done.

    With `place` the copies that lie there are read. What still waits here is replayed as such, what
    is not known any more is taken in again; the files stay.
    """
    if call.body.place is not None:
        return await _replay_files(call)
    query = _all(call)
    total = await call.app.count_dead_letters(query)
    if call.body.dry_run:
        return Lines(_only_counted(total))
    rate = None if call.body.rate is None else forms.rate_per_s(call.body.rate)
    return Lines(_progress(await call.app.replay(query, rate), total))


async def _replay_files(call: Call[None, ReplayRequest]) -> Lines[Progress]:
    body = call.body
    assert body.place is not None
    for name in ("ids", "source", "replayed"):
        if getattr(body, name):
            raise InvalidRequest(
                "InvalidField",
                f"{name} chooses among the rows of the store, and place among files.",
                fix=f"Leave {name} out, or place.",
            )
    now_ms = call.app.now_ms()
    wanted = CopyQuery(
        topic=body.topic,
        subscription=body.subscription,
        since_ms=_time(body.since, "since", now_ms),
        until_ms=_time(body.until, "until", now_ms),
        reason=body.reason,
        finding=body.finding,
    )
    place = DeadLetterPlace(address=body.place, connection=body.place_connection)
    if body.dry_run:
        return Lines(_only_counted(await call.app.count_in_files(place, wanted)))
    rate = None if body.rate is None else forms.rate_per_s(body.rate)
    return Lines(_progress(await call.app.replay_files(place, wanted, rate), 0))


@subject.post("/deadletters/purge")
async def purge_dead_letters(call: Call[None, PurgeRequest]) -> Lines[Progress]:
    """Throw dead letters away for good; NDJSON tells how far it is."""
    query = _all(call)
    total = await call.app.count_dead_letters(query)
    if call.body.dry_run:
        return Lines(_only_counted(total))
    return Lines(_progress(await call.app.purge(query), total))


@subject.get("/deadletters/{id}")
async def show_dead_letter(call: Call[None, None]) -> DeadLetterView:
    """Show one dead letter with its event."""
    number = _id(call.path["id"])
    query = DeadLetterQuery(ids=[number], is_replayed=None, limit=1)
    letters = await call.app.dead_letters(query)
    if not letters:
        raise NotFound(
            "DeadLetterNotFound",
            f"There is no dead letter {number}.",
            fix="It may have been purged; list what there is with eventpost deadletter list.",
        )
    return _Names(call.app).view(letters[0], has_event=True)


def selected(app: AppPort, selection: DeadLetterSelection) -> DeadLetterQuery:
    """The store's query. Raises NotFound for a topic or subscription that does not exist."""
    now_ms = app.now_ms()
    query = DeadLetterQuery(
        ids=None if selection.ids is None else _ids(selection.ids),
        since_ms=_time(selection.since, "since", now_ms),
        until_ms=_time(selection.until, "until", now_ms),
        reason=selection.reason,
        finding=selection.finding,
        is_replayed=selection.replayed,
    )
    if selection.source is not None:
        query.source_id = app.sources.get(selection.source).id
    if selection.subscription is not None:
        topic, subscription = app.subscription(selection.subscription, selection.topic)
        query.topic_id, query.subscription_id = topic.log_id, subscription.id
    elif selection.topic is not None:
        topic = app.topic(selection.topic)
        query.topic_id = topic.log_id
        if topic.domain_id:
            query.subscription_ids = [each.id for each in app.subscriptions(topic.name)]
    return query


def _all(call: Call[None, ReplayRequest] | Call[None, PurgeRequest]) -> DeadLetterQuery:
    """All that are selected, not a page of them."""
    query = selected(call.app, call.body)
    query.limit = EVERY
    return query


class _Names:
    """Topic and subscription names by id, looked up once per answer."""

    def __init__(self, app: AppPort) -> None:
        self.topics = {topic.id: topic.name for topic in app.topics()}
        self.subscriptions = {
            each.id: (app.topic_of(each).name, each.name) for each in app.subscriptions()
        }
        self.sources = {each.id: each.name for each in app.sources.all()}

    def view(self, letter: DeadLetter, *, has_event: bool = False) -> DeadLetterView:
        topic = self.topics.get(letter.topic_id, "")
        topic, subscription = self.subscriptions.get(letter.subscription_id, (topic, ""))
        return views.dead_letter(
            letter,
            topic=topic,
            subscription=subscription,
            source=self.sources.get(letter.source_id, ""),
            has_event=has_event,
        )


async def _only_counted(total: int) -> AsyncIterator[Progress]:
    yield Progress(done=0, total=total, is_finished=True)


async def _progress(counts: AsyncIterator[int], total: int) -> AsyncIterator[Progress]:
    done = 0
    try:
        async for done in counts:
            yield Progress(done=done, total=max(total, done))
    finally:
        if isinstance(counts, AsyncGenerator):
            await counts.aclose()
    yield Progress(done=done, total=max(total, done), is_finished=True)


def _next_link(page: DeadLetterPage, last_id: int) -> str:
    fields = {
        name: getattr(page, name)
        for name in page.__struct_fields__
        if name != "after" and getattr(page, name) not in (None, False)
    }
    fields["after"] = str(last_id)
    return f"{API_PREFIX}/deadletters?{urlencode(fields, doseq=True)}"


def _time(text: str | None, field: str, now_ms: int) -> int | None:
    return None if text is None else forms.time_ms(text, field=field, now_ms=now_ms)


def _ids(texts: list[str]) -> list[int]:
    if len(texts) > IDS_MAX:
        raise InvalidRequest(
            "InvalidField",
            f"{len(texts):,} ids are given.",
            fix=f"Give at most {IDS_MAX:,}, or choose by subscription, time or reason.",
        )
    return [_id(text) for text in texts]


def _id(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 19:
        return int(text)
    raise InvalidRequest(
        "InvalidField",
        f"{text!r} is no dead letter's id.",
        fix="Take the number that the list shows.",
    )
