"""Which conditions deserve an alert, from two looks at what the server reports. Pure.

Layer: app. Built-in topics are left out: an alert about the delivery of alerts would feed itself.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypedDict

import msgspec

from eventpost.core.books import SubscriptionReport
from eventpost.core.interfaces import AttemptRecord
from eventpost.core.sources import SourceReport
from eventpost.core.subscriptions import BUILTIN_TOPIC_PREFIX
from eventpost.credentials.reports import Report

HOLD_MS = 600_000
"""A refusal that nothing followed counts for so long: a retry may come late."""
CREDENTIALS_END = "EP6005"
CREDENTIALS_ENDED = "EP6015"
CERTIFICATE_ENDS = "EP6004"
CERTIFICATE_ENDED = "EP2103"
NOT_SETTLED = "EP4026"

_REFUSALS = frozenset(
    {
        *("EP2011", "EP2401", "EP2403", "EP3321"),
        *("EP4101", "EP4102", "EP4154", "EP4301", "EP4303", "EP4304", "EP4306"),
        *("EP4402", "EP4403", "EP4405", "EP4406", "EP4407", "EP6006", "EP6010", "EP6012"),
        *("EP6013", "EP6015"),
    }
)
_REFUSAL_AREAS = ("EP420", "EP421", "EP45", "EP46")
"""Azure Storage's refusals, and whatever is wrong with credentials."""


class Kind(StrEnum):
    """What is wrong, in a word."""

    AUTHORIZATION = "authorization"  # somebody refuses us, or does not know us
    LADDER = "ladder"  # more and more deliveries wait for a retry
    UNSETTLED = "unsettled"  # messages are taken, and their queue still has them
    DEAD_LETTERS = "dead-letters"  # new ones fell
    CREDENTIALS = "credentials"  # they end soon, or have ended
    CERTIFICATE = "certificate"  # it ends soon, or has ended


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong now."""

    kind: Kind
    of: str
    """`subscription`, `source`, `connection` or `server`."""
    name: str
    topic: str = ""
    finding: str = ""
    value: float = 0.0
    """How much: deliveries, seconds, dead letters, or seconds that are left."""
    detail: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The same for the same thing at every look."""
        return self.kind.value, self.of, self.topic, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was reported at one moment."""

    at_ms: int
    subscriptions: list[SubscriptionReport] = field(default_factory=list)
    failures: Mapping[tuple[str, str], AttemptRecord] = field(default_factory=dict)
    """The newest failed attempt of each subscription, by topic and name."""
    sources: list[SourceReport] = field(default_factory=list)
    credentials: list[tuple[str, Report]] = field(default_factory=list)
    certificate_ends_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From where on something is told."""

    ladder_min: int
    unsettled_s: float
    credentials_s: float
    certificate_s: float


def is_refusal(finding: str) -> bool:
    """Whether somebody does not let us, or does not know us."""
    return finding in _REFUSALS or finding.startswith(_REFUSAL_AREAS)


def conditions(
    now: Look, before: Look | None, active: Iterable[Condition], thresholds: Thresholds
) -> list[Condition]:
    """What is wrong now. `before` is the look before this one, `active` what was told of."""
    earlier = {} if before is None else {_key(each): each for each in before.subscriptions}
    told = {each.key for each in active}
    found = list(_of_credentials(now, thresholds))
    for report in now.subscriptions:
        if not report.topic.startswith(BUILTIN_TOPIC_PREFIX):
            found += _of_subscription(report, earlier.get(_key(report)), now, told, thresholds)
    for source in now.sources:
        found += _of_source(source, now, thresholds)
    found += _of_certificate(now, thresholds)
    return found


class _Where(TypedDict):
    of: str
    name: str
    topic: str


def _key(report: SubscriptionReport) -> tuple[str, str]:
    return report.topic, report.subscription


def _of_subscription(
    report: SubscriptionReport,
    before: SubscriptionReport | None,
    now: Look,
    told: set[tuple[str, str, str, str]],
    thresholds: Thresholds,
) -> Iterator[Condition]:
    where: _Where = {"of": "subscription", "name": report.subscription, "topic": report.topic}
    failure = now.failures.get(_key(report))
    finding = "" if failure is None else failure.finding
    if failure is not None and is_refusal(finding) and _counts(failure, report, before, now):
        detail = "" if failure.evidence is None else failure.evidence.detail
        yield Condition(kind=Kind.AUTHORIZATION, finding=finding, detail=detail, **where)
    ladder = Condition(kind=Kind.LADDER, finding=finding, value=report.ladder, **where)
    if report.ladder >= thresholds.ladder_min:
        grew = before is not None and report.ladder > before.ladder
        shrank = before is not None and report.ladder < before.ladder
        if grew or (ladder.key in told and not shrank):
            yield ladder
    fell = _dead(report) - (0 if before is None else _dead(before))
    if before is not None and fell > 0:
        yield Condition(kind=Kind.DEAD_LETTERS, finding=finding, value=fell, **where)


def _counts(
    failure: AttemptRecord,
    report: SubscriptionReport,
    before: SubscriptionReport | None,
    now: Look,
) -> bool:
    """Whether a refusal still says something: nothing was delivered since the look before, and
    either it is young or something waits to be tried again."""
    if before is not None and report.tally.delivered > before.tally.delivered:
        return False
    return report.ladder > 0 or now.at_ms - failure.at_ms <= HOLD_MS


def _dead(report: SubscriptionReport) -> int:
    return sum(report.tally.dead_lettered.values())


def _of_source(source: SourceReport, now: Look, thresholds: Thresholds) -> Iterator[Condition]:
    where: _Where = {"of": "source", "name": source.source, "topic": source.topic}
    for failure in source.failures:
        if is_refusal(failure.finding):
            detail = failure.evidence.detail
            yield Condition(
                kind=Kind.AUTHORIZATION, finding=failure.finding, detail=detail, **where
            )
            break
    if source.oldest_unsettled_s >= thresholds.unsettled_s:
        finding = source.failures[0].finding if source.failures else NOT_SETTLED
        yield Condition(
            kind=Kind.UNSETTLED, finding=finding, value=source.oldest_unsettled_s, **where
        )


def _of_credentials(now: Look, thresholds: Thresholds) -> Iterator[Condition]:
    for connection, report in now.credentials:
        if report.expires_ms is None:
            continue
        left_s = (report.expires_ms - now.at_ms) / 1_000
        is_near = left_s < thresholds.credentials_s and not report.is_renewed
        if left_s <= 0 or is_near:
            yield Condition(
                kind=Kind.CREDENTIALS,
                of="connection",
                name=connection,
                finding=CREDENTIALS_ENDED if left_s <= 0 else CREDENTIALS_END,
                value=left_s,
                detail=f"{report.link} ({report.identity})",
            )


def _of_certificate(now: Look, thresholds: Thresholds) -> Iterator[Condition]:
    if now.certificate_ends_ms is None:
        return
    left_s = (now.certificate_ends_ms - now.at_ms) / 1_000
    if left_s < thresholds.certificate_s:
        finding = CERTIFICATE_ENDED if left_s <= 0 else CERTIFICATE_ENDS
        yield Condition(
            kind=Kind.CERTIFICATE, of="server", name="listener", finding=finding, value=left_s
        )
