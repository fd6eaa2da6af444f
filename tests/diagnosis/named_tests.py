"""Which test brings each finding about, and which findings nothing but evidence by hand leads to.

`brought-about.txt` is written by `scripts/diagnose-report --all`; `by-hand.txt` by people.
"""

from pathlib import Path

HERE = Path(__file__).parent
BROUGHT_ABOUT = HERE / "brought-about.txt"
BY_HAND = HERE / "by-hand.txt"
AMBIGUOUS = ("test_an_ambiguous_symptom", "tests/doctor/test_cases.py")
"""Tests, by a part of their names, in which several causes have the same symptom."""
AMBIGUOUS_FILES = ("tests/diagnosis/test_ranking.py", "tests/doctor/test_cases.py")


def brought_about() -> dict[str, tuple[str, str]]:
    """By a finding's code: the way, a member of `provenance.Way`, and the test's id."""
    lines = (line.split(" ", 2) for line in BROUGHT_ABOUT.read_text().splitlines())
    return {code: (way, test) for code, way, test in lines}


def by_hand() -> dict[str, str]:
    """By a finding's code: why nobody else than us says what leads to it."""
    lines = (line.partition(" ") for line in BY_HAND.read_text().splitlines() if line)
    return {code: why for code, _, why in lines}


def wanted() -> set[str]:
    """The ids of the tests that are named, and a name for each file of ambiguous cases."""
    return {test for _, test in brought_about().values()} | set(AMBIGUOUS_FILES)


def is_wanted(test: str, named: set[str]) -> bool:
    return test in named or any(each in test for each in AMBIGUOUS)


def write(found: dict[str, tuple[str, str]]) -> None:
    lines = [f"{code} {way} {test}" for code, (way, test) in sorted(found.items())]
    BROUGHT_ABOUT.write_text("".join(f"{line}\n" for line in lines))
