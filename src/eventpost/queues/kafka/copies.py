"""Copies of released records in a retry topic: what they say of themselves, and where they wait.

Layer: queues. Pure. Each partition of a retry topic is a tier with a wait of its own: whoever comes
later within one is due later, and a long delay holds no short one up. A delay is the sum of waits,
the longest first: after each of them the record goes on to a shorter one, and what is less than the
shortest is waited for in memory. See docs/decisions/0013-retry-topics.md.
"""

from collections.abc import Sequence
from typing import Self

import msgspec

TIERS_MAX = 12
WAIT_S_MIN = 15.0
"""The wait of the second tier; each one after it waits twice as long, the last one 4.3 hours. The
first tier does not wait at all."""

PREFIX = "eventpost-retry-"
Header = tuple[str, bytes | None]


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy is a copy of, and when it is due. Times are UTC."""

    topic: str
    partition: int
    offset: int
    """Where the record stood when it was received for the first time."""
    group: str
    """Whose release it was: other groups pass over it."""
    count: int
    """How often it has been released."""
    due_ms: int
    look_ms: int
    """When it is to be looked at: it is due then, or goes on to a shorter wait."""
    sent_ms: int
    """When the record was sent at first; 0 when that is unknown."""

    @property
    def first(self) -> tuple[str, int, int]:
        return self.topic, self.partition, self.offset

    def headers(self) -> list[Header]:
        fields = msgspec.structs.asdict(self)
        return [(PREFIX + name.replace("_", "-"), str(fields[name]).encode()) for name in fields]

    @staticmethod
    def without_ours(headers: Sequence[Header]) -> tuple[Header, ...]:
        return tuple(one for one in headers if not one[0].startswith(PREFIX))

    def later(self, now_ms: int, tier: int) -> Self:
        """The same for another wait, that of a tier."""
        return msgspec.structs.replace(self, look_ms=now_ms + wait_ms(tier, self.due_ms - now_ms))


def origin_of(headers: Sequence[Header]) -> Origin | None:
    """None for a record that somebody else wrote into the topic: it is one like any other."""
    found = {
        name.removeprefix(PREFIX).replace("-", "_"): (value or b"").decode("utf-8", "replace")
        for name, value in headers
        if name.startswith(PREFIX)
    }
    try:
        return msgspec.convert(found, Origin, strict=False)
    except msgspec.ValidationError:
        return None


def tier_of(left_ms: int, partition_count: int) -> int:
    """The longest wait that is over when the record is due."""
    tiers = range(min(TIERS_MAX, partition_count))
    return max((tier for tier in tiers if _length_ms(tier) <= left_ms), default=0)


def wait_ms(tier: int, left_ms: int) -> int:
    """How long a record waits in a tier. The first one waits only where there is no other."""
    if tier:
        return _length_ms(tier)
    return 0 if left_ms < WAIT_S_MIN * 1000 else int(WAIT_S_MIN * 1000)


def partition_of(tier: int, partition_count: int, turn: int) -> int:
    """Partitions beyond the tiers are more of the same, taken in turns."""
    lanes = range(tier, partition_count, TIERS_MAX)
    return lanes[turn % len(lanes)]


def _length_ms(tier: int) -> int:
    return int(WAIT_S_MIN * 1000) << (tier - 1) if tier else 0
