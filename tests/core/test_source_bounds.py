"""What connections and sources may be: every bound at its edge, and what each refusal says."""

from collections.abc import Callable

import msgspec
import pytest

from eventpost.core.bounds import check_endpoint
from eventpost.core.errors import InvalidRequest
from eventpost.core.limits import LIMITS
from eventpost.core.source_bounds import check_connection, check_settings, check_source
from eventpost.core.sources import Connection, InputMapping, MessageFormat, Source
from eventpost.core.subscriptions import DeliveryAttribute, Endpoint

SOURCE = Source(id=1, topic_id=1, name="jobs", created_ms=0, kind="sqs", queue="jobs")
QUEUE = Endpoint(type="sqs", address="songs")


def source(**changes: object) -> Source:
    return msgspec.structs.replace(SOURCE, **changes)


def mapped(path: str = "data.kind", name: str = "eventtype") -> Source:
    return source(format=MessageFormat.RAW, mapping=InputMapping(fields={name: path}))


def properties(*given: tuple[str, str]) -> Endpoint:
    made = tuple(DeliveryAttribute(name=name, type="static", value=value) for name, value in given)
    return msgspec.structs.replace(QUEUE, properties=made)


def of_bytes(size: int) -> dict[str, object]:
    return {"x": "y" * (size - len('{"x":""}'))}


EDGES: dict[str, tuple[Callable[[int], Callable[[], None]], int, int]] = {
    "source name": (lambda n: lambda: check_source(source(name="s" * n)), 50, 1),
    "queue": (lambda n: lambda: check_source(source(queue="q" * n)), 2_048, 1),
    "lease, longest": (lambda n: lambda: check_source(source(lease_s=float(n))), 43_200, 1),
    "lease, shortest": (lambda n: lambda: check_source(source(lease_s=float(n))), 1, -1),
    "prefetch, most": (lambda n: lambda: check_source(source(prefetch=n)), 10_000, 1),
    "prefetch, least": (lambda n: lambda: check_source(source(prefetch=n)), 1, -1),
    "receives, most": (lambda n: lambda: check_source(source(receives_max=n)), 1_000, 1),
    "receives, least": (lambda n: lambda: check_source(source(receives_max=n)), 1, -1),
    "mapping": (lambda n: lambda: check_source(mapped("data." + "x" * (n - 5))), 512, 1),
    "settings": (lambda n: lambda: check_settings("settings", of_bytes(n)), 16_384, 1),
    "options of a source": (lambda n: lambda: check_source(source(options=of_bytes(n))), 16_384, 1),
    "options of an endpoint": (
        lambda n: lambda: check_endpoint(msgspec.structs.replace(QUEUE, options=of_bytes(n))),
        16_384,
        1,
    ),
}


@pytest.mark.parametrize("name", EDGES)
def test_a_bound_is_inclusive(name: str) -> None:
    """What is just allowed is taken, the step beyond it is refused."""
    check, edge, step = EDGES[name]

    check(edge)()
    with pytest.raises(InvalidRequest):
        check(edge + step)()


def test_the_number_of_message_properties_is_bounded() -> None:
    """As many properties as the setting allows are taken, and not one more."""
    limits = msgspec.structs.replace(LIMITS, message_properties_max=2)
    two = properties(("group", "a"), ("message-id", "b"))
    three = properties(("group", "a"), ("message-id", "b"), ("delay", "5"))

    check_endpoint(two, limits)
    with pytest.raises(InvalidRequest, match="3 message properties"):
        check_endpoint(three, limits)


@pytest.mark.parametrize(
    "queue", ["", " jobs", "jobs\n", "jo\x00bs", "https://sqs.eu-west-1.amazonaws.com/1/jobs "]
)
def test_queues_that_cannot_be(queue: str) -> None:
    """A queue has a name without blanks around it and without control characters."""
    with pytest.raises(InvalidRequest, match="cannot be a queue"):
        check_source(source(queue=queue))


