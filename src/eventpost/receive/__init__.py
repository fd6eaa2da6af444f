"""For programs that take deliveries: verify, consent, parse, answer.

Layer: beside the siblings. It needs nothing of the grid, and its names are imported on first use,
so that a cold start pays for what it uses only.
"""

from typing import TYPE_CHECKING

__all__ = ["Answer", "EventGridReceiver", "Received", "ReceivedEvent", "Reject", "TryLater"]

if TYPE_CHECKING:
    from eventpost.receive.answers import Answer, Reject, TryLater
    from eventpost.receive.events import ReceivedEvent
    from eventpost.receive.receiver import EventGridReceiver, Received

_MODULES = {
    "Answer": "eventpost.receive.answers",
    "EventGridReceiver": "eventpost.receive.receiver",
    "Received": "eventpost.receive.receiver",
    "ReceivedEvent": "eventpost.receive.events",
    "Reject": "eventpost.receive.answers",
    "TryLater": "eventpost.receive.answers",
}


def __getattr__(name: str) -> object:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'eventpost.receive' has no attribute {name!r}")
