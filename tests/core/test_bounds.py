"""What users may declare: every bound at its edge, and what each refusal says."""

import math
from collections.abc import Callable

import msgspec
import pytest

from eventpost.core.bounds import (
    Limits,
    check_delivery_schema,
    check_endpoint,
    check_filter,
    check_retry,
    check_subscription,
    check_subscription_name,
    check_topic_name,
)
from eventpost.core.endpoint_bounds import RESERVED_HEADERS
from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Schema
from eventpost.core.subscriptions import (
    RETRY_SCHEDULES_MS,
    AdvancedFilter,
    DeliveryAttribute,
    Endpoint,
    Filter,
    RetryPolicy,
    Subscription,
)
from tests.core.examples import advanced, clause

URL = "https://hooks.example.com/orders"
DAY_MS = 86_400_000


def refusal(check: Callable[..., None], *declared: object) -> InvalidRequest | None:
    try:
        check(*declared)
    except InvalidRequest as error:
        return error
    return None


def webhook(**settings: object) -> Endpoint:
    return msgspec.structs.replace(Endpoint(address=URL), **settings)


def static(name: str = "X-Station", value: str = "blues") -> DeliveryAttribute:
    return DeliveryAttribute(name=name, type="static", value=value)


def dynamic(value: str) -> DeliveryAttribute:
    return DeliveryAttribute(name="X-Station", type="dynamic", value=value)


# --- edges --------------------------------------------------------------------------------------


def filters_of(count: int) -> Filter:
    return Filter(advanced=tuple(clause("data.x", "IsNotNull") for _ in range(count)))


def values_of(count: int) -> Filter:
    first = clause("data.x", "NumberIn", *range(10))
    return Filter(advanced=(first, clause("data.y", "StringIn", *map(str, range(count - 10)))))


def attributes_of(count: int) -> Endpoint:
    return webhook(attributes=tuple(static(f"X-{index}") for index in range(count)))


