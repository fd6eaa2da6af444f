"""Receiving from one topic as a member of a group: one thread polls, whoever asks takes.

Layer: queues. The committed offset moves over a finished prefix only (`offsets`). What is given
back waits in memory and holds the prefix back; a crash brings it again at once. The thread polls on
while work is done, so that the group never takes slow work for a dead consumer, and pauses what has
enough in hand.
"""

import heapq
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import msgspec

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Received, Settled, Verdict
from eventpost.queues.kafka import topics
from eventpost.queues.kafka.clients import Cluster
from eventpost.queues.kafka.offsets import Track, finished_of
from eventpost.queues.kafka.producing import CONTENT_TYPE, MESSAGE_ID, timed_out
from eventpost.queues.kafka.refusals import closed
from eventpost.queues.kafka.settings import RELEASE_DELAY_S_MAX, Options

POLL_S = 0.05
"""A commit waits for the end of a poll that brings nothing."""
GRACE_S = 1.0
FAILURE_S = 15.0
"""How long a failure is told without being seen again."""
AGAIN_S = 1.0
"""Between two attempts at a consumer that cannot be made."""
JOIN_S = 15.0
_GONE = frozenset({"ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID", "FENCED_INSTANCE_ID", "_STATE"})
"""Commits that are refused because the partition is somebody else's by now."""


class Receipt(msgspec.Struct, frozen=True):
    partition: int
    offset: int
    generation: int


class _Commit:
    """What somebody wants committed, and what came of it."""

    def __init__(self, marks: list[Any]) -> None:
        self.marks = marks
        self.answer: Any = None


