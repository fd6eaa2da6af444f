"""Receiving as a member of a group: one thread polls, whoever asks takes.

Layer: queues. The committed offset moves over a finished prefix only (`offsets`). The thread polls
on while work is done, so that the group never takes slow work for a dead consumer, and pauses what
has enough in hand. It never waits for a commit without an end: a broker that is away, or that lets
nobody in, would keep it from polling, and from ending.
"""

import threading
from collections.abc import Sequence
from typing import Any

import msgspec

from eventpost.core.outcomes import Evidence, Failed, Fault, Outcome, Stage
from eventpost.queues.interfaces import Received, Settled, Verdict
from eventpost.queues.kafka import topics
from eventpost.queues.kafka.assigned import Assigned
from eventpost.queues.kafka.clients import Cluster
from eventpost.queues.kafka.committing import Committing, place_of
from eventpost.queues.kafka.copies import WAIT_S_MIN
from eventpost.queues.kafka.records import Place, receipt_of, received
from eventpost.queues.kafka.refusals import DETAIL_CHARS_MAX, closed
from eventpost.queues.kafka.retrying import Retrying
from eventpost.queues.kafka.settings import RELEASE_DELAY_S_MAX, SYSTEM, Options
from eventpost.queues.kinds import Services

POLL_S = 0.05
BUSY_POLL_S = 0.005
"""The same while there is something to do: a commit waits for the end of a poll."""
BUSY_S = 1.0
"""How long it is thought busy after the last record, release or commit."""
FULL_S = 0.02
ANSWER_S = 0.001
"""How often it is polled while there is no room: for whatever may be, and for a commit's answer."""
PAUSE_AFTER_S = 1.0
"""When nobody takes what is ready for so long, partitions are paused. Not at once: what librdkafka
has fetched of a paused partition is thrown away, and fetched again."""
FAILURE_S = 15.0
"""How long a failure is told without being seen again."""
AGAIN_S = 1.0
"""Between two attempts at a consumer that cannot be made."""
LEAVE_S_MAX = 10.0
"""How long a consumer that ends waits for its last commits."""
JOIN_S = 15.0
PAGE_MAX = 500
MOVE_AGAIN_MS = 5_000
"""Until a copy is moved again that could not be."""


