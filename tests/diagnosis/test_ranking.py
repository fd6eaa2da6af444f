"""Evidence in its circumstances: the right cause first, and what it is not, with the reason.

Evidence comes from real peers where the symptom can be made on a socket: see `tests/doctor`. Here
is the judgement of it, which is pure.
"""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.diagnosis import catalogue
from eventpost.diagnosis.history import Attempt, Pattern, began_ms, matrix, pattern
from eventpost.diagnosis.ranking import Circumstances, Diagnosis, rank

FIREWALL = Evidence(
    stage=Stage.ANSWER,
    fault=Fault.CODE,
    status=403,
    system="storagequeue",
    operation="settle",
    code="AuthorizationFailure",
    address="20.60.1.2:443",
)
DENIED = Evidence(
    stage=Stage.ANSWER,
    fault=Fault.CODE,
    system="kafka",
    operation="connect",
    code="SASL_AUTHENTICATION_FAILED",
    detail="[0b1c]: Access denied",
)
RESET = Evidence(stage=Stage.WAIT, fault=Fault.RESET, operation="send", elapsed_ms=3)
EXPIRED = Evidence(stage=Stage.TLS, fault=Fault.CERTIFICATE_EXPIRED)
ROLE = Evidence(
    stage=Stage.ANSWER,
    fault=Fault.CODE,
    status=403,
    system="storagequeue",
    operation="extend",
    code="AuthorizationPermissionMismatch",
)


def tries(
    text: str, evidence: Evidence, *, every_ms: int = 1_000, operation: str = ""
) -> tuple[Attempt, ...]:
    """Attempts from a line such as `++-+`, one each second."""
    return tuple(
        Attempt(
            at_ms=index * every_ms,
            operation=operation or evidence.operation or "",
            evidence=None if sign == "+" else evidence,
        )
        for index, sign in enumerate(text)
    )


def codes(diagnosis: Diagnosis) -> list[str]:
    return [each.code for each in diagnosis.findings]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", Pattern.UNKNOWN),
        ("-", Pattern.UNKNOWN),
        ("++", Pattern.UNKNOWN),
        ("--", Pattern.CONSTANT),
        ("++--", Pattern.SINCE),
        ("+-+-", Pattern.INTERMITTENT),
        ("--++", Pattern.INTERMITTENT),
    ],
)
def test_how_failures_lie_in_time(text: str, wanted: Pattern) -> None:
    """Constant, now and then, and since a moment are told apart; too few attempts say nothing."""
    assert pattern(tries(text, FIREWALL), "settle") is wanted


def test_failures_after_a_pause() -> None:
    """A failure that follows a pause and is followed by a success is one of an idle connection;
    without a pause it is not."""
    paused = tries("+-", RESET, every_ms=600_000)
    paused += (Attempt(at_ms=600_100, operation="send"),)

    assert pattern(paused, "send") is Pattern.AFTER_IDLE
    assert pattern(tries("+-+", RESET), "send") is Pattern.INTERMITTENT


def test_since_when() -> None:
    """The first failure after the last success is when it began."""
    assert began_ms(tries("+--", FIREWALL), "settle") == 1_000
    assert began_ms(tries("--+", FIREWALL), "settle") is None


def test_the_matrix_is_of_the_last_attempts() -> None:
    """What counts of an operation is its last attempt."""
    attempts = tries("-+", FIREWALL) + tries("+-", ROLE)

    assert matrix(attempts) == {"settle": True, "extend": False}


