"""From evidence in its circumstances to findings, the likeliest first. Pure.

Layer: diagnosis. `classify` gives one code for one attempt, quickly; here is what a second look
makes of it: the same refusal means another thing when it comes now and then, when other operations
work, when the clock is wrong, or when it began at a moment.
"""

import ipaddress
from collections.abc import Callable, Sequence

import msgspec

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.diagnosis.classify import classify
from eventpost.diagnosis.history import Attempt, Pattern, matrix, pattern

CLOCK_SKEW_S_MAX = 120.0
QUICK_MS = 250
"""An answer that comes this fast was given; what is dropped takes as long as it was waited for."""
CONFIDENCE_MIN = 0.05

CLOCK_WRONG = "EP6002"
SEVERAL_EGRESS = "EP6012"
PRIVATE_ENDPOINT_UNUSED = "EP6013"
CLOSED_WHILE_IDLE = "EP6014"
CREDENTIALS_NOT_RENEWED = "EP6015"
STORAGE_NETWORK, STORAGE_ROLE, STORAGE_KEY = "EP4201", "EP4202", "EP4203"
STORAGE_KEYS_OFF = "EP4212"
KAFKA_REFUSES_US = "EP4402"
AWS_CLOCK, STORAGE_CLOCK, AZURE_CLOCK = "EP4519", "EP4205", "EP4614"

_CLOCKS = frozenset({AWS_CLOCK, STORAGE_CLOCK, AZURE_CLOCK})
_OF_THE_CLOCK = frozenset({"EP2103", "EP2104", "EP4203", "EP4204", "EP4402", "EP4518", "EP4207"})
"""Findings that a wrong clock here brings about, too."""
_ENDED = (Fault.RESET, Fault.CLOSED)


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside one attempt. Everything may be missing."""

    attempts: tuple[Attempt, ...] = ()
    """Of the same peer with the same credential, in order of time, this one included."""
    clock_ahead_s: float | None = None
    """This machine's clock against a peer's."""
    names: tuple[str, ...] = ()
    """The peer's, and every name that the resolver goes over to its addresses."""
    credentials_expire_ms: int | None = None
    now_ms: int | None = None