# What is checked, its largest (or smallest) allowed size, and the step beyond it.
EDGES: dict[str, tuple[Callable[[int], Callable[[], None]], int, int]] = {
    "topic name, longest": (lambda n: lambda: check_topic_name("t" * n), 50, 1),
    "topic name, shortest": (lambda n: lambda: check_topic_name("t" * n), 3, -1),
    "subscription name, longest": (lambda n: lambda: check_subscription_name("s" * n), 50, 1),
    "subscription name, shortest": (lambda n: lambda: check_subscription_name("s" * n), 3, -1),
    "event types": (
        lambda n: (
            lambda: check_filter(
                Filter(included_event_types=tuple(f"T{index}" for index in range(n)))
            )
        ),
        500,
        1,
    ),
    "advanced filters": (lambda n: lambda: check_filter(filters_of(n)), 25, 1),
    "values in total": (lambda n: lambda: check_filter(values_of(n)), 25, 1),
    "ranges": (
        lambda n: lambda: check_filter(advanced("data.x", "NumberInRange", *[(1, 2)] * n)),
        25,
        1,
    ),
    "characters of a value": (
        lambda n: lambda: check_filter(advanced("data.x", "StringIn", "ß" * n)),
        512,
        1,
    ),
    "characters of a key": (lambda n: lambda: check_filter(advanced("k" * n, "IsNotNull")), 512, 1),
    "characters of an event type": (
        lambda n: lambda: check_filter(Filter(included_event_types=("T" * n,))),
        512,
        1,
    ),
    "characters of subject begins with": (
        lambda n: lambda: check_filter(Filter(subject_begins_with="s" * n)),
        512,
        1,
    ),
    "characters of subject ends with": (
        lambda n: lambda: check_filter(Filter(subject_ends_with="s" * n)),
        512,
        1,
    ),
    "most attempts": (
        lambda n: lambda: check_retry(RetryPolicy(max_delivery_attempts=n)),
        30,
        1,
    ),
    "fewest attempts": (
        lambda n: lambda: check_retry(RetryPolicy(max_delivery_attempts=n)),
        1,
        -1,
    ),
    "longest time to live": (
        lambda n: lambda: check_retry(RetryPolicy(event_ttl_ms=n)),
        DAY_MS,
        1,
    ),
    "shortest time to live": (lambda n: lambda: check_retry(RetryPolicy(event_ttl_ms=n)), 10, -1),
    "longest step": (lambda n: lambda: check_retry(RetryPolicy(schedule=(n,))), DAY_MS, 1),
    "shortest step": (lambda n: lambda: check_retry(RetryPolicy(schedule=(1_000, n))), 10, -1),
    "steps": (lambda n: lambda: check_retry(RetryPolicy(schedule=(1_000,) * n)), 30, 1),
    "highest status": (lambda n: lambda: check_retry(RetryPolicy(final_statuses=(n,))), 599, 1),
    "lowest status": (lambda n: lambda: check_retry(RetryPolicy(final_statuses=(n,))), 300, -1),
    "most events per batch": (
        lambda n: lambda: check_endpoint(webhook(max_events_per_batch=n)),
        5_000,
        1,
    ),
    "fewest events per batch": (
        lambda n: lambda: check_endpoint(webhook(max_events_per_batch=n)),
        1,
        -1,
    ),
    "most kilobytes": (
        lambda n: lambda: check_endpoint(webhook(preferred_batch_size_in_kilobytes=n)),
        1_024,
        1,
    ),
    "fewest kilobytes": (
        lambda n: lambda: check_endpoint(webhook(preferred_batch_size_in_kilobytes=n)),
        1,
        -1,
    ),
    "most concurrency": (lambda n: lambda: check_endpoint(webhook(concurrency=n)), 1_024, 1),
    "least concurrency": (lambda n: lambda: check_endpoint(webhook(concurrency=n)), 1, -1),
    "highest rate": (lambda n: lambda: check_endpoint(webhook(rate_per_s=n)), 1_000_000, 1),
    "longest response timeout": (
        lambda n: lambda: check_endpoint(webhook(response_timeout_s=n)),
        600,
        1,
    ),
    "characters of a URL": (
        lambda n: lambda: check_endpoint(webhook(address=URL + "x" * (n - len(URL)))),
        2_048,
        1,
    ),
    "delivery properties": (lambda n: lambda: check_endpoint(attributes_of(n)), 10, 1),
    "bytes of a delivery property": (
        lambda n: (
            lambda: check_endpoint(
                webhook(attributes=(static(value="é" * (n // 2) + "x" * (n % 2)),))
            )
        ),
        4_096,
        1,
    ),
    "characters of a header name": (
        lambda n: lambda: check_endpoint(webhook(attributes=(static("x" * n),))),
        128,
        1,
    ),
    "signing secrets": (
        lambda n: (
            lambda: check_endpoint(
                webhook(signing_secrets=tuple(f"env:SECRET_{index}" for index in range(n)))
            )
        ),
        5,
        1,
    ),
    "characters of the dead-letter endpoint": (
        lambda n: lambda: check_subscription(subscription(deadletter="folder:/" + "x" * (n - 8))),
        2_048,
        1,
    ),
}


@pytest.mark.parametrize("name", EDGES)
def test_edges(name: str) -> None:
    """Every bound allows what is just inside and exactly at it, and refuses what is just beyond."""
    check, edge, step = EDGES[name]

    assert refusal(check(edge - step)) is None
    assert refusal(check(edge)) is None
    error = refusal(check(edge + step))
    assert error is not None
    assert error.code
    assert error.what
    assert error.fix


def test_fractions_at_their_edges() -> None:
    """Rate and response timeout have a smallest value, and NaN and infinity are none."""
    limits = Limits()

    for name, least in (
        ("rate_per_s", limits.rate_per_s_min),
        ("response_timeout_s", limits.response_timeout_s_min),
    ):
        assert refusal(check_endpoint, webhook(**{name: least})) is None
        for wrong in (math.nextafter(least, 0), 0.0, -1.0, math.nan, math.inf):
            assert refusal(check_endpoint, webhook(**{name: wrong}))


def test_limits_can_be_raised() -> None:
    """A raised limit holds in place of the default one."""
    week = RetryPolicy(event_ttl_ms=7 * DAY_MS)

    assert refusal(check_retry, week)
    assert refusal(check_retry, week, Limits(event_ttl_max="7d")) is None
    assert refusal(check_retry, week, Limits(event_ttl_max=f"{7 * DAY_MS - 1}ms"))
    assert "limits.event_ttl_max" in str(refusal(check_retry, week))


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["orders", "Song-Requests-2", "123", "---"])
def test_good_names(name: str) -> None:
    """Letters, digits and '-' make a name."""
    check_topic_name(name)
    check_subscription_name(name)


@pytest.mark.parametrize(
    "name", ["", "a b c", "a_b", "ord/ers", "ordérs", "orders\n", "٣٤٥", "a.b.c", "eventpost.x"]
)
def test_bad_names(name: str) -> None:
    """Anything else is refused, line ends and other alphabets' letters and digits included."""
    for check in (check_topic_name, check_subscription_name):
        error = refusal(check, name)
        assert error is not None
        assert "3 to 50 letters" in error.fix or "letters, digits" in error.fix


def test_the_prefix_of_built_in_topics() -> None:
    """Only built-in topics begin with `eventpost.`, and what follows is a name."""
    check_topic_name("eventpost.deadletters", is_builtin=True)

    error = refusal(check_topic_name, "eventpost.deadletters")
    assert error is not None
    assert error.code == "InvalidTopicName"
    assert refusal(lambda: check_topic_name("eventpost.x y", is_builtin=True))


# --- filters ------------------------------------------------------------------------------------

GOOD_CLAUSES = [
    clause("data.x", "NumberIn", 1, 2.5),
    clause("data.x", "NumberLessThan", 1),
    clause("data.x", "NumberNotInRange", (1, 1), (-5, 2.5)),
    clause("data.x", "BoolEquals", False),
    clause("data.x", "StringIn", "", "a"),
    clause("Subject", "IsNotNull"),
]
BAD_CLAUSES = [
    clause("", "IsNotNull"),
    clause(".x", "IsNotNull"),
    clause("data..x", "IsNotNull"),
    clause("data.x", "IsNotNull", 1),
    clause("data.x", "NumberIn"),
    clause("data.x", "NumberIn", "1"),
    clause("data.x", "NumberIn", True),
    clause("data.x", "NumberIn", math.nan),
    clause("data.x", "NumberIn", math.inf),
    clause("data.x", "NumberIn", (1, 2)),
    clause("data.x", "NumberLessThan", 1, 2),
    clause("data.x", "NumberInRange", 1),
    clause("data.x", "NumberInRange", (2, 1)),
    clause("data.x", "NumberInRange", (1, math.nan)),
    clause("data.x", "NumberInRange", (False, True)),
    clause("data.x", "BoolEquals", 1),
    clause("data.x", "BoolEquals", "true"),
    clause("data.x", "BoolEquals", True, False),
    clause("data.x", "StringIn"),
    clause("data.x", "StringIn", 5),
    clause("data.x", "StringContains", "a", True),
]


@pytest.mark.parametrize("good", GOOD_CLAUSES, ids=repr)
def test_good_clauses(good: AdvancedFilter) -> None:
    """A clause takes as many values as its operator does, of its type."""
    check_filter(Filter(advanced=(good,)))


@pytest.mark.parametrize("bad", BAD_CLAUSES, ids=repr)
def test_bad_clauses(bad: AdvancedFilter) -> None:
    """Too many or too few values, and values of another type, are refused."""
    error = refusal(check_filter, Filter(advanced=(bad,)))

    assert error is not None
    assert error.code == "InvalidFilter"
    assert error.fix


def test_included_types_name_something() -> None:
    """An empty list of types, or an empty type, is refused: it would match nothing."""
    assert refusal(check_filter, Filter(included_event_types=()))
    assert refusal(check_filter, Filter(included_event_types=("A", "")))
    assert refusal(check_filter, Filter(included_event_types=None)) is None


# --- retry --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RETRY_SCHEDULES_MS)
def test_named_schedules(name: str) -> None:
    """Every named schedule may be asked for, no other name."""
    check_retry(RetryPolicy(schedule=name))
    assert refusal(check_retry, RetryPolicy(schedule=name + "x"))


def test_a_schedule_has_a_step() -> None:
    """A schedule of no steps is refused."""
    assert refusal(check_retry, RetryPolicy(schedule=()))


# --- endpoint -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com",
        "http://127.0.0.1:8080/a?code=x%20y",
        "HTTPS://[::1]:443/",
        "https://host.example./a//b",
    ],
)
def test_good_urls(url: str) -> None:
    """http and https URLs with a host make a webhook."""
    check_endpoint(webhook(address=url))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com/a",
        "ftp://host/a",
        "https://",
        "https:///path",
        "https://host:0/",
        "https://host:65536/",
        "https://host:x/",
        "https://[::1/",
        "https://host/a b",
        "https://host/a\r\nX: y",
        "https://höst/a",
        "https://host/a#part",
        "https://user:secret@host/a",
    ],
)
def test_bad_urls(url: str) -> None:
    """What is no absolute http(s) URL, or holds a user name or a fragment, is refused."""
    error = refusal(check_endpoint, webhook(address=url))

    assert error is not None
    assert error.code == "InvalidEndpoint"


