"""How a test is judged that leads to a finding: what it names, makes and reaches."""

import pytest

from eventpost.core.outcomes import Evidence, Fault, Stage
from tests.diagnosis.provenance import Seen, Way, makes_evidence, named

MADE = Evidence(stage=Stage.CONNECT, fault=Fault.REFUSED)


def made_elsewhere() -> Evidence:
    return MADE


def test_a_finding_that_is_named_counts(request: pytest.FixtureRequest) -> None:
    """A test that asserts a finding leads to it, also when it is told in another process; one that
    says which finding it is not does not."""
    assert "EP2004".startswith("EP")
    other = "EP2004"
    assert other != "EP2005"

    assert named(request.node) == {"EP2004"}


@pytest.mark.parametrize("code", ["EP2103"])
def test_a_finding_in_the_parameters_counts(request: pytest.FixtureRequest, code: str) -> None:
    """A table of cases names its findings, too."""
    assert named(request.node) == {code}


def test_evidence_that_is_made_by_hand_is_found_behind_functions(
    request: pytest.FixtureRequest,
) -> None:
    """However far away a test makes its evidence, it counts for nothing."""
    assert made_elsewhere() is MADE

    assert makes_evidence(request.node)
    assert Seen(request.node).way is Way.BY_HAND


def test_who_reaches_nobody_brings_nothing_about(request: pytest.FixtureRequest) -> None:
    """Only what a test reaches makes its finding a real one, and a stand-in's answer counts only
    with its source."""
    seen = Seen(request.node)
    ways = [seen.way]

    seen.reaches = True
    ways.append(seen.way)
    seen.is_stood_in = True
    ways.append(seen.way)
    seen.is_cited = True
    ways.append(seen.way)

    assert not seen.makes_evidence
    assert ways == [Way.BY_HAND, Way.REAL, Way.BY_HAND, Way.CITED]
