"""For programs that speak to Kafka themselves, on servers and in Lambda functions.

Layer: beside the siblings that stand on the queues. Public names are imported on first use, so that
a cold start pays for what it uses only.
"""

from typing import TYPE_CHECKING

__all__ = ["DeliveryFailed", "KafkaPublisher", "MSKTokenProvider", "Undelivered"]

if TYPE_CHECKING:
    from eventpost.credentials.msk import MSKTokenProvider
    from eventpost.kafka.publisher import KafkaPublisher
    from eventpost.kafka.records import DeliveryFailed, Undelivered

_MODULES = {
    "DeliveryFailed": "eventpost.kafka.records",
    "KafkaPublisher": "eventpost.kafka.publisher",
    "MSKTokenProvider": "eventpost.credentials.msk",
    "Undelivered": "eventpost.kafka.records",
}


def __getattr__(name: str) -> object:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'eventpost.kafka' has no attribute {name!r}")
