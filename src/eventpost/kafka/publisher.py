"""A producer for functions and programs that may be frozen between two uses, such as AWS Lambda's.

Layer: kafka. One connection serves as long as it can be trusted; after a rest, or with a token that
is nearly over, a fresh producer takes its place, and takes over what is still on its way.
"""

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from socket import gethostname
from typing import Any, Protocol, Self, Unpack

from eventpost.core.errors import InvalidRequest, extra_missing
from eventpost.core.outcomes import Evidence, Failed, Fault
from eventpost.formats.kafka_binding import Mode
from eventpost.kafka.options import PublisherOptions, connection_of, producer_settings
from eventpost.kafka.producers import Producers
from eventpost.kafka.records import (
    DeliveryFailed,
    Outgoing,
    Undelivered,
    event_record,
    plain_record,
)
from eventpost.queues.kafka.refusals import refused
from eventpost.queues.kafka.settings import MESSAGE_BYTES_MAX

MARGIN_S = 0.5
"""Of the time that a function has left, so much is for its own answer."""
PENDING_MAX = 100_000
"""Records that were published and not flushed; librdkafka's own queue holds as many."""
GRACE_S = 1.5
"""Beyond a record's own time: librdkafka looks at it about once a second."""
POLL_S = 0.05


class LambdaContext(Protocol):
    """What AWS gives a handler as its second argument, as far as it matters here."""

    def get_remaining_time_in_millis(self) -> int: ...