class Reader:
    """Any thread; the consumer itself is polled by one of its own, which begins with the first
    `receive`."""

    def __init__(
        self, cluster: Cluster, topic: str, options: Options, monotonic_s: Callable[[], float]
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._options = options
        self._monotonic_s = monotonic_s
        self._changed = threading.Condition()
        self._committing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._consumer: Any = None
        self._generations = count(1)
        self._tracks: dict[int, Track] = {}
        self._ready: deque[Received] = deque()
        self._later: list[tuple[float, int, Received]] = []
        self._order = count()
        self._paused: set[int] = set()
        self._is_full = False
        self._failure: tuple[float, Failed] | None = None
        self._commit_wanted: _Commit | None = None
        self._wakes = 0
        self._is_closed = False

    # --- from the callers -------------------------------------------------------------------------

    def receive(self, count_max: int, wait_s: float) -> list[Received] | Failed:
        end_s = self._monotonic_s() + wait_s
        with self._changed:
            self._begin()
            wakes = self._wakes
            while not self._is_closed and not self._ready:
                failure = self._present_failure()
                if failure is not None:
                    return failure
                left_s = end_s - self._monotonic_s()
                if left_s <= 0 or wakes != self._wakes:
                    return []
                self._changed.wait(min(left_s, 1.0))
            if self._is_closed:
                return closed("receive")
            return [self._ready.popleft() for _ in range(min(count_max, len(self._ready)))]

    def settle(self, held: Sequence[Received]) -> Sequence[Verdict]:
        """Durable when `DONE` is returned: the brokers have the offset, and beside it what is
        finished above it."""
        with self._committing:  # else an older prefix might be committed after a newer one
            with self._changed:
                if self._is_closed:
                    return [closed("settle")] * len(held)
                verdicts: list[Verdict] = [self._finish(one) for one in held]
                partitions = {
                    _receipt(one).partition
                    for one, verdict in zip(held, verdicts, strict=True)
                    if verdict is Settled.DONE
                }
                marks = [self._mark(partition) for partition in sorted(partitions)]
            failures = self._commit(marks) if marks else {}
        return [
            failures.get(_receipt(one).partition, verdict) if verdict is Settled.DONE else verdict
            for one, verdict in zip(held, verdicts, strict=True)
        ]

    def release(self, held: Sequence[Received], delay_s: float) -> Sequence[Verdict]:
        due_s = self._monotonic_s() + min(delay_s, RELEASE_DELAY_S_MAX)
        with self._changed:
            if self._is_closed:
                return [closed("release")] * len(held)
            verdicts: list[Verdict] = []
            for one in held:
                track = self._track(one)
                if track is None or not track.holds(_receipt(one).offset):
                    verdicts.append(Settled.LOST)
                    continue
                again = msgspec.structs.replace(one)
                if delay_s <= 0:
                    self._ready.append(again)
                else:
                    heapq.heappush(self._later, (due_s, next(self._order), again))
                verdicts.append(Settled.DONE)
            self._changed.notify_all()
        return verdicts

    def wake(self) -> None:
        with self._changed:
            self._wakes += 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(JOIN_S)

    # --- the thread -------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._thread is None and not self._is_closed:
            name = f"eventpost-kafka-{self._topic}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._is_closed:
            consumer = self._cluster.attempt("receive", self._new_consumer)
            if isinstance(consumer, Failed):
                self._fail(consumer)
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closed, AGAIN_S)
                continue
            self._consumer = consumer
            is_fatal = self._poll(consumer)
            self._consumer = None
            consumer.close()
            if not is_fatal:
                return

    def _poll(self, consumer: Any) -> bool:
        """Until closed; True when the consumer cannot live on."""
        while not self._is_closed:
            self._regulate(consumer)
            self._serve_commit(consumer)
            message = consumer.poll(POLL_S)
            found = [] if message is None else [message, *consumer.consume(self._room(), 0)]
            for one in found:
                if one.error() is None:
                    self._take(one)
                elif self._was_refused(one.error()):
                    return True
            self._bring_back()
        return False

    def _new_consumer(self) -> Any:
        from confluent_kafka import Consumer

        missing = topics.missing(self._cluster, self._topic, self._options, "receive")
        if missing is not None:
            return missing
        options = self._options
        consumer = Consumer(
            self._cluster.settings(
                **{
                    "group.id": options.group,
                    "auto.offset.reset": options.start,
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "partition.assignment.strategy": "cooperative-sticky",
                    "session.timeout.ms": options.session_timeout_ms,
                    "heartbeat.interval.ms": min(3_000, options.session_timeout_ms // 3),
                    "error_cb": self._on_error,
                }
            )
        )
        consumer.subscribe(
            [self._topic],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._revoked,
        )
        return consumer

    def _room(self) -> int:
        return max(1, min(self._options.prefetch - len(self._ready), 500))

    def _regulate(self, consumer: Any) -> None:
        """Pause partitions that have enough in hand, and go on with those that have not."""
        options = self._options
        with self._changed:
            ready = len(self._ready)
            self._is_full = ready >= (options.prefetch // 2 if self._is_full else options.prefetch)
            wanted = {
                partition
                for partition, track in self._tracks.items()
                if self._is_full or track.unfinished >= options.unfinished_max
            }
            pausing, resuming = wanted - self._paused, self._paused - wanted
            self._paused = wanted
        if pausing:
            consumer.pause(self._places(pausing))
        if resuming:
            consumer.resume(self._places(resuming))

    def _take(self, message: Any) -> None:
        self._cluster.causes.clear()
        with self._changed:
            self._failure = None
            track = self._tracks.get(message.partition())
            if track is not None and track.take(message.offset()):
                self._ready.append(_received(message, track.generation))
                self._changed.notify_all()

    def _bring_back(self) -> None:
        """What was given back and is due again."""
        if not self._later:
            return
        with self._changed:
            while self._later and self._later[0][0] <= self._monotonic_s():
                one = heapq.heappop(self._later)[2]
                if self._track(one) is not None:
                    self._ready.append(one)
                    self._changed.notify_all()

    # --- failures ---------------------------------------------------------------------------------

    def _on_error(self, error: Any) -> None:
        causes = self._cluster.causes
        causes.error_cb(error)
        if error.name() in {"_ALL_BROKERS_DOWN", "_AUTHENTICATION", "_SSL", "_RESOLVE"}:
            self._fail(causes.failed(error, "receive"))

    def _was_refused(self, error: Any) -> bool:
        """Whether a message's error is the end of the consumer."""
        if error.name() == "_PARTITION_EOF":
            return False
        self._fail(self._cluster.causes.failed(error, "receive"))
        return bool(error.fatal())

    def _fail(self, failure: Failed) -> None:
        with self._changed:
            self._failure = (self._monotonic_s(), failure)
            self._changed.notify_all()

    def _present_failure(self) -> Failed | None:
        if self._failure is None or self._monotonic_s() - self._failure[0] > FAILURE_S:
            return None
        return self._failure[1]

    # --- partitions that come and go --------------------------------------------------------------

    def _assigned(self, consumer: Any, places: list[Any]) -> None:
        """In the polling thread, within `poll`."""
        generation = next(self._generations)
        known = self._cluster.attempt(
            "receive", lambda: consumer.committed(places, self._cluster.request_s)
        )
        committed = {} if isinstance(known, Failed) else {one.partition: one for one in known}
        with self._changed:
            self._failure = None
            for place in places:
                mark = committed.get(place.partition)
                if mark is None or mark.offset < 0:
                    self._tracks[place.partition] = Track(generation)
                else:
                    finished = finished_of(mark.offset, mark.metadata)
                    self._tracks[place.partition] = Track(generation, mark.offset, finished)

    def _revoked(self, _consumer: Any, places: list[Any]) -> None:
        """What of them is in hand is lost to us: whoever gets the partition takes it again."""
        with self._changed:
            for place in places:
                self._tracks.pop(place.partition, None)
                self._paused.discard(place.partition)
            self._ready = deque(one for one in self._ready if self._track(one) is not None)

    # --- offsets ----------------------------------------------------------------------------------

    def _track(self, one: Received) -> Track | None:
        """The partition it came of, if it has been ours all the time since."""
        receipt = _receipt(one)
        track = self._tracks.get(receipt.partition)
        return track if track is not None and track.generation == receipt.generation else None

    def _finish(self, one: Received) -> Settled:
        track = self._track(one)
        if track is None:
            return Settled.LOST
        track.finish(_receipt(one).offset)
        return Settled.DONE

    def _mark(self, partition: int) -> Any:
        from confluent_kafka import TopicPartition

        track = self._tracks[partition]
        return TopicPartition(self._topic, partition, track.prefix, metadata=track.metadata())

    def _commit(self, marks: list[Any]) -> dict[int, Verdict]:
        """Have the polling thread commit, and wait for it; what went wrong, by partition.

        confluent-kafka lets no other thread in while one polls: a commit from here would wait until
        the consumer is closed."""
        if self._consumer is None:
            return {mark.partition: Settled.LOST for mark in marks}
        began_s = self._monotonic_s()
        commit = _Commit(marks)
        with self._changed:
            self._commit_wanted = commit
            wait_s = self._cluster.request_s + GRACE_S
            self._changed.wait_for(lambda: commit.answer is not None or self._is_closed, wait_s)
            self._commit_wanted = None
        elapsed_s = self._monotonic_s() - began_s
        answer = commit.answer
        if answer is None:
            failure = self._cluster.causes.failed(timed_out(), "settle", elapsed_s)
            return {mark.partition: failure for mark in marks}
        if isinstance(answer, Failed):
            return {mark.partition: self._judged(answer) for mark in marks}
        return {
            one.partition: self._verdict(one.error, elapsed_s)
            for one in answer
            if one.error is not None
        }

    def _serve_commit(self, consumer: Any) -> None:
        """In the polling thread: the commit that somebody waits for."""
        with self._changed:
            commit, self._commit_wanted = self._commit_wanted, None
        if commit is None:
            return
        answer = self._cluster.attempt(
            "settle", lambda: consumer.commit(offsets=commit.marks, asynchronous=False)
        )
        with self._changed:
            commit.answer = answer
            self._changed.notify_all()

    def _verdict(self, error: Any, elapsed_s: float) -> Verdict:
        return self._judged(self._cluster.causes.failed(error, "settle", elapsed_s))

    def _judged(self, failure: Failed) -> Verdict:
        return Settled.LOST if failure.evidence.code in _GONE else failure

    def _places(self, partitions: set[int]) -> list[Any]:
        from confluent_kafka import TopicPartition

        return [TopicPartition(self._topic, partition) for partition in sorted(partitions)]


def _receipt(one: Received) -> Receipt:
    assert isinstance(one.receipt, Receipt), "received of this adapter"
    return one.receipt


def _received(message: Any, generation: int) -> Received:
    attributes: dict[str, str | bytes] = {}
    for name, value in message.headers() or ():
        attributes[name] = _text(value or b"")
    content_type = attributes.pop(CONTENT_TYPE, "")
    system = {"topic": message.topic(), "partition": str(message.partition())}
    system["offset"] = str(message.offset())
    if message.value() is None:
        system["tombstone"] = "true"
    if MESSAGE_ID in attributes:
        system[MESSAGE_ID] = str(attributes.pop(MESSAGE_ID))
    kind, sent_ms = message.timestamp()
    return Received(
        id=f"{message.topic()}/{message.partition()}/{message.offset()}",
        body=message.value() or b"",
        attributes=attributes,
        system_attributes=system,
        content_type=content_type if isinstance(content_type, str) else "",
        sent_ms=sent_ms if kind else 0,
        group=(message.key() or b"").decode("utf-8", "replace"),
        receipt=Receipt(message.partition(), message.offset(), generation),
    )


def _text(value: bytes) -> str | bytes:
    """Headers are bytes; what is UTF-8 is text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