@pytest.mark.parametrize("path", ["kind", "body.kind", "data", "data.", "data..x", ""])
def test_paths_that_lead_nowhere(path: str) -> None:
    """A mapped field is a path below data, attributes or system."""
    with pytest.raises(InvalidRequest):
        check_source(mapped(path))


@pytest.mark.parametrize(
    "path", ["data.a", "data.a.b c", "attributes.x-kind", "system.SentTimestamp"]
)
def test_paths_that_lead_somewhere(path: str) -> None:
    """A path below data, attributes or system is taken."""
    check_source(mapped(path))


def test_what_is_mapped_has_a_known_name() -> None:
    """A field that an event has not cannot be mapped, and an id has no default."""
    with pytest.raises(InvalidRequest, match="'genre' among the mapping's fields"):
        check_source(mapped(name="genre"))
    defaults = InputMapping(defaults={"id": "1"})
    with pytest.raises(InvalidRequest, match="'id' among the mapping's defaults"):
        check_source(source(format=MessageFormat.RAW, mapping=defaults))


@pytest.mark.parametrize("name", ["event", "roadrunner", "dramatiq"])
def test_only_raw_messages_are_mapped(name: str) -> None:
    """Messages that say what they are leave nothing to map."""
    with pytest.raises(InvalidRequest, match=f"format {name} has no input mapping"):
        check_source(msgspec.structs.replace(mapped(), format=MessageFormat(name)))


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "amqp://guest:hush@broker"},
        {"servers": ["https://a.example", "sasl://me:hush@b.example:1"]},
        {"tls": {"proxy": "http://:hush@proxy"}},
    ],
)
def test_a_password_in_a_url_is_refused(settings: dict[str, object]) -> None:
    """A password that is written into a URL, however deep, is refused and not repeated."""
    connection = Connection(name="home", kind="rabbitmq", created_ms=0, settings=settings)

    with pytest.raises(InvalidRequest, match="holds a password") as refusal:
        check_connection(connection)

    assert "hush" not in str(refusal.value)


@pytest.mark.parametrize(
    "url", ["amqp://guest@broker/a:b@c", "https://h:443/x", "arn:aws:sqs:e:1:q"]
)
def test_urls_without_a_password_are_settings(url: str) -> None:
    """Ports, users and colons elsewhere are no passwords, and are taken."""
    check_connection(Connection(name="home", kind="sqs", created_ms=0, settings={"url": url}))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([("colour", "red")], "'colour' is not known"),
        ([("group", "a"), ("group", "b")], "'group' is given twice"),
        ([("delay", "soon")], "'soon' is not a duration"),
        ([("priority", "high")], "priority is 'high'"),
        ([("priority", "-1")], "priority is '-1'"),
    ],
)
def test_message_properties_that_cannot_be(given: list[tuple[str, str]], says: str) -> None:
    """A property that no message has, or a fixed one that is none, is refused when declared."""
    with pytest.raises(InvalidRequest, match=says):
        check_endpoint(properties(*given))


def test_message_properties_that_can_be() -> None:
    """Every property that a message may have is taken."""
    check_endpoint(
        properties(
            *(("group", "a"), ("deduplication-id", "b"), ("routing-key", "c")),
            *(("message-id", "d"), ("delay", "1m"), ("priority", "3")),
        )
    )


@pytest.mark.parametrize(
    "change",
    [
        {"connection": "home"},
        {"options": {"a": 1}},
        {"format": MessageFormat.RAW},
        {"properties": properties(("group", "a")).properties},
    ],
)
def test_a_webhook_is_no_queue(change: dict[str, object]) -> None:
    """What only a queue has is refused for a webhook, and not ignored."""
    webhook = Endpoint(address="https://hooks.example.com/")

    check_endpoint(webhook)
    with pytest.raises(InvalidRequest, match="A webhook has no"):
        check_endpoint(msgspec.structs.replace(webhook, **change))
