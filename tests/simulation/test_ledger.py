"""What the simulation's ledger concludes from what a new process finds."""

import msgspec
import pytest

from eventpost.core.subscriptions import Filter, Subscription
from eventpost.testing.simulation.ledger import Account, Passage, Version

BLUES = Filter(subject_begins_with="genre/blues")
JAZZ = Filter(subject_begins_with="genre/jazz")
PLAIN = Subscription(id=1, topic_id=1, name="blues", created_ms=0)
GENERATION = 3


def version(*passages: Passage) -> Version:
    subscription = msgspec.structs.replace(PLAIN, filter=passages[-1].filter)
    return Version(subscription, GENERATION, passages)


FIRST = version(Passage(0, None, BLUES))
CHANGED = version(Passage(0, 10, BLUES), Passage(10, None, JAZZ))
CHANGED_BACK = version(Passage(0, 10, BLUES), Passage(10, 20, JAZZ), Passage(20, None, BLUES))


@pytest.mark.parametrize(
    ("taken", "durable"), [(5, FIRST), (19, FIRST), (20, CHANGED_BACK), (30, CHANGED_BACK)]
)
def test_a_filter_that_was_changed_back(taken: int, durable: Version) -> None:
    """Of two versions that look alike the later is taken for durable only when the lane came to
    where it begins."""
    account = Account([FIRST, CHANGED, CHANGED_BACK])

    assert account.found(FIRST.subscription, GENERATION, taken)
    assert account.now is durable


def test_what_never_was() -> None:
    """A subscription that the store should not hold is told."""
    account = Account([FIRST])

    assert not account.found(CHANGED.subscription, GENERATION, 30)
    assert not account.found(FIRST.subscription, GENERATION + 1, 30)