def test_errors_show_no_secret_of_a_url() -> None:
    """A refused URL is shown without its query and without its user information."""
    error = refusal(check_endpoint, webhook(address="ftp://u:secret@host/a?code=secret"))

    assert error is not None
    assert "secret" not in str(error)
    assert "host/a" in str(error)


def test_only_webhooks_have_a_url() -> None:
    """The address of another kind of endpoint is that kind's own business."""
    check_endpoint(Endpoint(type="pull", address=""))


@pytest.mark.parametrize("name", ["X-Station", "authorization", "x_y.z", "User-Agent", "a"])
def test_good_property_names(name: str) -> None:
    """A delivery property may have any header name that is not taken."""
    check_endpoint(webhook(attributes=(static(name),)))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "a:",
        "é",
        "a\r\nb",
        "aeg-event-type",
        "AEG-anything",
        "Content-Length",
        "host",
        "Connection",
        "Transfer-Encoding",
        "content-type",
        *sorted(RESERVED_HEADERS),
    ],
)
def test_bad_property_names(name: str) -> None:
    """No header name, `aeg-`, hop-by-hop and what a delivery sets itself are refused."""
    error = refusal(check_endpoint, webhook(attributes=(static(name),)))

    assert error is not None
    assert error.code == "InvalidDeliveryProperty"


