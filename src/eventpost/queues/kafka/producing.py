"""Sending to one topic: an idempotent producer, and one outcome for each record.

Layer: queues. `Delivered` means that the brokers acknowledged the record as the connection's `acks`
asks. A record whose time ran out may have been stored all the same: to send it again may store it
twice, for the producer's idempotence covers its own retries only.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from eventpost.core.outcomes import DELIVERED, Failed, Fault, Outcome
from eventpost.queues.interfaces import AttributeValue, Message
from eventpost.queues.kafka import topics
from eventpost.queues.kafka.clients import Cluster, Made
from eventpost.queues.kafka.refusals import refused
from eventpost.queues.kafka.settings import MESSAGE_BYTES_MAX, OVERHEAD_BYTES, Options

CONTENT_TYPE = "content-type"
MESSAGE_ID = "message-id"
POLL_S = 0.05
GRACE_S = 1.0
"""Beyond the records' own time: librdkafka looks at it about once a second."""


class Sender:
    """Any thread, several at once."""

    def __init__(
        self, cluster: Cluster, topic: str, options: Options, monotonic_s: Callable[[], float]
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._options = options
        self._monotonic_s = monotonic_s
        self._producer: Made[Any] = Made(self._new_producer)
        self._is_there = False
        self._is_closed = False

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        checked = [_checked(message) for message in messages]
        going = sum(one is None for one in checked)
        if not going:
            return [one for one in checked if one is not None]
        producer = self._ready()
        if isinstance(producer, Failed):
            return [one or producer for one in checked]
        sending = _Sending(self, producer, len(messages))
        for index, (message, refusal) in enumerate(zip(messages, checked, strict=True)):
            if refusal is not None:
                sending.outcomes[index] = refusal
            else:
                sending.produce(index, self._topic, message)
        return sending.finished()

    def close(self) -> None:
        self._is_closed = True
        producer = self._producer.present
        if producer is not None:
            producer.purge(blocking=False)
            producer.flush(0.1)
            self._producer.forget(producer)

    def _ready(self) -> Any:
        """The producer, once the topic is known to be there."""
        if self._is_closed:
            return refused("send", Fault.CLOSED, "CLOSED", "the queue was closed here")
        if not self._is_there:
            failure = topics.missing(self._cluster, self._topic, self._options, "send")
            if failure is not None:
                return failure
            self._is_there = True
        return self._cluster.attempt("send", self._producer.get)

    def _new_producer(self) -> Any:
        from confluent_kafka import Producer

        connection = self._cluster.connection
        return Producer(
            self._cluster.settings(
                **{
                    "acks": connection.acks,
                    "enable.idempotence": connection.acks == "all",
                    "retries": connection.retries,
                    "linger.ms": connection.linger_ms,
                    "delivery.timeout.ms": max(
                        connection.request_timeout_ms, connection.linger_ms + 1
                    ),
                    "message.max.bytes": MESSAGE_BYTES_MAX + OVERHEAD_BYTES,
                }
            )
        )

    # --- for one call of `send` -------------------------------------------------------------------

    def deadline_s(self) -> float:
        return self._monotonic_s() + self._cluster.request_s + GRACE_S

    def now_s(self) -> float:
        return self._monotonic_s()

    def outcome_of(self, error: Any, elapsed_s: float, producer: Any) -> Outcome:
        if error is None:
            self._cluster.causes.clear()
            return DELIVERED
        if error.fatal():
            self._producer.forget(producer)
        if error.name() in {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"}:
            self._is_there = False
        return self._cluster.causes.failed(error, "send", elapsed_s)


class _Sending:
    """The records of one call, on their way."""

    def __init__(self, sender: Sender, producer: Any, count: int) -> None:
        self.outcomes: list[Outcome | None] = [None] * count
        self._sender = sender
        self._producer = producer
        self._started_s = sender.now_s()
        self._deadline_s = sender.deadline_s()
        self._pending = 0

    def produce(self, index: int, topic: str, message: Message) -> None:
        from confluent_kafka import KafkaException

        self._pending += 1
        put = partial(
            self._producer.produce,
            topic,
            value=message.body,
            key=message.group or None,
            headers=_headers(message),
            on_delivery=partial(self._told, index),
        )
        while True:
            try:
                put()
            except BufferError:  # librdkafka's own queue is full: let it send
                if self._sender.now_s() < self._deadline_s:
                    self._producer.poll(POLL_S)
                    continue
                self._told(index, _queue_full(), None)
            except KafkaException as error:
                self._told(index, error.args[0], None)
            return

    def finished(self) -> Sequence[Outcome]:
        """Wait until all are told of. Callbacks may also run in another thread's poll."""
        while self._pending and self._sender.now_s() < self._deadline_s:
            self._producer.poll(POLL_S)
        late = None
        for index, outcome in enumerate(self.outcomes):
            if outcome is None:
                late = late or self._outcome(timed_out())
                self.outcomes[index] = late
        return [outcome for outcome in self.outcomes if outcome is not None]

    def _told(self, index: int, error: Any, _record: Any) -> None:
        self._pending -= 1
        self.outcomes[index] = self._outcome(error)

    def _outcome(self, error: Any) -> Outcome:
        elapsed_s = self._sender.now_s() - self._started_s
        return self._sender.outcome_of(error, elapsed_s, self._producer)


def _checked(message: Message) -> Failed | None:
    """Why it cannot go, before anything is tried."""
    size = size_of(message)
    if size > MESSAGE_BYTES_MAX:
        detail = f"a record of {size} bytes, of at most {MESSAGE_BYTES_MAX}"
        return refused("send", Fault.TOO_LARGE, "MSG_SIZE_TOO_LARGE", detail, final=True)
    if message.delay_s > 0:
        detail = "Kafka delays no record"
        return refused("send", Fault.MALFORMED, "DELAY_NOT_SUPPORTED", detail, final=True)
    return None


def size_of(message: Message) -> int:
    """Bytes of body, key and headers."""
    headers = sum(len(name.encode()) + len(value) for name, value in _headers(message))
    return len(message.body) + len(message.group.encode()) + headers


def _headers(message: Message) -> list[tuple[str, bytes]]:
    headers = [(name, _bytes(value)) for name, value in message.attributes.items()]
    if message.content_type:
        headers.append((CONTENT_TYPE, message.content_type.encode()))
    if message.message_id:
        headers.append((MESSAGE_ID, message.message_id.encode()))
    return headers


def _bytes(value: AttributeValue) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def timed_out() -> Any:
    from confluent_kafka import KafkaError

    return KafkaError(KafkaError._MSG_TIMED_OUT)


def _queue_full() -> Any:
    from confluent_kafka import KafkaError

    return KafkaError(KafkaError._QUEUE_FULL)
