"""Evidence leads to a finding, and the finding is told with what was seen."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.errors import NotFound
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.diagnosis import catalogue, codes
from eventpost.diagnosis.classify import (
    PLACEHOLDERS,
    Explanation,
    classify,
    describe,
    duration,
    explain,
    fill,
)

CASES = {
    (Stage.NAME, Fault.NOT_FOUND): "EP2001",
    (Stage.NAME, Fault.UNAVAILABLE): "EP2002",
    (Stage.NAME, Fault.TIMED_OUT): "EP2003",
    (Stage.CONNECT, Fault.REFUSED): "EP2004",
    (Stage.CONNECT, Fault.UNREACHABLE): "EP2005",
    (Stage.CONNECT, Fault.TIMED_OUT): "EP2006",
    (Stage.CONNECT, Fault.RESET): "EP2007",
    (Stage.CONNECT, Fault.NO_DESCRIPTORS): "EP9002",
    (Stage.PROXY, Fault.REFUSED): "EP2010",
    (Stage.PROXY, Fault.TIMED_OUT): "EP2013",
    (Stage.TLS, Fault.TIMED_OUT): "EP2101",
    (Stage.TLS, Fault.RESET): "EP2102",
    (Stage.TLS, Fault.CLOSED): "EP2102",
    (Stage.TLS, Fault.CERTIFICATE_EXPIRED): "EP2103",
    (Stage.TLS, Fault.CERTIFICATE_NOT_YET_VALID): "EP2104",
    (Stage.TLS, Fault.CERTIFICATE_UNKNOWN_ISSUER): "EP2105",
    (Stage.TLS, Fault.CERTIFICATE_WRONG_NAME): "EP2106",
    (Stage.TLS, Fault.CERTIFICATE_REFUSED): "EP2107",
    (Stage.TLS, Fault.TLS_ALERT): "EP2108",
    (Stage.TLS, Fault.NOT_TLS): "EP2109",
    (Stage.WRITE, Fault.TIMED_OUT): "EP2201",
    (Stage.WRITE, Fault.RESET): "EP2202",
    (Stage.WAIT, Fault.TIMED_OUT): "EP2203",
    (Stage.WAIT, Fault.RESET): "EP2204",
    (Stage.WAIT, Fault.CLOSED): "EP2205",
    (Stage.READ, Fault.TIMED_OUT): "EP2206",
    (Stage.READ, Fault.RESET): "EP2207",
    (Stage.READ, Fault.CLOSED): "EP2207",
    (Stage.READ, Fault.MALFORMED): "EP2208",
    (Stage.WAIT, Fault.MALFORMED): "EP2208",
    (Stage.READ, Fault.TOO_LARGE): "EP2209",
    (Stage.HANDSHAKE, Fault.MALFORMED): "EP2601",
    (Stage.HANDSHAKE, Fault.STATUS): "EP2602",
    (Stage.HANDSHAKE, Fault.NO_CONSENT): "EP2603",
    (Stage.HANDSHAKE, Fault.TIMED_OUT): "EP2604",
    (Stage.NAME, Fault.FORBIDDEN_ADDRESS): "EP2701",
    (Stage.SETTINGS, Fault.FORBIDDEN_SCHEME): "EP2702",
    (Stage.SETTINGS, Fault.TOO_LARGE): "EP2703",
    (Stage.SETTINGS, Fault.UNEXPECTED): "EP2704",
    (Stage.SETTINGS, Fault.TIMED_OUT): "EP2705",
    (Stage.WAIT, Fault.UNEXPECTED): "EP9001",
}

STATUSES_BY_CODE = {
    "EP2210": (100, 205, 207, 299, 600, 999),
    "EP2300": (300, 301, 302, 307, 308, 399),
    "EP2400": (400,),
    "EP2401": (401,),
    "EP2403": (403,),
    "EP2404": (404,),
    "EP2405": (405,),
    "EP2011": (407,),
    "EP2408": (408,),
    "EP2410": (410,),
    "EP2413": (413,),
    "EP2415": (415,),
    "EP2429": (429,),
    "EP2499": (402, 409, 422, 425, 431, 499),
    "EP2500": (500,),
    "EP2502": (502,),
    "EP2503": (503,),
    "EP2504": (504,),
    "EP2599": (501, 505, 599),
}
STATUSES = [(status, code) for code, many in STATUSES_BY_CODE.items() for status in many]


@pytest.mark.parametrize(("case", "code"), CASES.items())
def test_each_case_has_its_own_finding(case: tuple[Stage, Fault], code: str) -> None:
    """What happened, and at which stage, decides the finding."""
    stage, fault = case

    assert classify(Evidence(stage=stage, fault=fault)) == code


@pytest.mark.parametrize(("status", "code"), STATUSES)
def test_each_status_has_its_finding(status: int, code: str) -> None:
    """A status that means something of its own has its own finding, the rest one per class."""
    evidence = Evidence(stage=Stage.ANSWER, fault=Fault.STATUS, status=status)

    assert classify(evidence) == code


@pytest.mark.parametrize(
    ("status", "code"), [(407, "EP2011"), (403, "EP2012"), (502, "EP2012"), (503, "EP2012")]
)
def test_a_proxy_s_answer_is_not_taken_for_the_endpoint_s(status: int, code: str) -> None:
    """A status that the proxy gave to CONNECT never blames the endpoint."""
    evidence = Evidence(stage=Stage.PROXY, fault=Fault.STATUS, status=status)

    assert classify(evidence) == code


def test_plain_http_to_a_tls_port_is_recognised() -> None:
    """A TLS alert in place of an HTTP answer has its own finding, other nonsense has not."""
    evidence = Evidence(stage=Stage.READ, fault=Fault.MALFORMED, tls_alert="unexpected_message")

    assert classify(evidence) == "EP2211"
    assert classify(Evidence(stage=Stage.READ, fault=Fault.MALFORMED)) == "EP2208"


@pytest.mark.parametrize(("stage", "fault"), list(itertools.product(Stage, Fault)))
def test_every_evidence_leads_to_a_finding_that_exists(stage: Stage, fault: Fault) -> None:
    """No combination of stage and fault, however odd, is left without an explanation."""
    evidence = Evidence(stage=stage, fault=fault)

    assert classify(evidence) in catalogue.all_codes()
    assert explain(evidence).fix


@given(status=st.integers(), stage=st.sampled_from(Stage))
def test_every_status_leads_to_a_finding(status: int, stage: Stage) -> None:
    """A peer may answer any number: it is explained, and nothing is raised."""
    evidence = Evidence(stage=stage, fault=Fault.STATUS, status=status)

    assert classify(evidence) in catalogue.all_codes()


def test_the_explanation_tells_what_was_seen() -> None:
    """Address and time of this very attempt stand in the cause, the likeliest cause after them."""
    evidence = Evidence(
        stage=Stage.CONNECT, fault=Fault.REFUSED, elapsed_ms=3, address="192.0.2.7:8443"
    )

    explanation = explain(evidence)

    assert explanation.code == "EP2004"
    assert explanation.cause == (
        "192.0.2.7:8443 refused the connection after 3 ms: the machine is there, and nothing "
        "accepts connections at that port. The handler, broker or server there is not running, or "
        "is being restarted."
    )
    assert explanation.check
    assert explanation.fix


def test_the_explanation_tells_the_status() -> None:
    """A status without a finding of its own is still named."""
    evidence = Evidence(stage=Stage.ANSWER, fault=Fault.STATUS, status=418)

    assert "418" in explain(evidence).cause


def test_the_explanation_names_alert_and_proxy() -> None:
    """The TLS alert and the proxy stand in the text when they were seen."""
    alert = Evidence(stage=Stage.TLS, fault=Fault.TLS_ALERT, tls_alert="unrecognized_name")
    proxy = Evidence(stage=Stage.PROXY, fault=Fault.REFUSED, proxy="192.0.2.9:3128")

    assert "`unrecognized_name`" in explain(alert).cause
    assert "The HTTP proxy 192.0.2.9:3128" in explain(proxy).cause


@pytest.mark.parametrize("code", catalogue.all_codes())
def test_nothing_is_left_unfilled_without_evidence(code: str) -> None:
    """A finding told without evidence reads as whole sentences: no placeholder remains."""
    explanation = describe(code)

    for text in (explanation.cause, explanation.check, explanation.fix):
        assert not any(f"{{{name}}}" in text for name in PLACEHOLDERS), text
    assert explanation.cause[0].isupper()


def test_a_finding_of_no_attempt_is_told_too() -> None:
    """What happens without an attempt is explained by its code alone."""
    explanation = describe(codes.TIME_TO_LIVE_EXCEEDED)

    assert isinstance(explanation, Explanation)
    assert explanation.title == "The event's time to live ran out"


def test_an_unknown_code_is_refused() -> None:
    """A code that is not in the catalogue is an error, not an empty explanation."""
    with pytest.raises(NotFound):
        describe("EP0000")


def test_a_value_with_braces_is_not_filled_again() -> None:
    """What a peer says cannot pull other values into the text."""
    assert fill("{status} {address}", {"status": "{address}", "address": "a"}) == "{address} a"


def test_words_in_braces_that_are_no_placeholders_stay() -> None:
    """JSON and format strings in a check are printed as they are."""
    assert fill('{"a": 1} %{time_total} {status}', {"status": "500"}) == (
        '{"a": 1} %{time_total} 500'
    )


@pytest.mark.parametrize(
    ("elapsed_ms", "text"),
    [
        (0, "less than 1 ms"),
        (1, "1 ms"),
        (999, "999 ms"),
        (1_000, "1 s"),
        (2_540, "2.5 s"),
        (30_000, "30 s"),
    ],
)
def test_durations_are_short(elapsed_ms: int, text: str) -> None:
    """A refusal in milliseconds and a timeout in seconds are told apart at a glance."""
    assert duration(elapsed_ms) == text
