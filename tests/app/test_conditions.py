"""What deserves an alert, and what does not: judged from two looks."""

import msgspec
import pytest

from eventpost.app.conditions import (
    Condition,
    Kind,
    Look,
    Thresholds,
    conditions,
    is_refusal,
)
from eventpost.core.books import SubscriptionReport, Tally
from eventpost.core.interfaces import AttemptRecord
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.core.sources import SourceFailure, SourceReport
from eventpost.credentials.reports import Report
from eventpost.diagnosis import catalogue

THRESHOLDS = Thresholds(ladder_min=10, unsettled_s=300.0, credentials_s=900.0, certificate_s=1_000)
NOW_MS = 1_000_000_000


def report(
    *, ladder: int = 0, delivered: int = 0, dead: int = 0, topic: str = "songs"
) -> SubscriptionReport:
    letters = {"Undeliverable": dead} if dead else {}
    return SubscriptionReport(
        topic=topic,
        subscription="blues",
        tally=Tally(matched=delivered + dead + ladder, delivered=delivered, dead_lettered=letters),
        lag=0,
        in_flight=0,
        ladder=ladder,
        dead_letters=dead,
        is_paused=False,
        is_breaker_open=False,
        attempts_failed=0,
    )


def failure(finding: str, *, age_ms: int = 0) -> AttemptRecord:
    return AttemptRecord(
        topic_id=1,
        subscription_id=1,
        partition=0,
        position=0,
        attempt=1,
        at_ms=NOW_MS - age_ms,
        finding=finding,
        evidence=Evidence(stage=Stage.ANSWER, fault=Fault.STATUS, status=403),
    )


def look(*subscriptions: SubscriptionReport, failed: AttemptRecord | None = None) -> Look:
    failures = {} if failed is None else {(subscriptions[0].topic, "blues"): failed}
    return Look(at_ms=NOW_MS, subscriptions=list(subscriptions), failures=failures)


def kinds(now: Look, before: Look | None = None, *active: Condition) -> list[Kind]:
    return [each.kind for each in conditions(now, before, active, THRESHOLDS)]


def test_a_healthy_server_has_none() -> None:
    """Where all goes well, and under load, there is nothing to tell."""
    busy = look(report(delivered=100, ladder=3), failed=failure("EP2503"))

    assert kinds(look(report()), None) == []
    assert kinds(busy, look(report())) == []


@pytest.mark.parametrize("finding", ["EP2401", "EP2403", "EP4101", "EP4201", "EP4402", "EP4501"])
def test_a_refusal(finding: str) -> None:
    """Whoever does not let us, or does not know us, is told at the first look."""
    [found] = conditions(look(report(ladder=1), failed=failure(finding)), None, (), THRESHOLDS)

    assert (found.kind, found.finding) == (Kind.AUTHORIZATION, finding)


@pytest.mark.parametrize("finding", ["EP2503", "EP2004", "EP4104", "EP9001"])
def test_other_failures_are_no_refusals(finding: str) -> None:
    """A handler that is down, or a service that is busy, refuses nobody."""
    assert not is_refusal(finding)


def test_what_counts_as_a_refusal_is_in_the_catalogue() -> None:
    """The findings that are told as refusals exist."""
    from eventpost.app import conditions as module

    assert set(catalogue.all_codes()) >= module._REFUSALS


def test_a_refusal_is_over_when_something_is_delivered() -> None:
    """A delivery after the refusal clears it; nothing at all clears it after ten minutes."""
    refused = failure("EP2403")
    old = failure("EP2403", age_ms=600_001)

    assert kinds(look(report(delivered=1), failed=refused), look(report())) == []
    assert kinds(look(report(), failed=old), look(report())) == []
    assert kinds(look(report(ladder=1), failed=old), look(report(ladder=1))) == [Kind.AUTHORIZATION]


