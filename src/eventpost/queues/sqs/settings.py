"""What a user may say about one queue of SQS, and what SQS can do.

Layer: queues.
"""

import dataclasses

import msgspec

from eventpost.queues.interfaces import Traits
from eventpost.queues.sqs.batches import ENTRIES_MAX
from eventpost.queues.sqs.forms import DELAY_S_MAX, LEASE_S_MAX, MESSAGE_BYTES_MAX, SYSTEM

WAIT_S_MAX = 20
WAITS_S = (1, 5, WAIT_S_MAX)
"""A client is made for each of these: its time for an answer covers a poll up to that long."""
ATTEMPTS_MAX = 2
"""Requests for one call, unless the connection says otherwise: the second is for a kept connection
that the other side had closed. Whoever calls tries again later, and at its own pace."""
TAGS_MAX = 50

TRAITS = Traits(
    system=SYSTEM,
    message_bytes_max=MESSAGE_BYTES_MAX,
    send_count_max=ENTRIES_MAX,
    receive_count_max=ENTRIES_MAX,
    batch_count_max=ENTRIES_MAX,
    wait_s_max=float(WAIT_S_MAX),
    lease_s_max=float(LEASE_S_MAX),
    can_extend=True,
    delay_s_max=float(DELAY_S_MAX),
    release_delay_s_max=float(LEASE_S_MAX),
    has_ids=True,
    has_receive_count=True,
)
FIFO_TRAITS = dataclasses.replace(TRAITS, delay_s_max=0.0)
"""A FIFO queue takes no delay of a single message."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of one queue."""

    create: bool = False
    """Whether a queue that does not exist is made when it is first used."""
    attributes: dict[str, str | int | bool] = {}
    """Of a queue that is made (`VisibilityTimeout`, `RedrivePolicy`); an existing one keeps its
    own."""
    tags: dict[str, str] = {}
    """Of a queue that is made."""
    group: str = ""
    """The group of messages that name none, on a FIFO queue."""

    def __post_init__(self) -> None:
        if not self.create and (self.attributes or self.tags):
            raise ValueError("attributes and tags are given to a queue that is made: add create")
        if len(self.tags) > TAGS_MAX:
            raise ValueError(f"a queue has at most {TAGS_MAX} tags")

    def creation(self, *, is_fifo: bool) -> dict[str, object]:
        """The parameters of `CreateQueue` beside the name."""
        attributes = {name: _shown(value) for name, value in self.attributes.items()}
        if is_fifo:
            attributes.setdefault("FifoQueue", "true")
        parameters: dict[str, object] = {}
        if attributes:
            parameters["Attributes"] = attributes
        if self.tags:
            parameters["tags"] = self.tags
        return parameters


def _shown(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
