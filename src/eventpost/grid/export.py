"""Dead letters on their way to files: what waits for one subscription is written together."""

from typing import TYPE_CHECKING

from eventpost.core.interfaces import (
    AttemptRecord,
    DeadLetter,
    DeadLetterPlace,
    DeadLetterQuery,
    DeadLetterState,
    FileWritten,
    ReadFailed,
)
from eventpost.core.outcomes import Failed
from eventpost.core.retry import delay_ms
from eventpost.core.subscriptions import RetryPolicy, Subscription, Topic
from eventpost.formats import deadletters as formats

if TYPE_CHECKING:
    from eventpost.grid.engine import Engine

RETRY = RetryPolicy()
"""A file that cannot be written is tried again on the default schedule, without end."""
ANY_TIME_MS = 1 << 62
"""What waits is due, also when the clock was set back since it fell."""


class Exports:
    """All calls on the grid's thread. At most one file per subscription is being written."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._expected: set[int] = set()
        """Subscriptions that are looked at before long."""
        self._busy: set[int] = set()
        """Those whose dead letters are being read, written, or told to be written."""
        self.failures: dict[int, AttemptRecord] = {}
        """By subscription id: the last try, where it failed."""

    def expect(self, subscription: Subscription) -> None:
        """A dead letter of the subscription fell; a file follows after a little company."""
        self._schedule(subscription.id, self._engine.limits.export_delay_s)

    def _schedule(self, subscription_id: int, delay_s: float) -> None:
        if subscription_id not in self._expected:
            self._expected.add(subscription_id)
            self._engine.clock.call_later(delay_s, self._collect, subscription_id)

    def _collect(self, subscription_id: int) -> None:
        self._expected.discard(subscription_id)
        if subscription_id in self._busy:
            self._schedule(subscription_id, self._engine.limits.export_delay_s)
            return
        self._busy.add(subscription_id)
        # What fell before is on disk then, and is read. What falls from now on is expected anew.
        self._engine.journal.wait(lambda _: self._read(subscription_id))

    def _read(self, subscription_id: int) -> None:
        if self._engine.is_stopped:
            return
        query = DeadLetterQuery(
            subscription_id=subscription_id,
            is_replayed=None,
            export_due_ms=ANY_TIME_MS,
            limit=self._engine.limits.export_events_max,
        )
        self._engine.store.dead_letters(
            query, lambda letters: self._collected(subscription_id, letters)
        )

    def _collected(self, subscription_id: int, letters: list[DeadLetter] | ReadFailed) -> None:
        subscription = self._engine.subscriptions.get(subscription_id)
        if self._engine.is_stopped or subscription is None or subscription.deadletter is None:
            self._busy.discard(subscription_id)
            self.failures.pop(subscription_id, None)
        elif isinstance(letters, ReadFailed):
            self._engine.read_failed(letters)
            self._again(subscription_id, 1.0)
        elif letters:
            place = DeadLetterPlace(
                address=subscription.deadletter, connection=subscription.deadletter_connection
            )
            self._write(subscription, place, letters)
        else:
            self._busy.discard(subscription_id)

    def _again(self, subscription_id: int, delay_s: float) -> None:
        self._busy.discard(subscription_id)
        self._schedule(subscription_id, delay_s)

    def _write(
        self, subscription: Subscription, place: DeadLetterPlace, letters: list[DeadLetter]
    ) -> None:
        topic = self._engine.topics[subscription.topic_id]
        objects: list[bytes] = []
        size = 1
        for letter in letters:
            encoded = formats.encode(letter, topic.input_schema)
            size += len(encoded) + 1
            if objects and size > self._engine.limits.export_bytes_max:
                break
            objects.append(encoded)
        written = letters[: len(objects)]
        now_ms = self._engine.clock.now_ms()
        path = formats.path(
            subscription.name,
            now_ms,
            self._engine.new_event_id(),
            pulled_from=topic.name if subscription.endpoint.is_pulled else None,
        )
        body = formats.file(objects)
        self._engine.files.write(
            place,
            path,
            body,
            lambda result: self._written(subscription, topic, written, len(body), result),
        )

    def _written(
        self,
        subscription: Subscription,
        topic: Topic,
        letters: list[DeadLetter],
        size: int,
        result: FileWritten | Failed,
    ) -> None:
        if self._engine.is_stopped:
            return
        now_ms = self._engine.clock.now_ms()
        if isinstance(result, Failed):
            wait_ms = self._note(subscription, result, now_ms)
            self._engine.export_failed(subscription, result.evidence, wait_ms)
            self._again(subscription.id, wait_ms / 1000)
            return
        self.failures.pop(subscription.id, None)
        states = self._engine.journal.open.dead_states
        for letter in letters:
            states.append(DeadLetterState(id=letter.id, export_due_ms=0, exported_to=result.url))
        event = formats.written(
            result,
            topic=topic.name,
            subscription=subscription.name,
            topic_resource=self._engine.notices_resource,
            event_id=self._engine.new_event_id(),
            now_ms=now_ms,
            content_length=size,
            event_count=len(letters),
        )
        self._engine.dead_letters.publish_notice(event)
        self._engine.journal.wait(lambda _: self._again(subscription.id, 0.0))

    def _note(self, subscription: Subscription, failed: Failed, now_ms: int) -> int:
        """Remember a try that failed; milliseconds until the next one."""
        before = self.failures.get(subscription.id)
        count = 1 if before is None else before.attempt + 1
        wait_ms = delay_ms(RETRY, count, failed, self._engine.random.random())
        self.failures[subscription.id] = AttemptRecord(
            topic_id=subscription.topic_id,
            subscription_id=subscription.id,
            partition=0,
            position=-1,
            attempt=count,
            at_ms=now_ms,
            finding=self._engine.classify(failed.evidence),
            evidence=failed.evidence,
            next_ms=now_ms + wait_ms,
        )
        return wait_ms
