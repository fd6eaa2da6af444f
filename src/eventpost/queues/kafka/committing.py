"""Committing what is finished, on the thread that polls and without keeping it.

Layer: queues. confluent-kafka lets no other thread in while one polls: who settles leaves a wish,
and waits until the polling thread has had it answered.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Received, Settled, Verdict
from eventpost.queues.kafka.assigned import Assigned
from eventpost.queues.kafka.clients import Cluster
from eventpost.queues.kafka.commits import AGAIN, Commits, Wish
from eventpost.queues.kafka.producing import timed_out
from eventpost.queues.kafka.records import Place, receipt_of

GRACE_S = 1.0
COMMIT_S_MAX = 120.0
"""A commit that was not answered for so long is thought lost: librdkafka gives up long before."""
_GONE = frozenset({"UNKNOWN_MEMBER_ID", "FENCED_INSTANCE_ID", "_STATE"})
"""Commits that are refused because we are no member of the group any more."""


class Committing:
    """Of one reader, with its lock."""

    def __init__(
        self,
        cluster: Cluster,
        assigned: Assigned,
        changed: threading.Condition,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._cluster = cluster
        self._assigned = assigned
        self._changed = changed
        self._monotonic_s = monotonic_s
        self._commits = Commits()
        self._owed_count = 0
        """Answers to come: also to commits that were recalled, for which nobody waits."""

    # --- for whoever holds the lock ---------------------------------------------------------------

    def wait(self, finished: Sequence[Received]) -> Mapping[Place, Verdict]:
        """Wait until what is finished of their partitions is committed."""
        if not finished:
            return {}
        began_s = self._monotonic_s()
        wish = self.want(finished)
        wait_s = self._cluster.request_s + GRACE_S
        self._changed.wait_for(lambda: wish.is_answered, wait_s)
        if not wish.is_answered:
            self._commits.forget(wish)
            elapsed_s = self._monotonic_s() - began_s
            failure = self._cluster.failed(timed_out(), "settle", elapsed_s)
            for place in list(wish.left):
                wish.answer(place, failure)
        return wish.answers

    def want(self, finished: Sequence[Received]) -> Wish:
        receipts = [receipt_of(one) for one in finished]
        self._changed.notify_all()  # the thread may wait for room
        return self._commits.want({one.place: one.generation for one in receipts})

    @property
    def is_wanted(self) -> bool:
        """Whether there is a commit to begin."""
        return self._commits.is_wanted

    @property
    def is_under_way(self) -> bool:
        return bool(self._commits.marks)

    @property
    def is_owed(self) -> bool:
        """Whether brokers have not answered each commit yet."""
        return self._owed_count > 0

    @property
    def is_pending(self) -> bool:
        """Whether there is a commit to begin, or an answer to come."""
        return self.is_wanted or self.is_under_way or self.is_owed

    def reset(self) -> None:
        """The consumer is gone: what nobody has committed is lost to us."""
        self._commits.reset()
        self._owed_count = 0

    # --- for the polling thread -------------------------------------------------------------------

    def begin(self, consumer: Any) -> None:
        """Begin the commit that somebody waits for. Waits for nothing: see `answered`."""
        now_s = self._monotonic_s()
        with self._changed:
            if self._commits.age_s(now_s) > COMMIT_S_MAX:
                self._commits.recall()
        self._commit(consumer, now_s)

    def begin_anew(self, consumer: Any) -> None:
        """The same, also while a commit is under way: partitions go, and what was finished since
        cannot be committed later. librdkafka lets them go when this one is answered."""
        with self._changed:
            self._commits.recall()
        self._commit(consumer, self._monotonic_s())

    def answered(self, error: Any, partitions: list[Any]) -> None:
        """librdkafka's callback, within `poll`."""
        marks = {place_of(one): (one.offset, one.metadata or "") for one in partitions}
        errors = {place_of(one): one.error or error for one in partitions}
        failures = {place: self._failed(one) for place, one in errors.items() if one is not None}
        with self._changed:
            self._owed_count -= 1
            is_awaited = marks == self._commits.marks
        if is_awaited:
            self._answer(failures)

    def _commit(self, consumer: Any, now_s: float) -> None:
        with self._changed:
            marks = self._commits.begin(self._assigned, now_s)
            self._changed.notify_all()
        if not marks:
            return
        wanted = [_mark(place, *mark) for place, mark in sorted(marks.items())]
        answer = self._cluster.attempt(
            "settle", lambda: consumer.commit(offsets=wanted, asynchronous=True)
        )
        if isinstance(answer, Failed):
            self._answer(dict.fromkeys(marks, answer))
        else:
            self._owed_count += 1

    def _failed(self, error: Any) -> Failed:
        elapsed_s = self._commits.age_s(self._monotonic_s())
        return self._cluster.failed(error, "settle", elapsed_s)

    def _answer(self, failures: Mapping[Place, Failed]) -> None:
        again = {place for place, one in failures.items() if one.evidence.code in AGAIN}
        verdicts: dict[Place, Verdict] = {
            place: Settled.LOST if one.evidence.code in _GONE else one
            for place, one in failures.items()
        }
        with self._changed:
            self._commits.done(verdicts, again)
            self._changed.notify_all()


def place_of(partition: Any) -> Place:
    """Of confluent-kafka's TopicPartition."""
    return Place(partition.topic, partition.partition)


def _mark(place: Place, offset: int, metadata: str) -> Any:
    from confluent_kafka import TopicPartition

    return TopicPartition(*place, offset, metadata=metadata)
