"""One mapping between what users declare and what the core keeps, there and back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Schema
from eventpost.core.subscriptions import (
    AdvancedFilter,
    DeliveryAttribute,
    Endpoint,
    Filter,
    Operator,
    RetryPolicy,
    Subscription,
)
from eventpost.registry import masks, shapes
from eventpost.registry.declarations import (
    SubscriptionDeclaration,
    TopicDeclaration,
    from_core,
    patched,
    to_core,
)

YAML_SHAPED = {
    "topic": "song-requests",
    "name": "blues",
    "endpoint": "https://station.example/api/songs?code=s3cret",
    "filter": {
        "subject_begins_with": "genre/",
        "advanced_filters": [
            {"key": "data.bpm", "operatorType": "numberinrange", "values": [[60, 90]]},
            {"key": "data.live", "operatorType": "BoolEquals", "value": True},
        ],
    },
    "retry": {"max_delivery_attempts": 2, "event_ttl_minutes": 1, "schedule": "10s,1m"},
    "deadletter": "folder:/var/dead",
    "deadletterConnection": "cellar",
    "delivery_attribute_mappings": [
        {"name": "x-token", "value": "t0p", "is_secret": True},
        {"name": "x-genre", "type": "dynamic", "source_field": "data.genre"},
    ],
    "rate": "50/s",
    "response_timeout": "1500ms",
}


def declared(**changes: object) -> SubscriptionDeclaration:
    return shapes.read(YAML_SHAPED | changes, SubscriptionDeclaration)


def test_a_file_and_the_api_mean_the_same() -> None:
    """Snake case, as in the file, and camel case, as in the API, give the same subscription."""
    from_file = declared()

    from_api = msgspec.json.decode(msgspec.json.encode(from_file), type=SubscriptionDeclaration)

    assert from_api == from_file
    assert b'"subjectBeginsWith":"genre/"' in msgspec.json.encode(from_file)


def test_everything_declared_arrives_in_the_core() -> None:
    """Each declared field reaches the core's value, units converted."""
    core = to_core(declared())

    assert core.filter == Filter(
        subject_begins_with="genre/",
        advanced=(
            AdvancedFilter(
                key="data.bpm", operator_type=Operator.NUMBER_IN_RANGE, values=((60, 90),)
            ),
            AdvancedFilter(key="data.live", operator_type=Operator.BOOL_EQUALS, values=(True,)),
        ),
    )
    assert core.retry == RetryPolicy(
        schedule=(10_000, 60_000), max_delivery_attempts=2, event_ttl_ms=60_000
    )
    assert core.endpoint.rate_per_s == 50
    assert core.endpoint.response_timeout_s == 1.5
    assert core.endpoint.attributes == (
        DeliveryAttribute(name="x-token", type="static", value="t0p", is_secret=True),
        DeliveryAttribute(name="x-genre", type="dynamic", value="data.genre"),
    )


subscriptions = st.builds(
    Subscription,
    id=st.just(0),
    topic_id=st.just(0),
    created_ms=st.just(0),
    name=st.just("blues"),
    deadletter=st.sampled_from([None, "folder:/dead"]),
    filter=st.builds(
        Filter,
        included_event_types=st.sampled_from([None, ("A", "B")]),
        subject_begins_with=st.sampled_from(["", "genre/"]),
        subject_case_sensitive=st.booleans(),
        advanced_filtering_on_arrays=st.booleans(),
        advanced=st.lists(
            st.sampled_from(
                [
                    AdvancedFilter(key="a", operator_type=Operator.STRING_IN, values=("x", "y")),
                    AdvancedFilter(key="a", operator_type=Operator.NUMBER_LESS_THAN, values=(1.5,)),
                    AdvancedFilter(
                        key="b", operator_type=Operator.NUMBER_IN_RANGE, values=((1, 2), (3, 4))
                    ),
                    AdvancedFilter(key="c", operator_type=Operator.IS_NOT_NULL),
                ]
            ),
            max_size=3,
        ).map(tuple),
    ),
    retry=st.builds(
        RetryPolicy,
        schedule=st.sampled_from(["event-grid", "event-grid-2023", (10, 2_500, 60_000)]),
        max_delivery_attempts=st.integers(1, 30),
        event_ttl_ms=st.integers(10, 1_440 * 60_000),
    ),
    endpoint=st.builds(
        Endpoint,
        address=st.sampled_from(["https://a.example/x", "https://a.example/x?code=1&b=2"]),
        delivery_schema=st.sampled_from([None, *Schema]),
        concurrency=st.integers(1, 64),
        rate_per_s=st.sampled_from([None, 0.5, 100.0]),
        response_timeout_s=st.sampled_from([0.25, 30.0, 90.0]),
        signing_secrets=st.sampled_from([(), ("env:ONE", "file:/two")]),
        azure_active_directory_tenant_id=st.just("contoso.example"),
        azure_active_directory_application_id_or_uri=st.sampled_from(["api://a", "https://b/"]),
        attributes=st.sampled_from(
            [(), (DeliveryAttribute(name="x", type="static", value="v", is_secret=True),)]
        ),
    ),
)


