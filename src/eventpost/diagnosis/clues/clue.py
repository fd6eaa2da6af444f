"""A clue: a text of a library, and the finding that it speaks for.

Layer: diagnosis. Texts are those that the libraries write today, read from their source or caught
in a test that makes the real library say them (`tests/diagnosis/test_recognising.py`); others are
from public reports, named there. Nothing is imported but `re`: a pasted error is answered at once.
"""

import re
from functools import cached_property

SURE, LIKELY, MAYBE, SUMMARY = 0.95, 0.8, 0.5, 0.2
"""How much a clue says. A summary says only that something failed: any other clue outweighs it."""


class Clue:
    """A text that is looked for, and what it speaks for.

    `needles` are words in lower case of which the text holds at least one wherever the pattern
    matches: most clues are passed over by them, without a pattern. `finding` is a finding's code;
    or `SYSTEM:CODE`, of a service's own code, which may be a group of the pattern: `kafka:{code}`.
    `says` is who says so, for people.
    """

    def __init__(self, needles: str, text: str, finding: str, weight: float, says: str) -> None:
        self.needles = tuple(needles.split("|")) if needles else ()
        self.text = text
        self.finding = finding
        self.weight = weight
        self.says = says

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self.text)

    def may_match(self, lowered: str) -> bool:
        """Whether a text in lower case is worth a look."""
        return not self.needles or any(needle in lowered for needle in self.needles)
