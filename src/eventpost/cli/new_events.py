"""Events as `eventpost publish` makes them: from options, from a file, completed."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Schema

TYPE_DEFAULT = "Eventpost.Published"
SUBJECT_DEFAULT = "eventpost/publish"
SOURCE = "eventpost/publish"

CONTENT_TYPES = {
    Schema.EVENT_GRID: b"application/json; charset=utf-8",
    Schema.CLOUD_EVENTS: b"application/cloudevents-batch+json; charset=utf-8",
    Schema.CUSTOM: b"application/json; charset=utf-8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What every event made gets unless it says otherwise itself."""

    schema: Schema
    event_type: str = TYPE_DEFAULT
    subject: str = SUBJECT_DEFAULT
    data: msgspec.Raw = field(default_factory=lambda: msgspec.Raw(b"null"))
    topic: str = ""
    """Of a domain."""

    def event(self, given: dict[str, msgspec.Raw] | None = None) -> dict[str, object]:
        """One event: `given` first, then what the schema requires and is still missing."""
        if self.schema is Schema.CUSTOM:
            return dict(given) if given is not None else _whole(self.data)
        made: dict[str, object] = {"id": str(uuid.uuid4())}
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        if self.schema is Schema.CLOUD_EVENTS:
            source = self.topic or SOURCE
            made |= {"specversion": "1.0", "source": source, "type": self.event_type, "time": now}
            if given is None or "subject" in given:
                made["subject"] = self.subject
        else:
            made |= {"eventType": self.event_type, "subject": self.subject, "eventTime": now}
            made["dataVersion"] = "1.0"
            if self.topic:
                made["topic"] = self.topic
        if given is None or not given.keys() & {"data", "data_base64"}:
            made["data"] = self.data
        return made | (given or {})


def _whole(data: msgspec.Raw) -> dict[str, object]:
    """An event of a custom schema is its data, when that is an object."""
    is_object = bytes(data).lstrip()[:1] == b"{"
    return msgspec.json.decode(data, type=dict[str, object]) if is_object else {"data": data}


def parse(content: bytes, *, name: str) -> list[dict[str, msgspec.Raw]]:
    """The events of a file: one object, an array of objects, or one object per line.

    Raises InvalidRequest naming the file.
    """
    try:
        return _objects(content)
    except msgspec.DecodeError as error:
        lines = [line for line in content.splitlines() if line.strip()]
        if len(lines) > 1:
            try:
                return [found for line in lines for found in _objects(line)]
            except msgspec.DecodeError:
                pass
        raise InvalidRequest(
            "InvalidJson",
            f"{name} holds no events: {error}.",
            fix="Give one JSON object, an array of objects, or one object per line.",
        ) from error


def data(text: str) -> msgspec.Raw:
    """`--data`: JSON, or `@FILE` with JSON. Raises InvalidRequest."""
    from eventpost.cli import files

    content = files.read(text[1:]) if text.startswith("@") else text.encode()
    try:
        return msgspec.Raw(msgspec.json.decode(content, type=msgspec.Raw))
    except msgspec.DecodeError as error:
        raise InvalidRequest(
            "InvalidJson",
            f"--data is not JSON: {error}.",
            fix="""Quote it for the shell: --data '{"artist": "Bessie Smith"}'.""",
        ) from error


def endless(template: Template, given: Sequence[dict[str, msgspec.Raw]]) -> Iterator[bytes]:
    """Bodies of one event without end: the given ones in turn, each with an id of its own."""
    encoder = msgspec.json.Encoder()
    rounds: list[dict[str, msgspec.Raw] | None] = [
        {name: value for name, value in event.items() if name != "id"} for event in given
    ] or [None]
    while True:
        for event in rounds:
            yield encoder.encode([template.event(event)])


def batch(template: Template, given: Sequence[dict[str, msgspec.Raw]]) -> list[dict[str, object]]:
    """The events of one request: all given ones, or one made of the template alone."""
    return [template.event(event) for event in given] or [template.event()]


def ids(events: Sequence[dict[str, object]]) -> list[str]:
    """Their ids, as far as they are text."""
    found = msgspec.json.decode(msgspec.json.encode([event.get("id") for event in events]))
    return [each for each in found if isinstance(each, str)]


def _objects(content: bytes) -> list[dict[str, msgspec.Raw]]:
    kind = dict[str, msgspec.Raw]
    return (
        msgspec.json.decode(content, type=list[kind])
        if content.lstrip()[:1] == b"["
        else [msgspec.json.decode(content, type=kind)]
    )
