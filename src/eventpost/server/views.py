"""From the core's values to what the API answers."""

from binascii import b2a_base64

import msgspec

from eventpost.core.books import SubscriptionReport, TopicReport
from eventpost.core.clauses import ClauseResult
from eventpost.core.interfaces import AttemptRecord, DeadLetter
from eventpost.core.outcomes import Evidence
from eventpost.core.sources import Original
from eventpost.grid.trace import DeliveryStory, Story
from eventpost.registry import forms
from eventpost.registry.models import (
    NULL,
    AttemptView,
    Books,
    ClauseView,
    DeadLetterView,
    DeliveryStoryView,
    EvidenceView,
    MessageView,
    StoryView,
    TopicBooks,
)
from eventpost.server.explanations import cause_and_fix


def books(report: SubscriptionReport) -> Books:
    tally = report.tally
    return Books(
        topic=report.topic,
        subscription=report.subscription,
        matched=tally.matched,
        replayed=tally.replayed,
        delivered=tally.delivered,
        dead_lettered=dict(tally.dead_lettered),
        dropped=dict(tally.dropped),
        pending=tally.pending,
        lag=report.lag,
        in_flight=report.in_flight,
        ladder=report.ladder,
        dead_letters=report.dead_letters,
        is_paused=report.is_paused,
        is_breaker_open=report.is_breaker_open,
        attempts_failed=report.attempts_failed,
        reconnects=report.reconnects,
    )


def topic_books(report: TopicReport) -> TopicBooks:
    return TopicBooks(
        topic=report.topic,
        published=report.published,
        unmatched=report.unmatched,
        rejected=report.rejected,
    )


def evidence(value: Evidence | None) -> EvidenceView | None:
    if value is None:
        return None
    return msgspec.convert(value, EvidenceView, from_attributes=True)


def attempt(record: AttemptRecord) -> AttemptView:
    cause, fix = cause_and_fix(record.finding)
    return AttemptView(
        attempt=record.attempt,
        time=forms.time_text(record.at_ms),
        position=record.position,
        finding=record.finding,
        cause=cause,
        fix=fix,
        evidence=evidence(record.evidence),
        next_attempt_time=forms.time_text(record.next_ms),
    )


def dead_letter(
    letter: DeadLetter,
    *,
    topic: str,
    subscription: str,
    source: str = "",
    has_event: bool = False,
) -> DeadLetterView:
    cause, fix = cause_and_fix(letter.finding)
    is_message = letter.source_id > 0
    return DeadLetterView(
        id=str(letter.id),
        topic=topic,
        subscription=subscription,
        source=source,
        partition=letter.partition,
        position=letter.position,
        event_id=letter.event_id,
        event_type=letter.event_type,
        subject=letter.subject,
        dead_letter_reason=letter.reason.value,
        delivery_attempts=letter.attempts,
        last_delivery_outcome=letter.outcome,
        last_http_status_code=letter.evidence.status if letter.evidence else None,
        publish_time=forms.time_text(letter.published_ms),
        last_delivery_attempt_time=forms.time_text(letter.last_attempt_ms),
        dead_letter_time=forms.time_text(letter.dead_ms),
        finding=letter.finding,
        cause=cause,
        fix=fix,
        evidence=evidence(letter.evidence),
        replayed_time=forms.time_text(letter.replayed_ms),
        exported_to=letter.exported_to,
        event=msgspec.Raw(letter.wire) if has_event and not is_message else NULL,
        message=message(letter) if has_event and is_message else None,
    )


def message(letter: DeadLetter) -> MessageView:
    """What a source's queue gave."""
    original = letter.original or Original()
    try:
        body = letter.wire.decode()
    except UnicodeDecodeError:
        body = None
    return MessageView(
        body=body,
        body_base64=b2a_base64(letter.wire, newline=False).decode(),
        attributes=original.attributes,
        binary_attributes=original.binary_attributes,
        system_attributes=original.system_attributes,
        content_type=original.content_type,
        group=original.group,
    )


def clause(result: ClauseResult) -> ClauseView:
    return ClauseView(
        clause=result.clause, is_met=result.is_met, found=result.found, why=result.why
    )


def story(told: Story) -> StoryView:
    return StoryView(
        topic=told.topic,
        partition=told.partition,
        position=told.position,
        event_id=told.event_id,
        event_type=told.event_type,
        subject=told.subject,
        publish_time=forms.time_text(told.published_ms),
        deliveries=[_delivery_story(each) for each in told.deliveries],
    )


def _delivery_story(told: DeliveryStory) -> DeliveryStoryView:
    return DeliveryStoryView(
        subscription=told.subscription,
        where=told.where.value,
        clauses=[clause(each) for each in told.clauses],
        attempts=[attempt(each) for each in told.attempts],
        next_attempt_time=forms.time_text(told.next_ms),
        dead_letter_id=str(told.dead_letter_id or ""),
        dead_letter_reason=told.reason,
        finding=told.finding,
    )