NOTHING = Circumstances()


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A finding, how sure it is (0 to 1), and what speaks for it."""

    code: str
    confidence: float
    why: str


class RuledOut(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that it is not, although the symptom is alike."""

    code: str
    why: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What evidence comes to: findings, the likeliest first, and those that it cannot be."""

    findings: tuple[Ranked, ...]
    ruled_out: tuple[RuledOut, ...] = ()

    @property
    def code(self) -> str:
        return self.findings[0].code


def private_link(names: Sequence[str]) -> str:
    """The name of a private endpoint among these; "" without one.

    Once an account has an endpoint, Azure's own DNS makes the account's name an alias of one below
    `privatelink`, for everybody: https://learn.microsoft.com/azure/private-link/private-endpoint-dns
    """
    return next((each for each in names if ".privatelink." in each), "")


class Case:
    """One attempt in its circumstances, with what the rules ask for."""

    def __init__(self, evidence: Evidence, circumstances: Circumstances) -> None:
        self.evidence = evidence
        self.circumstances = circumstances
        self.code = classify(evidence)
        self.operation = evidence.operation or ""
        self.pattern = pattern(circumstances.attempts, self.operation)
        operations = matrix(circumstances.attempts)
        self.working = sorted(
            name for name, worked in operations.items() if worked and name != self.operation
        )
        self._weights: dict[str, tuple[float, str]] = {}
        self._ruled_out: dict[str, str] = {}

    def say(self, code: str, weight: float, why: str) -> None:
        """Something speaks for a finding; what speaks most counts."""
        if weight > self._weights.get(code, (0.0, ""))[0]:
            self._weights[code] = weight, why

    def rule_out(self, code: str, why: str) -> None:
        self._ruled_out.setdefault(code, why)

    def diagnosis(self) -> Diagnosis:
        left = {
            code: said for code, said in self._weights.items() if code not in self._ruled_out
        } or self._weights
        total = max(1.0, sum(weight for weight, _ in left.values()))
        ranked = sorted(
            (
                Ranked(code=code, confidence=round(weight / total, 2), why=why)
                for code, (weight, why) in left.items()
            ),
            key=lambda each: (-each.confidence, each.code),
        )
        kept = [each for each in ranked if each.confidence >= CONFIDENCE_MIN] or ranked[:1]
        named = {each.code for each in kept}
        return Diagnosis(
            findings=tuple(kept),
            ruled_out=tuple(
                RuledOut(code=code, why=why)
                for code, why in self._ruled_out.items()
                if code not in named
            ),
        )


def rank(evidence: Evidence, circumstances: Circumstances = NOTHING) -> Diagnosis:
    """The findings that the evidence may come from. Always at least one."""
    case = Case(evidence, circumstances)
    case.say(case.code, *_first_look(case))
    for rule in RULES:
        rule(case)
    return case.diagnosis()


def _first_look(case: Case) -> tuple[float, str]:
    """How sure one attempt alone makes its own finding, and why."""
    evidence = case.evidence
    if evidence.code is not None:
        return 0.8, f"{evidence.system or 'the service'} answered {evidence.code}"
    if evidence.fault is Fault.STATUS:
        return 0.8, f"the answer has the status {evidence.status}"
    if evidence.fault is Fault.UNEXPECTED:
        return 0.3, "what was seen is in no table"
    return 0.9, f"{evidence.fault.value} at {evidence.stage.value} after {evidence.elapsed_ms} ms"


# --- the rules ------------------------------------------------------------------------------------


def _clock(case: Case) -> None:
    """A clock that is off explains what it signs and judges; a right one explains nothing."""
    ahead_s = case.circumstances.clock_ahead_s
    if ahead_s is None:
        return
    if abs(ahead_s) <= CLOCK_SKEW_S_MAX:
        case.rule_out(CLOCK_WRONG, f"the clocks agree to {abs(ahead_s):.0f} s")
        return
    if case.code in _CLOCKS | _OF_THE_CLOCK:
        side = "ahead" if ahead_s > 0 else "behind"
        case.say(CLOCK_WRONG, 3.0, f"the clock here is {abs(ahead_s):.0f} s {side}")


def _time_of_connecting(case: Case) -> None:
    """Who refuses does so at once; who drops is silent until the bound."""
    evidence = case.evidence
    if evidence.stage is not Stage.CONNECT:
        return
    if evidence.fault is Fault.REFUSED:
        if evidence.elapsed_ms <= QUICK_MS:
            case.say(
                "EP2004", 0.95, f"refused after {evidence.elapsed_ms} ms: the machine is there"
            )
        case.rule_out("EP2006", "an answer came, so nothing was dropped")
    if evidence.fault is Fault.TIMED_OUT:
        case.say("EP2006", 0.95, f"nothing came back in {evidence.elapsed_ms} ms: it was dropped")
        case.rule_out("EP2004", "a port where nobody listens answers in milliseconds")
    if case.pattern is Pattern.INTERMITTENT:
        case.rule_out("EP2001", "the name was found")


def _idle(case: Case) -> None:
    """What fails only after a pause, and works when tried again, was closed meanwhile."""
    is_ended = case.evidence.fault in _ENDED or case.evidence.code in ("_TRANSPORT", "CLOSED")
    if case.pattern is Pattern.AFTER_IDLE and is_ended:
        case.say(CLOSED_WHILE_IDLE, 3.0, "each failure follows a pause, and the next try works")


def _storage_network(case: Case) -> None:
    """`AuthorizationFailure` is no matter of roles: which network rule it is, time tells."""
    if case.code != STORAGE_NETWORK:
        return
    case.rule_out(STORAGE_ROLE, "a missing role has a code of its own, and is as constant as it")
    case.rule_out(STORAGE_KEY, "a wrong key or signature is answered AuthenticationFailed")
    case.rule_out(STORAGE_KEYS_OFF, "keys that are not permitted have a code of their own")
    if case.pattern is Pattern.INTERMITTENT:
        case.say(SEVERAL_EGRESS, 3.0, "the same call works now and then, with the same credential")
    elif case.pattern is Pattern.SINCE:
        case.say(STORAGE_NETWORK, 2.0, "it worked until a moment: the rule or our address changed")
    elif case.working:
        told = f"{', '.join(case.working)} work with the same credential"
        case.say(SEVERAL_EGRESS, 1.2, f"{told}: another connection, another address of ours")
    if _is_private(case.evidence.address):
        case.rule_out(PRIVATE_ENDPOINT_UNUSED, "it was reached at a private address")
    elif case.evidence.address and (private_name := private_link(case.circumstances.names)):
        told = f"the account has a private endpoint ({private_name}), and was reached at"
        case.say(PRIVATE_ENDPOINT_UNUSED, 3.0, f"{told} a public address")
    elif case.evidence.address and case.pattern is not Pattern.INTERMITTENT and not case.working:
        case.say(PRIVATE_ENDPOINT_UNUSED, 0.3, "it was reached at a public address")


def _storage_role(case: Case) -> None:
    if case.code != STORAGE_ROLE:
        return
    case.rule_out(STORAGE_NETWORK, "a network rule is answered AuthorizationFailure")
    case.rule_out(STORAGE_KEY, "the service knows who asks")
    if case.working:
        case.say(STORAGE_ROLE, 0.97, f"{', '.join(case.working)} are allowed, this one is not")


def _kafka_refusal(case: Case) -> None:
    """Amazon MSK says `Access denied` for everything: what is left is told by what is known."""
    if case.code != KAFKA_REFUSES_US:
        return
    expire_ms, now_ms = case.circumstances.credentials_expire_ms, case.circumstances.now_ms
    if expire_ms is not None and now_ms is not None and expire_ms <= now_ms:
        case.say(CREDENTIALS_NOT_RENEWED, 3.0, "the credentials had ended when they were used")
    elif case.pattern in (Pattern.SINCE, Pattern.INTERMITTENT, Pattern.AFTER_IDLE):
        told = "the same credentials were accepted before"
        case.say(CREDENTIALS_NOT_RENEWED, 1.5, f"{told}: a token that was not renewed in time")
        case.rule_out("EP4403", "the mechanism was accepted before")
    if "Too many connects" in case.evidence.detail:
        case.say("EP6016", 4.0, "the broker says that there were too many new connections")


def _is_private(address: str | None) -> bool:
    host = (address or "").rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_private
    except ValueError:
        return False


RULES: Sequence[Callable[[Case], None]] = (
    _clock,
    _time_of_connecting,
    _idle,
    _storage_network,
    _storage_role,
    _kafka_refusal,
)
