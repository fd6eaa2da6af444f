"""What falls off the ladder: a row with its own bytes, a notice, and the way back."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from eventpost.core.errors import Overloaded
from eventpost.core.events import Delivery, Event
from eventpost.core.interfaces import DeadLetter, DeadLetterState, LadderRow, Recovered
from eventpost.core.outcomes import Evidence, outcome_name
from eventpost.core.retry import Reason
from eventpost.formats import deadletters as notices

if TYPE_CHECKING:
    from eventpost.grid.engine import Engine
    from eventpost.grid.lane import Lane

NEVER_ATTEMPTED = "Delivering"
"""`lastDeliveryOutcome` of an event that was given up before any attempt."""


class DeadLetters:
    """All calls on the grid's thread."""

    def __init__(self, engine: "Engine", recovered: Recovered) -> None:
        self._engine = engine
        self._last_id = recovered.dead_letter_id_max
        self._taken: set[int] = set()
        """Ids whose replay or removal waits for its commit."""
        self.counts = dict(recovered.dead_letter_counts)
        """Waiting dead letters by subscription id, replayed ones aside."""
        self.source_counts = dict(recovered.source_letter_counts)
        """The same by source id."""

    def new_id(self) -> int:
        """Time-ordered and unique in this store: milliseconds and a counter."""
        self._last_id = max(self._last_id + 1, self._engine.clock.now_ms() << 20)
        return self._last_id

    def fall(
        self,
        lane: "Lane",
        delivery: Delivery,
        *,
        reason: Reason,
        evidence: Evidence | None,
        finding: str,
        at_ms: int,
    ) -> None:
        """Keep a dead letter and publish its notice, in the commit that settles the delivery."""
        engine = self._engine
        row = delivery.row
        now_ms = engine.clock.now_ms()
        is_exported = lane.subscription.deadletter is not None
        letter = DeadLetter(
            id=row.dead_letter_id if row is not None and row.dead_letter_id else self.new_id(),
            topic_id=lane.partition.topic_id,
            subscription_id=lane.subscription.id,
            partition=lane.partition.index,
            position=delivery.position,
            event_id=delivery.event.id,
            event_type=delivery.event.type,
            subject=delivery.event.subject,
            wire=delivery.event.wire,
            trace=delivery.event.trace,
            published_ms=delivery.published_ms,
            dead_ms=now_ms,
            last_attempt_ms=at_ms,
            attempts=delivery.attempts,
            reason=reason,
            outcome=outcome_name(evidence) if evidence is not None else NEVER_ATTEMPTED,
            finding=finding,
            evidence=evidence,
            export_due_ms=now_ms if is_exported else 0,
        )
        engine.journal.open.dead_put.append(letter)
        self.counts[letter.subscription_id] = self.counts.get(letter.subscription_id, 0) + 1
        engine.dead_lettered(lane, letter)
        if is_exported:
            engine.exports.expect(lane.subscription)
        if not lane.partition.topic.is_builtin:
            event = notices.notice(
                letter,
                lane.partition.schema,
                topic=engine.topics[lane.subscription.topic_id].name,
                subscription=lane.subscription.name,
                topic_resource=engine.notices_resource,
                event_id=engine.new_event_id(),
            )
            self.publish_notice(event)

    def fall_from_source(self, letter: DeadLetter, source: str) -> None:
        """Keep a message of which no event could be made, in the open commit."""
        engine = self._engine
        engine.journal.open.dead_put.append(letter)
        count = self.source_counts.get(letter.source_id, 0)
        self.source_counts[letter.source_id] = count + 1
        topic = engine.topics[letter.topic_id].name
        event = notices.message_notice(
            letter,
            topic=topic,
            source=source,
            topic_resource=engine.notices_resource,
            event_id=engine.new_event_id(),
        )
        self.publish_notice(event)

    def republish(
        self, letters: Sequence[tuple[DeadLetter, list[Event]]], done: Callable[[bool], None]
    ) -> int:
        """Publish what came of dead letters of sources after all, in the commit that removes them.

        Returns how many: those that nobody takes already. Raises Overloaded, and moves nothing.
        """
        engine = self._engine
        taken = [(letter, events) for letter, events in letters if letter.id not in self._taken]
        by_topic: dict[int, list[Event]] = {}
        for letter, events in taken:
            by_topic.setdefault(letter.topic_id, []).extend(events)
        for topic_id, events in by_topic.items():
            size = sum(len(event.wire) for event in events)
            # Without a callback nothing is refused for want of room: it is in the store already.
            engine.journal.append(engine.partitions[topic_id, 0], events, size, None)
        for letter, _ in taken:
            self._taken.add(letter.id)
            self._leave_source(letter)
            engine.journal.open.dead_remove.append(letter.id)
        ids = [letter.id for letter, _ in taken]
        engine.journal.wait(lambda is_durable: self._were_taken(ids, is_durable, done))
        return len(taken)

    def _leave_source(self, letter: DeadLetter) -> None:
        count = self.source_counts.get(letter.source_id, 1)
        self.source_counts[letter.source_id] = count - 1

    def publish_notice(self, event: Event) -> None:
        """Append to the built-in topic in the open commit. It is refused only when the store has
        failed, and then the dead letter is not kept either."""
        partition = self._engine.notices
        if partition is None:
            return
        try:
            self._engine.journal.append(partition, [event], len(event.wire), None)
        except Overloaded:
            return

    def replay(self, letters: list[DeadLetter], done: Callable[[bool], None]) -> int:
        """Put dead letters back on the ladder, due now, with a fresh time to live.

        Returns how many: those whose subscription still exists and that nobody takes already.
        `letters` are as the store has them now: read after the last replay or purge was durable.
        `done(is_durable)` follows the commit.
        """
        engine = self._engine
        now_ms = engine.clock.now_ms()
        taken = []
        for letter in letters:
            lane = engine.lane(letter.subscription_id, letter.partition)
            if lane is None or letter.replayed_ms or letter.id in self._taken:
                continue
            self._taken.add(letter.id)
            taken.append(letter.id)
            engine.journal.open.dead_states.append(
                DeadLetterState(id=letter.id, replayed_ms=now_ms, export_due_ms=0)
            )
            self._climb(lane, letter, now_ms)
            self.counts[letter.subscription_id] = self.counts.get(letter.subscription_id, 1) - 1
        engine.journal.wait(lambda is_durable: self._were_taken(taken, is_durable, done))
        return len(taken)

    def bring_back(self, letters: Sequence[DeadLetter]) -> int:
        """Take in dead letters that the store does not know, and put them on the ladder, in the
        open commit. Returns how many: those whose subscription exists."""
        engine = self._engine
        now_ms = engine.clock.now_ms()
        count = 0
        for letter in letters:
            lane = engine.lane(letter.subscription_id, letter.partition)
            if lane is None:
                continue
            count += 1
            engine.journal.open.dead_put.append(
                msgspec.structs.replace(letter, replayed_ms=now_ms, export_due_ms=0)
            )
            self._climb(lane, letter, now_ms)
        return count

    def _climb(self, lane: "Lane", letter: DeadLetter, now_ms: int) -> None:
        row = LadderRow(
            due_ms=now_ms,
            subscription_id=letter.subscription_id,
            partition=letter.partition,
            position=letter.position,
            topic_id=letter.topic_id,
            generation=lane.generation,
            attempts=0,
            published_ms=letter.published_ms,
            offered_ms=now_ms,
            dead_letter_id=letter.id,
        )
        self._engine.journal.put_row(row)
        lane.ladder_count += 1
        lane.delta.replayed += 1
        self._engine.journal.touch(lane)

    def _were_taken(self, ids: list[int], is_durable: bool, done: Callable[[bool], None]) -> None:
        self._taken.difference_update(ids)
        done(is_durable)

    def purge(self, letters: list[DeadLetter], done: Callable[[bool], None]) -> int:
        """Remove dead letters for good; those being replayed stay. Returns how many. See `replay`
        for `letters`."""
        taken = []
        for letter in letters:
            if letter.replayed_ms or letter.id in self._taken:
                continue
            self._taken.add(letter.id)
            taken.append(letter.id)
            if letter.source_id:
                self._leave_source(letter)
            else:
                waiting = self.counts.get(letter.subscription_id, 1)
                self.counts[letter.subscription_id] = waiting - 1
            self._engine.journal.open.dead_remove.append(letter.id)
        self._engine.journal.wait(lambda is_durable: self._were_taken(taken, is_durable, done))
        return len(taken)

    def put_back(self, row: LadderRow) -> None:
        """A replay was superseded: its dead letter waits again, unless its subscription is gone."""
        if row.dead_letter_id and row.subscription_id in self._engine.subscriptions:
            state = DeadLetterState(id=row.dead_letter_id, replayed_ms=0)
            self._engine.journal.open.dead_states.append(state)
            count = self.counts.get(row.subscription_id, 0)
            self.counts[row.subscription_id] = count + 1