@given(subscriptions)
def test_there_and_back(subscription: Subscription) -> None:
    """What is shown declares exactly what was kept, through JSON too."""
    shown = msgspec.json.encode(from_core(subscription, topic="t", is_masked=False))

    assert to_core(shapes.read(shapes.decode_json(shown), SubscriptionDeclaration)) == subscription


@given(subscriptions)
def test_a_masked_value_that_comes_back_keeps_the_secret(subscription: Subscription) -> None:
    """Showing a subscription and sending it back changes nothing, although secrets were hidden."""
    shown = from_core(subscription, topic="t")

    assert to_core(shown, current=subscription) == subscription


def test_secrets_are_hidden() -> None:
    """Neither a secret attribute nor the query of an endpoint is shown."""
    shown = msgspec.json.encode(from_core(to_core(declared())))

    assert b"t0p" not in shown
    assert b"s3cret" not in shown


def test_open_values_are_shown() -> None:
    """Masks hide only what is secret."""
    assert masks.masked_url("https://a.example/x") == "https://a.example/x"
    assert (
        masks.masked_url("https://u:p@a.example/x?k=v&l") == "https://u:***@a.example/x?k=***&***"
    )


def test_a_patch_changes_only_what_it_names() -> None:
    """A merge patch keeps the other fields, nested ones too; null is the default again."""
    patch = {"filter": {"subjectEndsWith": ".mp3"}, "rate": None, "retry": {"event_ttl": "30s"}}

    after = patched(declared(), patch)

    assert after.filter.subject_begins_with == "genre/"
    assert after.filter.subject_ends_with == ".mp3"
    assert after.rate is None
    assert after.retry.event_ttl == "30s"
    assert after.retry.max_delivery_attempts == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"retry": {"event_ttl": "5s", "event_ttl_minutes": 1}}, "both eventTtl"),
        ({"event_delivery_schema": "cloudevents"}, "no schema"),
        ({"rate": "fast"}, "not a rate"),
        ({"response_timeout": "soon"}, "not a duration"),
        ({"delivery_attribute_mappings": [{"name": "x", "type": "sttic"}]}, "sttic"),
        ({"retry": {"max_delivery_attempts": 31}}, "31"),
        ({"retry": {"event_ttl_minutes": 1441}}, "time to live"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, object], says: str) -> None:
    """A wrong value is refused with the value in the message and a fix."""
    with pytest.raises(InvalidRequest) as refused:
        to_core(declared(**change))

    assert says in str(refused.value)
    assert refused.value.fix


def test_a_topic_knows_its_schema_in_any_case() -> None:
    """The schema's name is read as `az` and the portal write it."""
    assert TopicDeclaration(input_schema="CloudEventSchemaV1_0").schema is Schema.CLOUD_EVENTS


@pytest.mark.parametrize(
    ("start", "at"),
    [("now", "now"), ("earliest", "earliest"), ("1970-01-01T00:00:01Z", 1_000), (5, 5)],
)
def test_where_a_subscription_starts(start: str | int, at: str | int) -> None:
    """`start` is a word, a time, or milliseconds."""
    assert declared(start=start).start_at(now_ms=0) == at
