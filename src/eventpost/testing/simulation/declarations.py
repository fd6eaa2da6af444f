"""Random topics' events, filters and subscriptions, from a small vocabulary so that they meet."""

import json
import random

from eventpost.core.events import Event, Schema
from eventpost.core.subscriptions import (
    PULL,
    AdvancedFilter,
    Endpoint,
    Filter,
    Operator,
    RetryPolicy,
    Topic,
)
from eventpost.formats import topics
from eventpost.formats.domains import DomainInput
from eventpost.formats.publish import decode_publish

SUBJECTS = ("genre/blues", "genre/jazz", "Genre/Blues/slow", "news")
TYPES = ("Radio.SongRequested", "Radio.SongPlayed")
DOMAIN_TOPICS = ("radio-1", "radio-2", "Radio-2", "radio-3")
SIZES = (0, 0, 0, 200, 3_000)
HEADERS = {
    Schema.EVENT_GRID: {b"content-type": b"application/json"},
    Schema.CLOUD_EVENTS: {b"content-type": b"application/cloudevents-batch+json"},
}


def events(draw: random.Random, topic: Topic, ids: list[str]) -> list[Event]:
    """One published batch, as the publish endpoint takes it in."""
    schema = topic.input_schema
    objects = [_object(draw, schema, event_id) for event_id in ids]
    domain = None
    if topic.is_domain:
        domain = DomainInput(topic)
        field = "source" if schema is Schema.CLOUD_EVENTS else "topic"
        objects = [each | {field: draw.choice(DOMAIN_TOPICS)} for each in objects]
    body = json.dumps(objects).encode()
    resource = topics.resource_of(topic)
    return decode_publish(schema, body, HEADERS[schema], resource, None, domain)


def _object(draw: random.Random, schema: Schema, event_id: str) -> dict[str, object]:
    data = {"stars": draw.randrange(6), "filling": "x" * draw.choice(SIZES)}
    common: dict[str, object] = {"id": event_id, "subject": draw.choice(SUBJECTS), "data": data}
    if schema is Schema.CLOUD_EVENTS:
        return common | {"specversion": "1.0", "type": draw.choice(TYPES), "source": "/radio"}
    return common | {
        "eventType": draw.choice(TYPES),
        "eventTime": "2026-01-01T00:00:00Z",
        "dataVersion": "1",
    }


def filter_(draw: random.Random) -> Filter:
    match draw.randrange(5):
        case 0:
            return Filter(subject_begins_with="genre/")
        case 1:
            return Filter(included_event_types=(draw.choice(TYPES),))
        case 2:
            stars = AdvancedFilter(
                key="data.stars",
                operator_type=Operator.NUMBER_GREATER_THAN,
                values=(draw.randrange(5),),
            )
            return Filter(advanced=(stars,))
        case _:
            return Filter()


def endpoint(draw: random.Random) -> Endpoint:
    return Endpoint(
        max_events_per_batch=draw.choice((1, 1, 3, 20)),
        preferred_batch_size_in_kilobytes=draw.choice((1, 64)),
        concurrency=draw.choice((1, 2, 8)),
        rate_per_s=draw.choice((None, None, None, 20.0, 0.5)),
    )


def pulled(draw: random.Random, lock_s: float) -> Endpoint:
    """Where consumers come for the events."""
    return Endpoint(
        type=PULL,
        delivery_schema=Schema.CLOUD_EVENTS,
        receive_lock_duration_s=lock_s,
        max_delivery_count=draw.choice((2, 10)),
    )


def retry(draw: random.Random) -> RetryPolicy:
    schedule = draw.choice(((20, 100, 500), (200, 1_000), "event-grid"))
    return RetryPolicy(
        schedule=schedule,
        max_delivery_attempts=draw.choice((1, 3, 4 if schedule == "event-grid" else 30)),
        event_ttl_ms=draw.choice((2_000, 60_000, 24 * 3_600_000, 24 * 3_600_000)),
    )