AMBIGUOUS: dict[str, tuple[Evidence, Circumstances, str, set[str]]] = {
    "a delete is refused now and then": (
        FIREWALL,
        Circumstances(attempts=tries("+-+--+", FIREWALL)),
        "EP6012",
        {"EP4202", "EP4203"},
    ),
    "only deleting is refused": (
        FIREWALL,
        Circumstances(attempts=tries("--", FIREWALL) + tries("++", FIREWALL, operation="receive")),
        "EP6012",
        {"EP4202", "EP4203"},
    ),
    "everything is refused": (
        FIREWALL,
        Circumstances(attempts=tries("---", FIREWALL)),
        "EP4201",
        {"EP4202"},
    ),
    "everything is refused since a moment": (
        FIREWALL,
        Circumstances(attempts=tries("++++---", FIREWALL)),
        "EP4201",
        {"EP4202"},
    ),
    "a role lacks one operation": (
        ROLE,
        Circumstances(attempts=tries("--", ROLE) + tries("++", ROLE, operation="receive")),
        "EP4202",
        {"EP4201", "EP4203"},
    ),
    "Access denied, and the clock is wrong": (
        DENIED,
        Circumstances(clock_ahead_s=400.0),
        "EP6002",
        set(),
    ),
    "Access denied, and the clock is right": (
        DENIED,
        Circumstances(clock_ahead_s=1.0),
        "EP4402",
        {"EP6002"},
    ),
    "Access denied after it worked": (
        DENIED,
        Circumstances(attempts=tries("++--", DENIED)),
        "EP6015",
        {"EP4403"},
    ),
    "Access denied with credentials that have ended": (
        DENIED,
        Circumstances(credentials_expire_ms=10, now_ms=20),
        "EP6015",
        set(),
    ),
    "a certificate has expired, by a clock that is ahead": (
        EXPIRED,
        Circumstances(clock_ahead_s=86_400.0),
        "EP6002",
        set(),
    ),
    "a certificate has expired": (EXPIRED, Circumstances(clock_ahead_s=0.0), "EP2103", {"EP6002"}),
    "a reset after each pause": (
        RESET,
        Circumstances(
            attempts=(
                Attempt(at_ms=0, operation="send"),
                Attempt(at_ms=600_000, operation="send", evidence=RESET),
                Attempt(at_ms=600_100, operation="send"),
            )
        ),
        "EP6014",
        set(),
    ),
    "a reset without a pause": (
        RESET,
        Circumstances(attempts=tries("+-+-", RESET)),
        "EP2204",
        set(),
    ),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_an_ambiguous_symptom(case: str) -> None:
    """Of one symptom with several causes the right one is listed first, what it is not is ruled
    out with a reason, and both are in the catalogue."""
    evidence, circumstances, wanted, ruled_out = AMBIGUOUS[case]

    found = rank(evidence, circumstances)

    assert found.code == wanted, found
    assert ruled_out <= {each.code for each in found.ruled_out}, found
    assert all(each.why for each in found.findings)
    assert all(each.why for each in found.ruled_out)
    named = {*codes(found), *(each.code for each in found.ruled_out)}
    assert named <= set(catalogue.all_codes())


def test_a_drop_is_told_from_a_refusal_by_time() -> None:
    """Refused in milliseconds and silent until the bound are sure, and rule each other out."""
    refused = rank(Evidence(stage=Stage.CONNECT, fault=Fault.REFUSED, elapsed_ms=2))
    dropped = rank(Evidence(stage=Stage.CONNECT, fault=Fault.TIMED_OUT, elapsed_ms=5_000))

    assert (refused.code, dropped.code) == ("EP2004", "EP2006")
    assert [each.code for each in refused.ruled_out] == ["EP2006"]
    assert [each.code for each in dropped.ruled_out] == ["EP2004"]
    assert refused.findings[0].confidence >= 0.9


def test_a_private_address_rules_the_dns_out() -> None:
    """Whoever was reached at a private address was not reached past its private endpoint."""
    private = msgspec.structs.replace(FIREWALL, address="10.1.2.3:443")

    assert "EP6013" in codes(rank(FIREWALL))
    assert "EP6013" not in codes(rank(private))
    assert "EP6013" in {each.code for each in rank(private).ruled_out}


PRIVATE_LINK = Circumstances(names=("songs.queue.example", "songs.privatelink.queue.example"))


@pytest.mark.parametrize(
    ("address", "code"),
    [("20.60.1.2:443", "EP6013"), ("10.1.2.3:443", "EP4201"), (None, "EP4201")],
)
def test_a_private_endpoint_that_is_not_used(address: str | None, code: str) -> None:
    """Where the account has a private endpoint, a refusal at a public address is that it is not
    used; one at a private address is not, nor is one of which the address is not known."""
    refused = msgspec.structs.replace(FIREWALL, address=address)

    assert rank(refused, PRIVATE_LINK).code == code


def test_too_many_connects() -> None:
    """MSK's one refusal that says why is taken at its word."""
    evidence = msgspec.structs.replace(DENIED, detail="[0b1c]: Too many connects")

    assert rank(evidence).code == "EP6016"


EVIDENCE = st.builds(
    Evidence,
    stage=st.sampled_from(Stage),
    fault=st.sampled_from(Fault),
    elapsed_ms=st.integers(0, 100_000),
    status=st.none() | st.integers(100, 599),
    system=st.sampled_from([None, "kafka", "storagequeue", "sqs"]),
    operation=st.sampled_from([None, "send", "settle"]),
    code=st.sampled_from([None, "AuthorizationFailure", "SASL_AUTHENTICATION_FAILED", "odd"]),
    address=st.sampled_from([None, "10.0.0.1:1", "nonsense", "[::1]:2"]),
)


@given(
    evidence=EVIDENCE,
    attempts=st.lists(
        st.builds(
            Attempt,
            at_ms=st.integers(0, 10**7),
            operation=st.sampled_from(["", "send", "settle"]),
            evidence=st.none() | EVIDENCE,
        ),
        max_size=8,
    ),
    clock=st.none() | st.floats(-(10**6), 10**6),
)
def test_every_evidence_is_ranked(
    evidence: Evidence, attempts: list[Attempt], clock: float | None
) -> None:
    """Whatever was seen, there is a finding, confidences are in order and at most 1 together, and
    nothing is found and ruled out at once."""
    found = rank(evidence, Circumstances(attempts=tuple(attempts), clock_ahead_s=clock))

    confidences = [each.confidence for each in found.findings]
    assert confidences == sorted(confidences, reverse=True)
    assert 0 < sum(confidences) <= 1.02
    assert not set(codes(found)) & {each.code for each in found.ruled_out}
    assert set(codes(found)) <= set(catalogue.all_codes())
