"""Events and filters that the core's tests build from few words."""

import json

from eventpost.core.events import Event, Schema
from eventpost.core.filters import compile_filter
from eventpost.core.matcher import Matcher
from eventpost.core.subscriptions import AdvancedFilter, Filter, FilterValue, Operator


def event_grid_event(
    data: object = None, *, event_type: str = "Song.Requested", subject: str = "genre/blues/42"
) -> Event:
    envelope = {
        "id": "e1",
        "topic": "/topics/song-requests",
        "subject": subject,
        "eventType": event_type,
        "eventTime": "2026-01-31T12:00:00Z",
        "data": data,
        "dataVersion": "2.1",
        "metadataVersion": "1",
    }
    return Event("e1", event_type, subject, json.dumps(envelope).encode())


def cloud_event(data: object = None, *, subject: str | None = None, **extensions: object) -> Event:
    envelope = {
        "specversion": "1.0",
        "id": "c1",
        "source": "/station",
        "type": "song.requested",
        **({} if subject is None else {"subject": subject}),
        **extensions,
        "data": data,
    }
    return Event("c1", "song.requested", subject or "", json.dumps(envelope).encode())


def custom_event(body: object) -> Event:
    """As it is kept: in Event Grid's schema, around what was published."""
    envelope = {
        "id": "x1",
        "topic": "/topics/songs",
        "subject": "genre/blues/42",
        "eventType": "Song.Requested",
        "eventTime": "2026-01-01T00:00:00Z",
        "data": body,
        "dataVersion": "1.0",
        "metadataVersion": "1",
    }
    return Event("x1", "Song.Requested", "genre/blues/42", json.dumps(envelope).encode())


def clause(key: str, operator: str, *values: FilterValue) -> AdvancedFilter:
    return AdvancedFilter(key=key, operator_type=Operator(operator), values=values)


def advanced(key: str, operator: str, *values: FilterValue, is_array_read: bool = False) -> Filter:
    return Filter(
        advanced=(clause(key, operator, *values),), advanced_filtering_on_arrays=is_array_read
    )


EVENT_GRID, CLOUD_EVENTS, CUSTOM = Schema.EVENT_GRID, Schema.CLOUD_EVENTS, Schema.CUSTOM


def matches(wanted: Filter, event: Event, schema: Schema = EVENT_GRID) -> bool:
    """Whether `event` matches, asked of the compiled filter and of a matcher, which must agree."""
    is_match = compile_filter(wanted, schema).matches(event)
    matcher: Matcher[str] = Matcher()
    matcher.add("wanted", wanted, schema)
    assert list(matcher.match(event)) == (["wanted"] if is_match else [])
    return is_match
