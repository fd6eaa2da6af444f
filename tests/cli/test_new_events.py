"""The events that `eventpost publish` makes, as the server's own decoders read them."""

from itertools import islice

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.cli import new_events
from eventpost.cli.new_events import Template, endless
from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Event, Schema
from eventpost.formats import cloudevents, eventgrid, topics


def batch(template: Template, given: list[dict[str, msgspec.Raw]]) -> bytes:
    return msgspec.json.encode(new_events.batch(template, given))


def decoded(template: Template, body: bytes) -> list[Event]:
    if template.schema is Schema.CLOUD_EVENTS:
        content_type = new_events.CONTENT_TYPES[template.schema]
        return cloudevents.decode(body, {b"content-type": content_type})
    return eventgrid.decode(body, topics.resource("t"))


@pytest.mark.parametrize("schema", [Schema.EVENT_GRID, Schema.CLOUD_EVENTS])
def test_an_event_made_of_nothing_is_valid(schema: Schema) -> None:
    """Without any option the event has everything that its schema requires."""
    template = Template(schema=schema)

    (event,) = decoded(template, batch(template, []))

    assert event.type == new_events.TYPE_DEFAULT
    assert event.subject == new_events.SUBJECT_DEFAULT


@pytest.mark.parametrize("schema", [Schema.EVENT_GRID, Schema.CLOUD_EVENTS])
def test_what_an_event_says_itself_wins(schema: Schema) -> None:
    """A file's event keeps its own fields; only what it lacks is filled in."""
    template = Template(schema=schema, event_type="Default", subject="default")
    given = new_events.parse(b'{"id": "7", "subject": "mine", "data": {"n": 1.10}}', name="f")

    body = batch(template, given)

    (event,) = decoded(template, body)
    assert (event.id, event.subject, event.type) == ("7", "mine", "Default")
    assert b'"data":{"n": 1.10}' in body


def test_repeated_events_have_ids_of_their_own() -> None:
    """With `--count` an event of a file is published again and again, never with the same id."""
    template = Template(schema=Schema.EVENT_GRID)
    given = new_events.parse(b'[{"id": "7", "subject": "a"}, {"subject": "b"}]', name="f")

    bodies = list(islice(endless(template, given), 6))

    events = [decoded(template, body)[0] for body in bodies]
    assert [event.subject for event in events] == ["a", "b"] * 3
    assert len({event.id for event in events}) == 6


def test_a_custom_topic_gets_the_file_as_it_is() -> None:
    """In the custom schema nothing is added: the publisher's object is the event."""
    template = Template(schema=Schema.CUSTOM)

    body = batch(template, new_events.parse(b'{"anything": [1]}', name="f"))

    assert msgspec.json.decode(body) == [{"anything": [1]}]


@pytest.mark.parametrize("content", [b"", b"{", b"1", b"[1]", b'{"a": 1} {"b": 2}', b"{}\n["])
def test_what_is_no_event_is_refused_with_the_files_name(content: bytes) -> None:
    """Anything but objects is refused before anything is published."""
    with pytest.raises(InvalidRequest, match=r"songs\.json"):
        new_events.parse(content, name="songs.json")


@given(st.binary(max_size=40))
def test_any_content_is_read_or_refused(content: bytes) -> None:
    """No content makes the reader fail otherwise than with an error for people."""
    try:
        events = new_events.parse(content, name="f")
    except InvalidRequest:
        return
    assert all(isinstance(event, dict) for event in events)
