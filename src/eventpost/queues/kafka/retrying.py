"""Appending what is released to the retry topic, and what is looked at too early once more.

Layer: queues. A copy is confirmed by all in-sync replicas before its original counts as finished: a
crash in between leaves both, never none. What a copy says of itself is `copies`.
"""

from collections.abc import Callable, Sequence
from itertools import count

from eventpost.core.outcomes import Failed, Outcome
from eventpost.queues.interfaces import Received
from eventpost.queues.kafka import topics
from eventpost.queues.kafka.clients import Cluster
from eventpost.queues.kafka.copies import Origin, partition_of, tier_of
from eventpost.queues.kafka.outgoing import Record
from eventpost.queues.kafka.producing import Producing, is_unknown_topic
from eventpost.queues.kafka.records import receipt_of
from eventpost.queues.kafka.settings import Options
from eventpost.queues.kinds import Services


class Retrying:
    """Any thread, several at once."""

    def __init__(
        self, cluster: Cluster, retry_topic: str, options: Options, services: Services
    ) -> None:
        self.topic = retry_topic
        self._cluster = cluster
        self._options = options
        self._now_s = services.now_s
        self._producing = Producing(cluster, "release", "all", services.monotonic_s)
        self._partition_count = 0
        self._turns = count()

    def append(self, held: Sequence[Received], delay_s: float) -> list[Outcome]:
        """Append a copy of each, due after the delay. `Delivered`: it is there."""
        missing = self._producing.closed() or self.prepare("release")
        if missing is not None:
            return [missing] * len(held)
        now_ms = self.now_ms()
        due_ms = now_ms + int(delay_s * 1000)
        return self._heard(
            self._producing.put(
                [self._record(one, self._origin(one, due_ms), now_ms) for one in held]
            )
        )

    def move(self, one: Received, told: Callable[[Outcome], None]) -> None:
        """A copy waited in its tier and is not due: append it to a shorter one. Waits for nothing
        but, the first time, for how many partitions there are."""
        origin = receipt_of(one).origin
        assert origin is not None, "only copies move"
        missing = self.prepare("release")
        if missing is not None:
            told(missing)
            return
        record = self._record(one, origin, self.now_ms())
        self._producing.begin(record, lambda outcome: told(self._heard([outcome])[0]))

    def prepare(self, operation: str) -> Failed | None:
        """See how many tiers there are; the topic is made where that was asked for."""
        if not self._partition_count:
            found = topics.partitions(
                self._cluster, self.topic, self._options, operation, self._options.retry_partitions
            )
            if isinstance(found, Failed):
                return found
            self._partition_count = found
        return None

    def is_ours(self, origin: Origin) -> bool:
        return origin.group == self._options.group

    def now_ms(self) -> int:
        return int(self._now_s() * 1000)

    def poll(self) -> None:
        """Let those be told whose copies are there."""
        self._producing.poll()

    def close(self) -> None:
        self._producing.close()

    def _record(self, one: Received, origin: Origin, now_ms: int) -> Record:
        receipt = receipt_of(one)
        tier = tier_of(origin.due_ms - now_ms, self._partition_count)
        partition = partition_of(tier, self._partition_count, next(self._turns))
        return Record(
            self.topic,
            one.body if receipt.has_value else None,
            receipt.key,
            [*receipt.headers, *origin.later(now_ms, tier).headers()],
            partition,
        )

    def _origin(self, one: Received, due_ms: int) -> Origin:
        receipt = receipt_of(one)
        before = receipt.origin
        topic, partition, offset = (
            (*receipt.place, receipt.offset) if before is None else before.first
        )
        return Origin(
            topic=topic,
            partition=partition,
            offset=offset,
            group=self._options.group,
            count=1 if before is None else before.count + 1,
            due_ms=due_ms,
            look_ms=due_ms,
            sent_ms=one.sent_ms,
        )

    def _heard(self, outcomes: list[Outcome]) -> list[Outcome]:
        if any(is_unknown_topic(one) for one in outcomes):
            self._partition_count = 0
        return outcomes