class KafkaPublisher:
    """Publishes CloudEvents, or records of any bytes, and knows of each whether it went.

        publisher = KafkaPublisher("songs", bootstrap_servers="b-1...:9098", auth="msk-iam")

        def handler(event, context):
            publisher.publish({"type": "song.played", "source": "/radio", "data": event})
            publisher.flush(context)

    Nothing is connected before the first `publish`. At least once: a record whose answer was lost
    may be stored twice. For any thread.
    """

    def __init__(
        self,
        topic: str = "",
        *,
        bootstrap_servers: str | Sequence[str],
        mode: Mode = "binary",
        margin_s: float = MARGIN_S,
        rest_s_max: float = 60.0,
        log_every_s: float = 60.0,
        monotonic_s: Callable[[], float] = time.monotonic,
        now_s: Callable[[], float] = time.time,
        **options: Unpack[PublisherOptions],
    ) -> None:
        """Raises InvalidRequest for options that cannot be.

        `topic` is where events go that name none. A connection that rested longer than
        `rest_s_max` is replaced: it may be dead without anybody having told. The same cause is
        logged once in `log_every_s`.
        """
        _check_library()
        self._topic = topic
        self._mode = mode
        self._margin_s = margin_s
        self._monotonic_s = monotonic_s
        self._now_s = now_s
        self._connection = connection_of(bootstrap_servers, options)
        self._producers = Producers(
            self._connection,
            gethostname(),
            producer_settings(self._connection),
            rest_s_max=rest_s_max,
            log_every_s=log_every_s,
            monotonic_s=monotonic_s,
            now_s=now_s,
        )
        self._lock = threading.Lock()
        self._pending: dict[int, Outgoing] = {}
        self._failed: list[Undelivered] = []
        self._number = 0
        self._delivered_count = 0
        self._is_closed = False

    # --- what users call --------------------------------------------------------------------------

    def publish(
        self, event: Mapping[str, object], *, topic: str = "", key: str | None = None
    ) -> str:
        """Put a CloudEvent on its way, and return its id; `flush` tells whether it went.

        `type` and `source` are needed; id, time and specversion are filled in. Without `key` the
        attribute `partitionkey` is the record's. Raises InvalidEvent for what is no CloudEvent.
        """
        event_id, record = event_record(
            event,
            topic=topic or self._topic,
            key=key,
            mode=self._mode,
            new_id=str(uuid.uuid4()),
            now=datetime.fromtimestamp(self._now_s(), UTC).isoformat().replace("+00:00", "Z"),
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
        """Put a record of any bytes on its way; `flush` tells whether it went."""
        self._put(plain_record(topic or self._topic, value, key, headers))

    def flush(
        self, context: LambdaContext | None = None, *, deadline_s: float | None = None
    ) -> int:
        """Wait until the brokers have all that was published; return how many records that were.

        Waits no longer than the function of `context` has left, less the margin, nor than
        `deadline_s` seconds from now. Raises DeliveryFailed with what did not go: nothing of that
        is sent any more afterwards.
        """
        started_s = self._monotonic_s()
        until_s = started_s + self._time_s(context, deadline_s)
        self._refreshed()
        while self._pending and self._monotonic_s() < until_s:
            producer = self._producers.present
            if producer is None:
                break
            producer.flush(max(0.0, min(POLL_S, until_s - self._monotonic_s())))
        if self._pending:
            self._give_up(self._monotonic_s() - started_s)
        return self._told_of()

    def close(self) -> None:
        """End the connection; what was not flushed is dropped. Idempotent."""
        self._is_closed = True
        with self._lock:
            self._pending.clear()
        self._producers.forget("closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Flush, unless the block failed; then close."""
        try:
            if kind is None:
                self.flush()
        finally:
            self.close()

    # --- records on their way ---------------------------------------------------------------------

    def _put(self, record: Outgoing) -> None:
        if self._is_closed:
            raise InvalidRequest("PublisherClosed", "The publisher was closed.")
        self._refreshed()
        with self._lock:
            if len(self._pending) >= PENDING_MAX:
                raise InvalidRequest(
                    "TooManyPending",
                    f"{PENDING_MAX} records were published and not flushed.",
                    fix="Call flush() more often.",
                )
            self._number += 1
            number = self._number
            self._pending[number] = record
        self._produce(number, record)

    def _refreshed(self) -> None:
        """A connection that cannot be trusted is replaced, and the new one sends what is open."""
        if self._producers.refresh():
            with self._lock:
                pending = list(self._pending.items())
            for number, record in pending:
                self._produce(number, record)

    def _produce(self, number: int, record: Outgoing) -> None:
        from confluent_kafka import KafkaException

        if record.size_bytes > MESSAGE_BYTES_MAX:
            detail = f"a record of {record.size_bytes} bytes, of at most {MESSAGE_BYTES_MAX}"
            failed = refused("send", Fault.TOO_LARGE, "MSG_SIZE_TOO_LARGE", detail, final=True)
            self._fail(number, failed.evidence)
            return
        producer = self._producers.get()
        if isinstance(producer, Failed):
            self._fail(number, producer.evidence)
            return
        try:
            producer.produce(
                record.topic,
                value=record.value,
                key=record.key or None,
                headers=list(record.headers),
                on_delivery=partial(self._told, number, self._producers.generation),
            )
            producer.poll(0)
        except BufferError:
            self._fail(number, _full())
        except KafkaException as error:
            self._fail(number, self._producers.failed(error.args[0]).evidence)

    def _told(self, number: int, generation: int, error: Any, _record: object) -> None:
        """librdkafka's answer for one record; of a producer that was replaced only the good ones
        count, for another one sends the record again."""
        if error is None:
            self._producers.causes.clear()
            with self._lock:
                if self._pending.pop(number, None) is not None:
                    self._delivered_count += 1
        elif generation == self._producers.generation:
            self._fail(number, self._producers.failed(error).evidence)
            if error.fatal():
                self._producers.broken()

    def _fail(self, number: int, evidence: Evidence) -> None:
        with self._lock:
            record = self._pending.pop(number, None)
            if record is not None:
                self._failed.append(Undelivered(record, evidence))

    # --- the end of a flush -----------------------------------------------------------------------

    def _time_s(self, context: LambdaContext | None, deadline_s: float | None) -> float:
        bounds_s = [self._connection.request_timeout_ms / 1000 + GRACE_S]
        if deadline_s is not None:
            bounds_s = [deadline_s]
        if context is not None:
            bounds_s.append(context.get_remaining_time_in_millis() / 1000 - self._margin_s)
        return max(0.0, min(bounds_s))

    def _give_up(self, elapsed_s: float) -> None:
        """The time is up. The producer goes too: what it holds must not be sent in a later
        invocation, after its caller was told that it failed."""
        from confluent_kafka import KafkaError

        error = KafkaError(KafkaError._MSG_TIMED_OUT)
        evidence = self._producers.failed(error, elapsed_s).evidence
        for number in list(self._pending):
            self._fail(number, evidence)
        self._producers.forget("the time of a flush was up")

    def _told_of(self) -> int:
        with self._lock:
            failed, self._failed = self._failed, []
            count, self._delivered_count = self._delivered_count, 0
        if not failed:
            return count
        for one in failed:
            self._producers.tell_failed_delivery(one.evidence)
        raise DeliveryFailed(failed, count)


def _full() -> Evidence:
    detail = "librdkafka's queue of records is full"
    return refused("send", Fault.TOO_LARGE, "_QUEUE_FULL", detail).evidence


def _check_library() -> None:
    if find_spec("confluent_kafka") is None:
        fix = "pip install 'eventpost[kafka]', and 'eventpost[aws]' for Amazon MSK by IAM."
        raise extra_missing("Publishing to Kafka", "confluent-kafka", fix)