def test_a_ladder_that_grows() -> None:
    """A ladder is told when it grows beyond its bound, holds while it does not shrink, and a small
    one is none."""
    told = Condition(kind=Kind.LADDER, of="subscription", name="blues", topic="songs")

    assert kinds(look(report(ladder=10)), look(report(ladder=9))) == [Kind.LADDER]
    assert kinds(look(report(ladder=9)), look(report(ladder=1))) == []
    assert kinds(look(report(ladder=10)), look(report(ladder=10))) == []
    assert kinds(look(report(ladder=10)), look(report(ladder=10)), told) == [Kind.LADDER]
    assert kinds(look(report(ladder=10)), look(report(ladder=11)), told) == []
    assert kinds(look(report(ladder=50)), None) == []


def test_dead_letters_that_fell() -> None:
    """New dead letters are told with their number; those of before the first look are not."""
    [found] = conditions(look(report(dead=5)), look(report(dead=2)), (), THRESHOLDS)

    assert (found.kind, found.value) == (Kind.DEAD_LETTERS, 3)
    assert kinds(look(report(dead=5)), None) == []
    assert kinds(look(report(dead=5)), look(report(dead=5))) == []


def test_no_alert_about_alerts() -> None:
    """Subscriptions of built-in topics are left out."""
    health = report(ladder=50, dead=5, topic="eventpost.health")

    now = look(health, failed=failure("EP2403"))
    assert kinds(now, look(report(topic="eventpost.health"))) == []


@pytest.mark.parametrize(("age_s", "is_told"), [(299.9, False), (300.0, True)])
def test_messages_that_are_not_settled(age_s: float, is_told: bool) -> None:
    """A message whose deletion fails for long is told with its age."""
    source = SourceReport(source="jobs", topic="songs", oldest_unsettled_s=age_s)
    now = Look(at_ms=NOW_MS, sources=[source])

    assert (kinds(now) == [Kind.UNSETTLED]) is is_told


def test_a_source_that_is_refused() -> None:
    """What a source's queue refuses is told once, with the finding."""
    evidence = Evidence(stage=Stage.ANSWER, fault=Fault.CODE, detail="no")
    failures = tuple(
        SourceFailure(operation=name, at_ms=NOW_MS, finding="EP4201", evidence=evidence)
        for name in ("receive", "settle")
    )
    now = Look(
        at_ms=NOW_MS, sources=[SourceReport(source="jobs", topic="songs", failures=failures)]
    )

    [found] = conditions(now, None, (), THRESHOLDS)
    assert (found.kind, found.of, found.finding) == (Kind.AUTHORIZATION, "source", "EP4201")


@pytest.mark.parametrize(
    ("left_s", "is_renewed", "finding"),
    [
        (900, False, ""),
        (899, False, "EP6005"),
        (899, True, ""),
        (0, True, "EP6015"),
        (-1, False, "EP6015"),
    ],
)
def test_credentials(left_s: int, is_renewed: bool, finding: str) -> None:
    """Credentials that end soon are told unless they are renewed, and those that ended always."""
    who = Report(
        system="aws", link="env", is_renewed=is_renewed, expires_ms=NOW_MS + left_s * 1_000
    )
    now = Look(at_ms=NOW_MS, credentials=[("station", who)])

    found = [each.finding for each in conditions(now, None, (), THRESHOLDS)]
    assert found == ([finding] if finding else [])
    forever = msgspec.structs.replace(who, expires_ms=None)
    assert kinds(Look(at_ms=NOW_MS, credentials=[("station", forever)])) == []


@pytest.mark.parametrize(
    ("left_s", "finding"), [(1_000, ""), (999, "EP6004"), (0, "EP2103"), (-9, "EP2103")]
)
def test_the_listener_s_certificate(left_s: int, finding: str) -> None:
    """A certificate that ends soon is told, and one that has ended as such."""
    now = Look(at_ms=NOW_MS, certificate_ends_ms=NOW_MS + left_s * 1_000)

    found = [each.finding for each in conditions(now, None, (), THRESHOLDS)]
    assert found == ([finding] if finding else [])
