"""Event Grid's words for what came of the last attempt."""

import pytest

from eventpost.core.outcomes import Evidence, Fault, Stage, outcome_name


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "BadRequest"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (408, "TimedOut"),
        (413, "PayloadTooLarge"),
        (429, "Busy"),
        (503, "Busy"),
        (504, "TimedOut"),
        (302, "GenericError"),
        (500, "GenericError"),
    ],
)
def test_statuses(status: int, name: str) -> None:
    """An HTTP status has Event Grid's word, others are a generic error."""
    assert outcome_name(Evidence(stage=Stage.ANSWER, fault=Fault.STATUS, status=status)) == name


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (Fault.TIMED_OUT, "TimedOut"),
        (Fault.NOT_FOUND, "ResolutionError"),
        (Fault.UNAVAILABLE, "ResolutionError"),
        (Fault.FORBIDDEN_ADDRESS, "Forbidden"),
        (Fault.REFUSED, "SocketError"),
        (Fault.RESET, "SocketError"),
        (Fault.CLOSED, "SocketError"),
        (Fault.TOO_LARGE, "PayloadTooLarge"),
        (Fault.CERTIFICATE_EXPIRED, "GenericError"),
        (Fault.UNEXPECTED, "GenericError"),
    ],
)
def test_faults(fault: Fault, name: str) -> None:
    """A fault without an answer has Event Grid's word, others are a generic error."""
    assert outcome_name(Evidence(stage=Stage.CONNECT, fault=fault)) == name


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_has_a_word(fault: Fault) -> None:
    """No fault is left without a word of Event Grid's list."""
    known = {
        *("TimedOut", "ResolutionError", "Forbidden", "SocketError", "PayloadTooLarge"),
        *("GenericError", "BadRequest", "Unauthorized", "NotFound", "Busy"),
    }

    assert outcome_name(Evidence(stage=Stage.WAIT, fault=fault)) in known


def test_the_answer_counts_more_than_the_fault() -> None:
    """When there is a status, it decides."""
    evidence = Evidence(stage=Stage.READ, fault=Fault.RESET, status=503)

    assert outcome_name(evidence) == "Busy"