def test_property_names_are_given_once() -> None:
    """Two delivery properties of one name, in whatever case, are refused."""
    assert refusal(check_endpoint, webhook(attributes=(static("X-A"), static("x-a"))))


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\0", "a\x7f", "a\ud800"])
def test_property_values_stay_on_one_line(value: str) -> None:
    """A value that would end the header line is refused, and not repeated in the error."""
    error = refusal(check_endpoint, webhook(attributes=(static(value=value),)))

    assert error is not None
    assert value not in str(error)


def test_dynamic_properties_are_paths() -> None:
    """The value of a dynamic property is a path without empty parts."""
    check_endpoint(webhook(attributes=(dynamic("data.key1"),)))
    check_endpoint(webhook(attributes=(dynamic("subject"),)))

    for path in ("", ".x", "data..x"):
        assert refusal(check_endpoint, webhook(attributes=(dynamic(path),)))


def test_signing_secrets_are_references() -> None:
    """A signing secret is named, never written down, and an error does not repeat it."""
    check_endpoint(webhook(signing_secrets=("env:A", "file:/run/secret")))

    error = refusal(check_endpoint, webhook(signing_secrets=("whsec_abc",)))

    assert error is not None
    assert "whsec_abc" not in str(error)


# --- subscription -------------------------------------------------------------------------------


def subscription(**settings: object) -> Subscription:
    plain = Subscription(id=1, topic_id=1, name="blues", created_ms=0, endpoint=webhook())
    return msgspec.structs.replace(plain, **settings)


@pytest.mark.parametrize("place", ["folder:/dead", "azureblob://a/c", "s3://bucket/prefix"])
def test_dead_letter_places(place: str) -> None:
    """The three kinds of dead-letter endpoint have their shape."""
    check_subscription(subscription(deadletter=place))

    for wrong in ("", "dead", "folder:", "folder:dead", "folder:~/dead", "https://x/y"):
        assert refusal(check_subscription, subscription(deadletter=wrong))


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"name": "a b"}, "InvalidSubscriptionName"),
        ({"filter": Filter(included_event_types=())}, "InvalidFilter"),
        ({"endpoint": Endpoint(address="x")}, "InvalidEndpoint"),
        ({"retry": RetryPolicy(max_delivery_attempts=0)}, "InvalidRetryPolicy"),
        ({"deadletter": "x"}, "InvalidDeadLetterEndpoint"),
    ],
)
def test_every_part_of_a_subscription_is_checked(settings: dict[str, object], code: str) -> None:
    """A subscription is refused for whichever part is out of bounds."""
    check_subscription(subscription())

    error = refusal(check_subscription, subscription(**settings))

    assert error is not None
    assert error.code == code


@pytest.mark.parametrize("input_schema", Schema)
@pytest.mark.parametrize("delivery_schema", [None, *Schema])
def test_delivery_schemas(input_schema: Schema, delivery_schema: Schema | None) -> None:
    """Events go out in their own schema or as CloudEvents; custom ones in every schema."""
    is_good = (
        delivery_schema in (None, input_schema, Schema.CLOUD_EVENTS)
        or input_schema is Schema.CUSTOM
    )

    error = refusal(check_delivery_schema, input_schema, delivery_schema)

    assert (error is None) is is_good
