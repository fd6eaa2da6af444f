"""What a publisher sends, and the one exception that says what did not go.

Layer: kafka. Pure: no clock, no connection.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from eventpost.core.errors import EventpostError, InvalidRequest
from eventpost.core.outcomes import Evidence
from eventpost.diagnosis import classify
from eventpost.formats import cloudevents, kafka_binding
from eventpost.queues.kafka.settings import check_topic

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, object]).decode
_TYPE = {b"content-type": cloudevents.STRUCTURED_TYPE.encode()}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record on its way. `event` is the CloudEvent in it, None for a record of other bytes."""

    topic: str
    value: bytes | None
    key: str
    headers: tuple[tuple[str, bytes], ...]
    wire: bytes | None = None

    @property
    def size_bytes(self) -> int:
        headers = sum(len(name.encode()) + len(value) for name, value in self.headers)
        return len(self.value or b"") + len(self.key.encode()) + headers

    @property
    def event(self) -> dict[str, object] | None:
        return None if self.wire is None else _decode(self.wire)


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A record that did not go, and why."""

    record: Outgoing
    evidence: Evidence

    @property
    def event(self) -> dict[str, object] | None:
        """As it was published, with what was filled in; its `id` is the one to publish it with
        again."""
        return self.record.event

    @property
    def finding(self) -> str:
        return classify.classify(self.evidence)


class DeliveryFailed(EventpostError):
    """Records did not go, or it is not known that they went: the time ran out before an answer.

    `code` is the finding of the first failure; `undelivered` holds each record with its own.
    """

    status = 503

    def __init__(self, undelivered: Sequence[Undelivered], delivered_count: int) -> None:
        self.undelivered = tuple(undelivered)
        self.delivered_count = delivered_count
        self.evidence = self.undelivered[0].evidence
        found = classify.explain(self.evidence)
        topics = ", ".join(sorted({one.record.topic for one in self.undelivered}))
        count = len(self.undelivered)
        super().__init__(
            found.code,
            f"{found.code}: {count} of {count + delivered_count} records did not go to {topics}: "
            f"{found.title}.",
            why=_why(self.evidence),
            fix=found.fix,
        )

    @property
    def events(self) -> list[dict[str, object]]:
        """The CloudEvents that did not go, ready to be published again."""
        return [one.event for one in self.undelivered if one.event is not None]


def event_record(
    event: Mapping[str, object],
    *,
    topic: str,
    key: str | None,
    mode: kafka_binding.Mode,
    new_id: str,
    now: str,
) -> tuple[str, Outgoing]:
    """The event's id, and its record; id, time and specversion are filled in where they are not.

    Raises InvalidEvent for what is no CloudEvent, and InvalidRequest for what JSON cannot hold.
    """
    filled = {"specversion": cloudevents.SPEC_VERSION, "id": new_id, "time": now} | dict(event)
    try:
        body = _encode(_with_data(filled))
    except (TypeError, ValueError) as error:
        raise InvalidRequest(
            "EventNotJson",
            f"The event cannot be written as JSON: {error}.",
            fix="Give data that JSON can hold, or bytes with their datacontenttype.",
        ) from error
    (checked,) = cloudevents.decode(body, _TYPE)
    record = kafka_binding.encode(checked.wire, mode)
    chosen = kafka_binding.partition_key(checked.wire) if key is None else key
    return checked.id, Outgoing(
        check_topic(topic), record.value, chosen, record.headers, checked.wire
    )


def plain_record(
    topic: str,
    value: bytes | str | None,
    key: str | None,
    headers: Sequence[tuple[str, bytes | str]],
) -> Outgoing:
    """A record of any bytes; text is UTF-8."""
    encoded = tuple((name, _bytes(held)) for name, held in headers)
    body = None if value is None else _bytes(value)
    return Outgoing(check_topic(topic), body, key or "", encoded)


def _why(evidence: Evidence) -> str:
    if evidence.credential is None:
        return evidence.detail
    return f"{evidence.detail} (with the credentials of: {evidence.credential})"


def _with_data(event: dict[str, object]) -> dict[str, object]:
    """Bytes as data go as `data_base64`, which is how JSON holds them."""
    if isinstance(event.get("data"), bytes | bytearray):
        event["data_base64"] = event.pop("data")
    return event


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value
