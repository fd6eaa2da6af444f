"""Dead letters, and the stories of events."""

from collections.abc import Sequence
from typing import TypedDict, Unpack

from eventpost.client.calls import UNBOUNDED, Call, Lines, Pages, call, listing, reading, segment
from eventpost.registry import models
from eventpost.registry.models import DeadLetterView, Progress, StoryView

PAGE = 500


class Selection(TypedDict, total=False):
    """Which dead letters; everything given must hold. Times as ISO 8601 or an age (`2h`)."""

    topic: str | None
    subscription: str | None
    source: str | None
    ids: Sequence[str] | None
    since: str | None
    until: str | None
    reason: str | None
    finding: str | None
    replayed: bool


def list_dead_letters(
    *, limit: int = 100, after: str | None = None, **selection: Unpack[Selection]
) -> Call[list[DeadLetterView]]:
    """At most `limit` dead letters (up to 1,000), oldest first, those after the id `after`."""
    read = reading(models.DeadLetterList)
    query = {**selection, "limit": limit, "after": after}
    return call("GET", "/deadletters", lambda body: read(body).value, query=query)


def dead_letters(**selection: Unpack[Selection]) -> Pages[DeadLetterView]:
    """All matching dead letters, oldest first, read page by page."""
    query = {**selection, "limit": PAGE}
    return listing("/deadletters", models.DeadLetterList, query=query)


def count_dead_letters(**selection: Unpack[Selection]) -> Call[int]:
    """How many match, without reading them."""
    read = reading(models.Count)
    return call("GET", "/deadletters/count", lambda body: read(body).count, query=selection)


def show_dead_letter(id: str) -> Call[DeadLetterView]:  # noqa: A002 - the API's name
    """One dead letter with its event. Raises NotFound."""
    return call("GET", f"/deadletters/{segment(id)}", reading(DeadLetterView))


def replay(
    *,
    rate: str | float | None = None,
    dry_run: bool = False,
    place: str | None = None,
    place_connection: str | None = None,
    **selection: Unpack[Selection],
) -> Lines[Progress]:
    """Put dead letters back on the ladder; yields how far it is. Iterate to the end.

    With `place` (`folder:PATH`, `azureblob://ACCOUNT/CONTAINER`, `s3://BUCKET/PREFIX`) the copies
    that lie there are read, over `place_connection` where it is named.

    A replay that is cut off can be started again: each is moved and marked in one transaction.
    """
    body = {
        **selection,
        "rate": rate,
        "dryRun": dry_run,
        "place": place,
        "placeConnection": place_connection,
    }
    return Lines(call("POST", "/deadletters/replay", reading(Progress), body=body))


def purge(*, dry_run: bool = False, **selection: Unpack[Selection]) -> Lines[Progress]:
    """Throw dead letters away for good; yields how far it is. Iterate to the end."""
    body = {**selection, "dryRun": dry_run}
    return Lines(call("POST", "/deadletters/purge", reading(Progress), body=body))


def trace_event(
    id: str,  # noqa: A002 - the API's name
    *,
    topic: str | None = None,
    since: str | None = None,
) -> Call[list[StoryView]]:
    """The stories of all events of that id, newest first; an unknown one has none."""
    read = reading(models.StoryList)
    return call(
        "GET",
        f"/events/{segment(id)}/trace",
        lambda body: read(body).value,
        query={"topic": topic, "since": since},
        answer_s_max=UNBOUNDED,
    )
