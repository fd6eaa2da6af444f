"""The books of a move: what became of every message that was taken. Pure.

Layer: sources.
"""

from collections import Counter

import msgspec


class Account(msgspec.Struct, kw_only=True):
    """`taken = moved + moved_before + skipped + left`, once the move has ended.

    A message that comes again is the same message: it is counted once.
    """

    taken: int = 0
    moved: int = 0
    """The target has it, and the source has deleted it."""
    moved_before: int = 0
    """Those that an earlier run had brought to the target: they were only deleted."""
    skipped_by: dict[str, int] = {}
    """Those that cannot be moved, and stay in the source: how many, by finding."""
    returned: int = 0
    """Taken and not sent: given back to the source."""
    undeleted: int = 0
    """The target has them, and the source has not said that they are deleted. The journal knows
    them."""
    twice: int = 0
    """Those of all the above that the target may have twice."""

    @property
    def skipped(self) -> int:
        return sum(self.skipped_by.values())

    @property
    def left(self) -> int:
        """What is in the source still, but for what is skipped."""
        return self.returned + self.undeleted

    @property
    def in_hand(self) -> int:
        """Taken, and none of the rest yet: 0 at the end."""
        return self.taken - self.moved - self.moved_before - self.skipped - self.left

    def skip(self, finding: str) -> None:
        self.skipped_by[finding] = self.skipped_by.get(finding, 0) + 1

    def __add__(self, other: "Account") -> "Account":
        """The books of both, for a move of several queues."""
        skipped = Counter(self.skipped_by) + Counter(other.skipped_by)
        return Account(
            taken=self.taken + other.taken,
            moved=self.moved + other.moved,
            moved_before=self.moved_before + other.moved_before,
            skipped_by=dict(skipped),
            returned=self.returned + other.returned,
            undeleted=self.undeleted + other.undeleted,
            twice=self.twice + other.twice,
        )
