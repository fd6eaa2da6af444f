"""A publisher that sends nothing and remembers all, for unit tests of what publishes to Kafka."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.formats.kafka_binding import Mode
from eventpost.kafka.publisher import LambdaContext
from eventpost.kafka.records import (
    DeliveryFailed,
    Outgoing,
    Undelivered,
    event_record,
    plain_record,
)

NOW = "2026-01-01T00:00:00Z"
"""The time of events that name none: always the same, so that tests can compare."""
TIMED_OUT = Evidence(
    stage=Stage.WAIT,
    fault=Fault.TIMED_OUT,
    system="kafka",
    operation="send",
    code="_MSG_TIMED_OUT",
    detail="the recording publisher was told to fail",
)


@dataclass(frozen=True, slots=True)
class Published:
    """One record as the brokers would have it. `event` is None for a record of other bytes."""

    topic: str
    key: str
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    event: dict[str, object] | None


class RecordingPublisher:
    """In the place of a `KafkaPublisher`: refuses what that one refuses, and sends nothing.

    `published` are the records that a flush took, in their order; `fail_next` has the next flush
    fail as a broker that is away does.
    """

    def __init__(self, topic: str = "events", *, mode: Mode = "binary") -> None:
        self.published: list[Published] = []
        self.pending: list[Outgoing] = []
        """Published and not flushed: what a function that forgets to flush leaves behind."""
        self.flush_count = 0
        self.is_closed = False
        self._topic = topic
        self._mode = mode
        self._failing: tuple[int | None, Evidence] | None = None

    # --- what tests call --------------------------------------------------------------------------

    @property
    def events(self) -> list[dict[str, object]]:
        """The CloudEvents that a flush took."""
        return [one.event for one in self.published if one.event is not None]

    def fail_next(self, count: int | None = None, evidence: Evidence = TIMED_OUT) -> None:
        """The next flush raises DeliveryFailed for its last `count` records, or for all."""
        self._failing = (count, evidence)

    # --- what `KafkaPublisher` has ----------------------------------------------------------------

    def publish(
        self, event: Mapping[str, object], *, topic: str = "", key: str | None = None
    ) -> str:
        event_id, record = event_record(
            event,
            topic=topic or self._topic,
            key=key,
            mode=self._mode,
            new_id=str(uuid.uuid4()),
            now=NOW,
        )
        self._put(record)
        return event_id

    def send(
        self,
        topic: str,
        value: bytes | str | None = None,
        key: str | None = None,
        headers: Sequence[tuple[str, bytes | str]] = (),
    ) -> None:
        self._put(plain_record(topic or self._topic, value, key, headers))

    def flush(
        self, context: LambdaContext | None = None, *, deadline_s: float | None = None
    ) -> int:
        """Takes no time, whatever there is of it."""
        self.flush_count += 1
        pending, self.pending = self.pending, []
        failed = self._failed(pending)
        went = pending[: len(pending) - len(failed)]
        self.published += [
            Published(one.topic, one.key, one.value, one.headers, one.event) for one in went
        ]
        if failed:
            raise DeliveryFailed(failed, len(went))
        return len(went)

    def close(self) -> None:
        self.is_closed = True
        self.pending.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.flush()
        self.close()

    def _put(self, record: Outgoing) -> None:
        if self.is_closed:
            raise InvalidRequest("PublisherClosed", "The publisher was closed.")
        self.pending.append(record)

    def _failed(self, pending: Sequence[Outgoing]) -> list[Undelivered]:
        if self._failing is None or not pending:
            return []
        (count, evidence), self._failing = self._failing, None
        first = 0 if count is None else max(0, len(pending) - count)
        return [Undelivered(record, evidence) for record in pending[first:]]
