"""One topic of Kafka, with its group, as a queue.

Layer: queues. The contract is `queues.interfaces.Queue`.
"""

from collections.abc import Sequence

from eventpost.core.outcomes import Failed, Outcome
from eventpost.queues.interfaces import (
    Address,
    Depth,
    Message,
    Permission,
    Received,
    Rung,
    Verdict,
)
from eventpost.queues.kafka import counting, probing
from eventpost.queues.kafka.clients import Cluster
from eventpost.queues.kafka.consuming import Reader
from eventpost.queues.kafka.permissions import permissions
from eventpost.queues.kafka.producing import Sender
from eventpost.queues.kafka.refusals import Causes, closed
from eventpost.queues.kafka.retrying import Retrying
from eventpost.queues.kafka.settings import (
    SYSTEM,
    KafkaConnection,
    Options,
    check_topic,
    retry_topic_of,
    traits_of,
)
from eventpost.queues.kinds import Services, options_of


class KafkaQueue:
    """Implements `queues.interfaces.Queue`. Connects to nothing before it is used."""

    def __init__(
        self, connection: KafkaConnection, topic: str, options: Options, services: Services
    ) -> None:
        self._topic = topic
        self._options = options
        self._brokers = ",".join(sorted(connection.bootstrap))
        self._cluster = Cluster(connection, services.client_id, Causes(services.monotonic_s))
        self._sender = Sender(self._cluster, topic, options, services.monotonic_s)
        retry_topic = retry_topic_of(topic, options)
        self._retrying = (
            Retrying(self._cluster, retry_topic, options, services) if retry_topic else None
        )
        self._reader = Reader(self._cluster, topic, options, services, self._retrying)
        self.traits = traits_of(options)
        self._is_closed = False

    @property
    def identity(self) -> str:
        """Brokers, topic and group."""
        return f"{SYSTEM}:{self._brokers}/{self._topic}/{self._options.group}"

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        return self._sender.send(messages)

    def receive(self, count_max: int, wait_s: float, lease_s: float) -> list[Received] | Failed:
        """Leases have no length here: `lease_s` means nothing."""
        return self._reader.receive(
            min(count_max, self.traits.receive_count_max), min(wait_s, self.traits.wait_s_max)
        )

    def extend(self, held: Sequence[Received], lease_s: float) -> Sequence[Verdict]:
        raise AssertionError("Kafka extends nothing: see Traits.can_extend")

    def settle(self, held: Sequence[Received]) -> Sequence[Verdict]:
        return self._reader.settle(held) if held else []

    def release(self, held: Sequence[Received], delay_s: float) -> Sequence[Verdict]:
        return self._reader.release(held, delay_s)

    def probe(self) -> Sequence[Rung]:
        if self._is_closed:
            return [Rung(name="settings", failed=closed("probe"))]
        retry_topic = "" if self._retrying is None else self._retrying.topic
        return probing.probe(self._cluster, self._topic, retry_topic, self._options)

    def permissions(self) -> Sequence[Permission] | Failed:
        """What the brokers let us do, found out without doing any of it."""
        if self._is_closed:
            return closed("probe")
        return permissions(self._cluster, self._topic, self._options.group)

    def count(self) -> int | Failed:
        """How many records the group has not finished, copies that wait for their time included."""
        if self._is_closed:
            return closed("count")
        return counting.unfinished(self._cluster, self._topics(), self._options.group)

    def clear(self) -> Failed | None:
        """Have the brokers remove every record, for whichever group."""
        return closed("clear") if self._is_closed else counting.clear(self._cluster, self._topics())

    def _topics(self) -> list[str]:
        return [self._topic] if self._retrying is None else [self._topic, self._retrying.topic]

    def depth(self) -> Depth | Failed:
        """What the group has not fetched yet."""
        if self._is_closed:
            return closed("probe")
        return counting.depth(self._cluster, self._topic, self._options, self._reader.fetched())

    def wake(self) -> None:
        self._reader.wake()

    def close(self) -> None:
        self._is_closed = True
        self._reader.close()
        self._sender.close()
        if self._retrying is not None:
            self._retrying.close()


def new_queue(connection: KafkaConnection, address: Address, services: Services) -> KafkaQueue:
    """Raises InvalidRequest for a name that no topic can have."""
    topic = check_topic(address.name)
    return KafkaQueue(connection, topic, options_of(address, Options), services)
