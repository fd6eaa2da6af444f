"""Kafka and Amazon MSK as a queue system: confluent-kafka's clients, a group, a finished prefix.

Layer: queues. The names that `queues.kinds` asks for are here; each module beside it has one idea.
"""

from eventpost.queues.kafka.queue import KafkaQueue, new_queue
from eventpost.queues.kafka.settings import KafkaConnection, Options

CONNECTION_KIND = "kafka"
LIBRARY = "confluent_kafka"
EXTRA = "kafka"

__all__ = [
    "CONNECTION_KIND",
    "EXTRA",
    "LIBRARY",
    "KafkaConnection",
    "KafkaQueue",
    "Options",
    "new_queue",
]
