"""What came of a move.

Layer: sources.
"""

from dataclasses import dataclass, field
from enum import Enum

from eventpost.core.outcomes import Failed
from eventpost.sources.moving.account import Account
from eventpost.sources.moving.journal import JournalError


class Ended(Enum):
    """Why a move is over."""

    EMPTY = "empty"
    HIDDEN = "hidden"
    """What is left in the source is not handed out: it is delayed, or somebody else has it."""
    COUNTED = "counted"
    """As many as were asked for are moved."""
    STOPPED = "stopped"
    SKIPPED = "skipped"
    """Too many messages cannot be moved."""
    SOURCE_FAILS = "source-fails"
    TARGET_FAILS = "target-fails"
    JOURNAL_FAILS = "journal-fails"

    @property
    def is_early(self) -> bool:
        """Whether there is, or may be, more to take."""
        return self not in (Ended.EMPTY, Ended.HIDDEN)


@dataclass(slots=True)
class Result:
    account: Account = field(default_factory=Account)
    ended: Ended = Ended.EMPTY
    failed: Failed | None = None
    """What the failing side said last."""
    error: JournalError | None = None
    hidden: int = 0
    """Messages that are in the source and were not handed out."""
    examples: dict[str, str] = field(default_factory=dict)
    """By finding, what was the matter with the first message that was skipped for it."""

    @property
    def is_complete(self) -> bool:
        """Whether all that there was, or was asked for, is in the target and out of the source."""
        is_over = self.ended in (Ended.EMPTY, Ended.COUNTED)
        return is_over and not self.account.skipped and not self.account.left
