"""A namespace as Event Grid has it: topics of CloudEvents, with keys that open all of them.

A server is one: its topics have one endpoint for publishing and pulling anyway.
"""

import msgspec

from eventpost.core.events import Schema
from eventpost.core.subscriptions import Topic


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """The name by which Azure's management SDKs know the server, and two access keys (base64)."""

    name: str
    key1: str
    key2: str
    created_ms: int

    def keyed(self, topic: Topic) -> Topic:
        """The topic with the namespace's keys in the place of its own."""
        return msgspec.structs.replace(topic, key1=self.key1, key2=self.key2)


def is_within(topic: Topic) -> bool:
    """Whether a topic is one of the namespace's: what it takes are CloudEvents, and it is neither a
    domain nor of one."""
    is_plain = not (topic.is_builtin or topic.is_domain or topic.domain_id)
    return is_plain and topic.input_schema is Schema.CLOUD_EVENTS
