"""Sending records: an idempotent producer, and one outcome for each record.

Layer: queues. `Delivered` means that the brokers acknowledged the record as `acks` asks. A record
whose time ran out may have been stored all the same: to send it again may store it twice, for the
producer's idempotence covers its own retries only.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from eventpost.core.outcomes import DELIVERED, Failed, Fault, Outcome
from eventpost.queues.interfaces import Message
from eventpost.queues.kafka import topics
from eventpost.queues.kafka.clients import Cluster, Made
from eventpost.queues.kafka.outgoing import Record, record
from eventpost.queues.kafka.refusals import refused
from eventpost.queues.kafka.settings import MESSAGE_BYTES_MAX, OVERHEAD_BYTES, Options

POLL_S = 0.05
GRACE_S = 1.0
"""Beyond the records' own time: librdkafka looks at it about once a second."""
PURGE_S_MAX = 0.1


class Sender:
    """Messages to one topic. Any thread, several at once."""

    def __init__(
        self, cluster: Cluster, topic: str, options: Options, monotonic_s: Callable[[], float]
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._options = options
        self._producing = Producing(cluster, "send", cluster.connection.acks, monotonic_s)
        self._is_there = False

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        mode = self._options.content_mode
        entries = [record(self._topic, message, mode) for message in messages]
        if any(isinstance(one, Record) for one in entries) and not self._is_there:
            failure = self._producing.closed() or self._missing()
            if failure is not None:
                return [one if isinstance(one, Failed) else failure for one in entries]
            self._is_there = True
        outcomes = self._producing.put(entries)
        if any(is_unknown_topic(one) for one in outcomes):
            self._is_there = False
        return outcomes

    def close(self) -> None:
        self._producing.close()

    def _missing(self) -> Failed | None:
        return topics.missing(self._cluster, self._topic, self._options, "send")


class Producing:
    """One producer, and the records of each call on their way. Any thread, several at once."""

    def __init__(
        self, cluster: Cluster, operation: str, acks: str, monotonic_s: Callable[[], float]
    ) -> None:
        self._cluster = cluster
        self._operation = operation
        self._acks = acks
        self._monotonic_s = monotonic_s
        self._producer: Made[Any] = Made(self._new_producer)
        self._is_closed = False

    def put(self, entries: Sequence[Record | Failed]) -> list[Outcome]:
        """Send those that are records, and wait until all are told of."""
        if not any(isinstance(one, Record) for one in entries):
            return [one for one in entries if isinstance(one, Failed)]
        producer = self.closed() or self._cluster.attempt(self._operation, self._producer.get)
        if isinstance(producer, Failed):
            return [one if isinstance(one, Failed) else producer for one in entries]
        sending = _Sending(self, producer, entries)
        outcomes = sending.finished()
        if any(isinstance(one, Failed) for one in outcomes) and self._cluster.is_outdated(producer):
            self._forget(producer)
        return outcomes

    def begin(self, record: Record, told: Callable[[Outcome], None]) -> None:
        """Send one and wait for nothing; `told` is called by `poll` or `put`, of whatever thread,
        or at once when it cannot go."""
        producer = self.closed() or self._cluster.attempt(self._operation, self._producer.get)
        if isinstance(producer, Failed):
            told(producer)
            return
        began_s = self._monotonic_s()

        def heard(error: Any, _record: object = None) -> None:
            told(self.outcome_of(error, self._monotonic_s() - began_s, producer))

        failure = put_one(producer, record, heard)
        if failure is not None:
            heard(failure)

    def poll(self) -> None:
        producer = self._producer.present
        if producer is not None:
            producer.poll(0)

    def closed(self) -> Failed | None:
        if not self._is_closed:
            return None
        return refused(self._operation, Fault.CLOSED, "CLOSED", "the queue was closed here")

    def close(self) -> None:
        self._is_closed = True
        producer = self._producer.present
        if producer is not None:
            self._forget(producer)

    def _forget(self, producer: Any) -> None:
        """The next call makes another. What this one still holds is told of, and not sent."""
        self._producer.forget(producer)
        self._cluster.ended(producer)
        producer.purge(blocking=False)
        producer.flush(PURGE_S_MAX)

    def _new_producer(self) -> Any:
        from confluent_kafka import Producer

        connection = self._cluster.connection
        return self._cluster.made(
            Producer,
            **{
                "acks": self._acks,
                "enable.idempotence": self._acks == "all",
                "retries": connection.retries,
                "linger.ms": connection.linger_ms,
                "delivery.timeout.ms": max(connection.request_timeout_ms, connection.linger_ms + 1),
                "message.max.bytes": MESSAGE_BYTES_MAX + OVERHEAD_BYTES,
            },
        )

    # --- for one call -----------------------------------------------------------------------------

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
            self._cluster.ended(producer)
        return self._cluster.failed(error, self._operation, elapsed_s)


def put_one(producer: Any, record: Record, told: Callable[..., None]) -> Any:
    """None when it is on its way, else librdkafka's error; a full queue is one, too."""
    from confluent_kafka import KafkaException

    try:
        producer.produce(
            record.topic,
            value=record.value,
            key=record.key,
            headers=list(record.headers),
            partition=record.partition,
            on_delivery=told,
        )
    except BufferError:
        return queue_full()
    except KafkaException as error:
        return error.args[0]
    return None


class _Sending:
    """The records of one call, on their way."""

    def __init__(
        self, producing: Producing, producer: Any, entries: Sequence[Record | Failed]
    ) -> None:
        self._producing = producing
        self._producer = producer
        self._started_s = producing.now_s()
        self._deadline_s = producing.deadline_s()
        self._pending = 0
        self._outcomes: list[Outcome | None] = [None] * len(entries)
        for index, entry in enumerate(entries):
            if isinstance(entry, Failed):
                self._outcomes[index] = entry
            else:
                self._pending += 1
                self._put(index, entry)

    def _put(self, index: int, record: Record) -> None:
        while True:
            error = put_one(self._producer, record, partial(self._told, index))
            if error is None:
                return
            # librdkafka's own queue may be full: let it send
            if error.name() != "_QUEUE_FULL" or self._producing.now_s() >= self._deadline_s:
                self._told(index, error, None)
                return
            self._producer.poll(POLL_S)

    def finished(self) -> list[Outcome]:
        """Wait until all are told of. Callbacks may also run in another thread's poll."""
        while self._pending and self._producing.now_s() < self._deadline_s:
            self._producer.poll(POLL_S)
        late = None
        for index, outcome in enumerate(self._outcomes):
            if outcome is None:
                late = late or self._outcome(timed_out())
                self._outcomes[index] = late
        return [outcome for outcome in self._outcomes if outcome is not None]

    def _told(self, index: int, error: Any, _record: Any) -> None:
        self._pending -= 1
        self._outcomes[index] = self._outcome(error)

    def _outcome(self, error: Any) -> Outcome:
        elapsed_s = self._producing.now_s() - self._started_s
        return self._producing.outcome_of(error, elapsed_s, self._producer)


def is_unknown_topic(outcome: Outcome) -> bool:
    """Whether a record's topic, or its partition, is not there (any more)."""
    codes = {topics.UNKNOWN, "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"}
    return isinstance(outcome, Failed) and outcome.evidence.code in codes


def timed_out() -> Any:
    from confluent_kafka import KafkaError

    return KafkaError(KafkaError._MSG_TIMED_OUT)


def queue_full() -> Any:
    from confluent_kafka import KafkaError

    return KafkaError(KafkaError._QUEUE_FULL)
