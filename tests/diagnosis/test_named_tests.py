"""Every finding is brought about by a test that is named, or stands in a list that only shrinks."""

import re
from pathlib import Path

from eventpost.diagnosis import catalogue
from tests.diagnosis import named_tests
from tests.diagnosis.provenance import Way

ROOT = Path(__file__).parent.parent.parent
STILL_BY_HAND = frozenset(
    {
        *("EP2702", "EP2703", "EP4026", "EP4041", "EP4118"),
    }
)
"""No other finding may join these: whoever adds a finding adds a test on a real service or with
a cited answer, and whoever brings one of these about takes it out, here too."""


def test_every_finding_has_its_way() -> None:
    """A finding without a test that brings it about is in the list, with a reason, and in it
    alone."""
    named, by_hand = named_tests.brought_about(), named_tests.by_hand()

    assert set(by_hand) == STILL_BY_HAND
    assert all(len(why) > 20 for why in by_hand.values())
    assert set(named) | set(by_hand) == set(catalogue.all_codes())
    assert not set(named) & set(by_hand)


def test_ways_that_count() -> None:
    """What is made by hand brings nothing about."""
    ways = {way for way, _ in named_tests.brought_about().values()}

    assert ways <= {Way.REAL.name, Way.CITED.name}


def test_the_tests_that_are_named_are_there() -> None:
    """A test that was renamed or removed is named anew, by the report or by hand."""
    gone = [test for _, test in named_tests.brought_about().values() if not is_there(test)]

    assert gone == [], "write them anew: scripts/diagnose-report --all"


def is_there(test: str) -> bool:
    file, _, name = test.partition("::")
    function = name.rpartition("::")[2].partition("[")[0]
    path = ROOT / file
    if not path.exists():
        return False
    texts = [path.read_text()]
    if "::" in name:  # a suite's, inherited by the class
        texts += [each.read_text() for each in (ROOT / "src/eventpost/testing").rglob("*.py")]
    return any(re.search(rf"def {function}\b", each) for each in texts)