class Reader:
    """Any thread; the consumer itself is polled by one of its own, which begins with the first
    `receive`."""

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        options: Options,
        services: Services,
        retrying: Retrying | None,
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._options = options
        self._retrying = retrying
        self._monotonic_s = services.monotonic_s
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._assigned = Assigned(options)
        self._committing = Committing(cluster, self._assigned, self._changed, self._monotonic_s)
        self._failure: tuple[float, Failed] | None = None
        self._wakes = 0
        self._is_closed = False
        self._busy_s = self._room_s = self._monotonic_s()
        self._are_all_paused = False

    # --- from the callers -------------------------------------------------------------------------

    def receive(self, count_max: int, wait_s: float) -> list[Received] | Failed:
        end_s = self._monotonic_s() + wait_s
        ready = self._assigned
        with self._changed:
            self._begin()
            wakes = self._wakes
            while not self._is_closed and not ready.ready:
                failure = self._present_failure()
                if failure is not None:
                    return failure
                left_s = end_s - self._monotonic_s()
                if left_s <= 0 or wakes != self._wakes:
                    return []
                self._changed.wait(min(left_s, 1.0))
            if self._is_closed:
                return closed("receive")
            return [ready.ready.popleft() for _ in range(min(count_max, len(ready.ready)))]

    def settle(self, held: Sequence[Received]) -> Sequence[Verdict]:
        """Durable when `DONE` is returned: the brokers have the offset, and beside it what is
        finished above it."""
        with self._changed:
            if self._is_closed:
                return [closed("settle")] * len(held)
            self._busy_s = self._monotonic_s()
            is_ours = [self._assigned.finish(one) for one in held]
            finished = [one for one, ours in zip(held, is_ours, strict=True) if ours]
            answers = self._committing.wait(finished)
        return [
            answers[receipt_of(one).place] if ours else Settled.LOST
            for one, ours in zip(held, is_ours, strict=True)
        ]

    def release(self, held: Sequence[Received], delay_s: float) -> Sequence[Verdict]:
        """With a retry topic `DONE` means that the copy is there; else, that it waits in memory."""
        with self._changed:
            if self._is_closed:
                return [closed("release")] * len(held)
            is_held = [self._assigned.holds(one) for one in held]
            if self._retrying is None:
                self._keep(
                    [one for one, is_ours in zip(held, is_held, strict=True) if is_ours], delay_s
                )
                return [Settled.DONE if is_ours else Settled.LOST for is_ours in is_held]
        ours = [one for one, is_ours in zip(held, is_held, strict=True) if is_ours]
        outcomes = iter(self._retrying.append(ours, delay_s))
        with self._changed:
            return [
                self._released(one, next(outcomes)) if is_ours else Settled.LOST
                for one, is_ours in zip(held, is_held, strict=True)
            ]

    def fetched(self) -> dict[int, int]:
        """The next offset of each partition that is ours, where one is known."""
        with self._changed:
            return self._assigned.fetched(self._topic)

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

    def _want(self, one: Received) -> None:
        """Have it committed; nobody waits for that."""
        self._busy_s = self._monotonic_s()
        self._committing.want([one])

    def _keep(self, held: Sequence[Received], delay_s: float) -> None:
        """Without a retry topic: in memory, where they hold their offsets back."""
        due_s = self._monotonic_s() + min(delay_s, RELEASE_DELAY_S_MAX)
        for one in held:
            again = msgspec.structs.replace(one)
            if delay_s <= 0:
                self._assigned.ready.append(again)
            else:
                self._assigned.released.put(due_s, again)
        self._changed.notify_all()

    def _released(self, one: Received, outcome: Outcome) -> Verdict:
        """Nobody waits for the commit: the copy is there, whatever becomes of it."""
        if isinstance(outcome, Failed):
            return outcome
        if self._assigned.finish(one):
            self._want(one)
        return Settled.DONE

    # --- the thread -------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._thread is None and not self._is_closed:
            name = f"eventpost-kafka-{self._topic}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._is_closed:
            failure = self._consume()
            if failure is not None:
                self._fail(failure)
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closed, AGAIN_S)

    def _consume(self) -> Failed | None:
        """With one consumer, to its end. What nobody foresaw must not end the thread: nothing would
        come any more, and nobody would be told. Nothing holds the consumer when this returns."""
        consumer = self._cluster.attempt("receive", self._new_consumer)
        if isinstance(consumer, Failed):
            return consumer
        failure: Failed | None = None
        for part in (self._poll, self._leave):
            try:
                part(consumer)
            except Exception as error:  # noqa: BLE001 - a border: records and callbacks of any kind
                failure = failure or _unforeseen(error)
        self._cluster.ended(consumer)
        return failure

    def _poll(self, consumer: Any) -> None:
        """Until closed, or until the consumer cannot live on."""
        while not self._is_closed and not self._cluster.is_outdated(consumer):
            self._regulate(consumer)
            self._committing.begin(consumer)
            message = consumer.poll(self._wait_s())
            if message is not None:
                # Taken before more are asked for: a partition may go and come back meanwhile.
                if self._is_fatal(message):
                    return
                room = min(self._assigned.room, PAGE_MAX)
                for one in consumer.consume(room, 0) if room else ():
                    if self._is_fatal(one):
                        return
            self._bring_back()

    def _leave(self, consumer: Any) -> None:
        """What was finished is committed on the way out. librdkafka's own way would wait for the
        answer to a commit, and send it anew for as long as no broker lets us in:
        without an answer the consumer is dropped, which sends nothing, and the group gives its
        partitions away when its session is over."""
        try:
            end_s = self._monotonic_s() + LEAVE_S_MAX
            while self._committing.is_pending and self._monotonic_s() < end_s:
                self._committing.begin(consumer)
                consumer.poll(BUSY_POLL_S)
        finally:
            is_answered = not self._committing.is_owed
            with self._changed:
                self._assigned.clear()
                self._committing.reset()
                self._changed.notify_all()
        if is_answered:
            consumer.close()

    def _new_consumer(self) -> Any:
        from confluent_kafka import Consumer

        missing = topics.missing(self._cluster, self._topic, self._options, "receive")
        if missing is None and self._retrying is not None:
            missing = self._retrying.prepare("receive")
        if missing is not None:
            return missing
        options = self._options
        consumer = self._cluster.made(
            Consumer,
            **{
                "group.id": options.group,
                "auto.offset.reset": options.start,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": options.session_timeout_ms,
                "heartbeat.interval.ms": min(3_000, options.session_timeout_ms // 3),
                "error_cb": self._on_error,
                "on_commit": self._committing.answered,
            },
        )
        consumer.subscribe(
            [self._topic] if self._retrying is None else [self._topic, self._retrying.topic],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )
        return consumer

    def _wait_s(self) -> float:
        """How long to poll. While there is no room it is waited here, and polled for what is not a
        record: at most one record comes along."""
        now_s = self._monotonic_s()
        if now_s - self._busy_s > BUSY_S:
            return POLL_S
        with self._changed:
            if self._assigned.room or self._are_all_paused:
                return BUSY_POLL_S
            wait_s = ANSWER_S if self._committing.is_under_way else FULL_S
            self._changed.wait_for(lambda: self._is_closed or self._committing.is_wanted, wait_s)
            return 0.0

    def _regulate(self, consumer: Any) -> None:
        """Pause partitions that have enough in hand, and go on with those that have not."""
        now_s = self._monotonic_s()
        with self._changed:
            if self._assigned.room:
                self._room_s = now_s
            self._are_all_paused = now_s - self._room_s > PAUSE_AFTER_S
            pausing, resuming = self._assigned.pauses(are_all=self._are_all_paused)
        if pausing:
            consumer.pause(_partitions(pausing))
        if resuming:
            consumer.resume(_partitions(resuming))

    def _is_fatal(self, message: Any) -> bool:
        """Take a message. True when it is an error that the consumer does not outlive."""
        error = message.error()
        if error is None:
            self._take(message)
            return False
        if error.name() == "_PARTITION_EOF":
            return False
        self._fail(self._cluster.failed(error, "receive"))
        return bool(error.fatal())

    def _take(self, message: Any) -> None:
        self._cluster.causes.clear()
        self._busy_s = self._monotonic_s()
        with self._changed:
            self._failure = None
            generation = self._assigned.generation(Place(message.topic(), message.partition()))
            if generation is None:
                return
            is_copy = message.topic() != self._topic
            one = received(message, generation, is_copy=is_copy)
            if self._assigned.take(one):
                self._sort(one)

    # --- copies that wait -------------------------------------------------------------------------

    def _sort(self, one: Received) -> None:
        """What becomes of a record now: it may be taken, or waits, or goes on to a shorter wait."""
        origin = receipt_of(one).origin
        if origin is None or self._retrying is None:
            self._ready(one)
            return
        now_ms = self._retrying.now_ms()
        if not self._retrying.is_ours(origin):
            self._assigned.finish(one)
            self._want(one)
        elif origin.due_ms <= now_ms:
            self._ready(one)
        elif origin.look_ms > now_ms:
            self._assigned.sleep(origin.look_ms, one)
        elif origin.due_ms - now_ms < WAIT_S_MIN * 1000:
            self._assigned.wait(origin.due_ms, one)
        else:
            self._retrying.move(one, lambda outcome: self._moved(one, outcome))

    def _moved(self, one: Received, outcome: Outcome) -> None:
        with self._changed:
            if isinstance(outcome, Failed):
                assert self._retrying is not None
                self._fail(outcome)
                self._assigned.wait(self._retrying.now_ms() + MOVE_AGAIN_MS, one)
            elif self._assigned.finish(one):
                self._want(one)

    def _bring_back(self) -> None:
        """What was given back, or waited in a retry topic, and is due."""
        with self._changed:
            if self._assigned.released:
                for one in self._assigned.released.take(self._monotonic_s()):
                    self._ready(one)
            if self._retrying is not None and self._assigned.later:
                for one in self._assigned.wake(self._retrying.now_ms()):
                    self._sort(one)
        if self._retrying is not None:
            self._retrying.poll()

    def _ready(self, one: Received) -> None:
        self._assigned.ready.append(one)
        self._changed.notify_all()

    # --- failures ---------------------------------------------------------------------------------

    def _on_error(self, error: Any) -> None:
        self._cluster.causes.error_cb(error)
        if error.name() in {"_ALL_BROKERS_DOWN", "_AUTHENTICATION", "_SSL", "_RESOLVE"}:
            self._fail(self._cluster.failed(error, "receive"))

    def _fail(self, failure: Failed) -> None:
        with self._changed:
            self._failure = (self._monotonic_s(), failure)
            self._changed.notify_all()

    def _present_failure(self) -> Failed | None:
        if self._failure is None or self._monotonic_s() - self._failure[0] > FAILURE_S:
            return None
        return self._cluster.explained(self._failure[1])

    # --- partitions that come and go --------------------------------------------------------------

    def _on_assign(self, consumer: Any, partitions: list[Any]) -> None:
        """In the polling thread, within `poll`."""
        known = self._cluster.attempt(
            "receive", lambda: consumer.committed(partitions, self._cluster.request_s)
        )
        # Without an answer what is finished above the offset is not known: it is taken again.
        marks = [(place_of(one), -1, None) for one in partitions]
        if not isinstance(known, Failed):
            marks = [(place_of(one), one.offset, one.metadata) for one in known]
        with self._changed:
            if partitions:
                self._failure = None
            self._assigned.gain(marks)

    def _on_revoke(self, consumer: Any, partitions: list[Any]) -> None:
        """What waits to be committed of them is committed now: nobody else can."""
        self._committing.begin_anew(consumer)
        with self._changed:
            self._assigned.lose([place_of(one) for one in partitions])

    def _on_lost(self, _consumer: Any, partitions: list[Any]) -> None:
        """Somebody else has them already."""
        with self._changed:
            self._assigned.lose([place_of(one) for one in partitions])


def _unforeseen(error: Exception) -> Failed:
    return Failed(
        Evidence(
            stage=Stage.WAIT,
            fault=Fault.UNEXPECTED,
            system=SYSTEM,
            operation="receive",
            detail=f"{type(error).__name__}: {error}"[:DETAIL_CHARS_MAX],
        )
    )


def _partitions(places: set[Place]) -> list[Any]:
    from confluent_kafka import TopicPartition

    return [TopicPartition(*place) for place in sorted(places)]
