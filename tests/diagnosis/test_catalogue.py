"""The catalogue of findings: complete, findable, and never renumbered."""

import re
from pathlib import Path

import pytest

from eventpost.core.errors import NotFound
from eventpost.diagnosis import catalogue, codes
from eventpost.diagnosis.classify import PLACEHOLDERS

NUMBERS_GIVEN = Path(__file__).with_name("numbers-given.txt")


@pytest.mark.parametrize("code", catalogue.all_codes())
def test_a_finding_is_complete(code: str) -> None:
    """Every finding says what is seen, why, how to check, how to fix, and where that is written."""
    finding = catalogue.get(code)

    assert finding.code == code
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", finding.slug)
    assert not finding.title.endswith(".")
    texts = [finding.seen, finding.symptoms, *finding.causes, finding.check, finding.fix]
    texts += [finding.event, finding.heals]
    for text in texts:
        assert text.endswith((".", "!", "?")), text
    assert finding.causes
    assert finding.cause == finding.causes[0]
    assert finding.sources
    assert all(finding.sources)


@pytest.mark.parametrize("code", catalogue.all_codes())
def test_placeholders_stand_only_where_they_are_filled(code: str) -> None:
    """All but the first paragraph holds for every case and is printed as it is."""
    finding = catalogue.get(code)

    timeless = [finding.title, finding.symptoms, *finding.causes, finding.check, finding.fix]
    timeless += [finding.event, finding.heals]
    for text in timeless:
        assert not any(f"{{{name}}}" in text for name in PLACEHOLDERS), text


def test_a_number_is_never_given_to_another_finding() -> None:
    """Every number ever given keeps its meaning; a new one is added at the end of the list."""
    given = dict(line.split("-", 1) for line in NUMBERS_GIVEN.read_text().split())

    assert {code: catalogue.get(code).slug for code in catalogue.all_codes()} == given


def test_titles_tell_findings_apart() -> None:
    """No two findings have the same title."""
    titles = [catalogue.get(code).title for code in catalogue.all_codes()]

    assert len(set(titles)) == len(titles)


def test_codes_without_evidence_are_in_the_catalogue() -> None:
    """Every named code has a finding, and no two names share one."""
    named = [value for name, value in vars(codes).items() if name.isupper()]

    assert set(named) <= set(catalogue.all_codes())
    assert len(set(named)) == len(named)


def test_a_code_is_found_in_any_case() -> None:
    """What a user types or pastes is found: lower case and blanks do not matter."""
    assert catalogue.get(" ep2103 ") == catalogue.get("EP2103")


@pytest.mark.parametrize(
    ("typed", "meant"), [("EP2130", "EP2103"), ("2103", "EP2103"), ("ep21033", "EP2103")]
)
def test_an_unknown_code_suggests_the_nearest(typed: str, meant: str) -> None:
    """An unknown code is refused, and the refusal names codes that may have been meant."""
    with pytest.raises(NotFound) as caught:
        catalogue.get(typed)

    assert caught.value.code == "FindingNotFound"
    assert typed in caught.value.what
    assert meant in caught.value.fix


def test_nonsense_suggests_the_index() -> None:
    """A code that resembles none is answered with where all are listed, not with a bad guess."""
    with pytest.raises(NotFound) as caught:
        catalogue.get("teapot")

    assert "did you mean" not in caught.value.fix
    assert "docs/findings" in caught.value.fix


WELL_FORMED = """# EP2999: Something

Seen.

## What you see

A.

## Causes

1. First.
2. Second.

## Check

One.
Two.

## Fix

C.

## What happens to the event

D.

## Does it heal by itself

E.

## Sources

- F
"""


def test_a_file_becomes_a_finding() -> None:
    """Lines of a paragraph are joined, and list items stay apart, in their order."""
    finding = catalogue.parse("EP2999-something.md", WELL_FORMED)

    assert (finding.code, finding.slug, finding.title) == ("EP2999", "something", "Something")
    assert finding.causes == ("First.", "Second.")
    assert finding.check == "One. Two."
    assert finding.sources == ("F",)


@pytest.mark.parametrize(
    ("part", "instead", "told"),
    [
        ("# EP2999: Something", "# EP2998: Something", "heading"),
        ("# EP2999: Something", "# EP2999", "heading"),
        ("## Fix", "## Mend", "sections"),
        ("## Fix\n\nC.\n\n", "", "sections"),
    ],
)
def test_a_malformed_file_is_refused(part: str, instead: str, told: str) -> None:
    """A file with another heading or other sections is refused, and the refusal names the file."""
    with pytest.raises(ValueError, match=f"EP2999-something.md: the {told}"):
        catalogue.parse("EP2999-something.md", WELL_FORMED.replace(part, instead))
