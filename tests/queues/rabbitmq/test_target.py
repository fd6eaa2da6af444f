"""Addresses and options of RabbitMQ: which queue or exchange is meant, and what follows."""

from typing import Any

import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.queues.interfaces import Address
from eventpost.queues.kinds import options_of
from eventpost.queues.rabbitmq.target import Options, Target, read_target


def target(name: str, **options: Any) -> Target:
    address = Address(name=name, options=options)
    return read_target(address, options_of(address, Options))


@pytest.mark.parametrize(
    ("name", "options", "exchange", "key", "queue"),
    [
        ("jobs", {}, "", "jobs", "jobs"),
        ("events/song.requested", {}, "events", "song.requested", ""),
        ("events/", {}, "events", "", ""),
        ("events/a/b", {}, "events", "a/b", ""),
        ("events/", {"routing_key": "a"}, "events", "a", ""),
        ("events/a", {"queue": "jobs"}, "events", "a", "jobs"),
        ("/jobs", {}, "", "jobs", "jobs"),
        ("jobs", {"exchange": "events", "routing_key": "a"}, "events", "a", "jobs"),
        ("jobs", {"exchange": "events"}, "events", "", "jobs"),
        ("a/b", {"exchange": ""}, "", "a/b", "a/b"),
        ("a b-_.:@#,+", {}, "", "a b-_.:@#,+", "a b-_.:@#,+"),
    ],
)
def test_addresses(name: str, options: dict[str, Any], exchange: str, key: str, queue: str) -> None:
    """An address is a queue's name, or EXCHANGE/ROUTING-KEY; `exchange` says it beyond doubt."""
    found = target(name, **options)

    assert (found.exchange, found.routing_key, found.queue) == (exchange, key, queue)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("", {}, "empty"),
        ("/", {}, "default exchange"),
        ("/jobs", {"queue": "other"}, "default exchange"),
        ("jobs", {"queue": "other"}, "twice"),
        ("jobs", {"routing_key": "other"}, "needs an exchange"),
        ("events/a", {"routing_key": "b"}, "twice"),
        ("events/a", {"delays_s": [1]}, "needs a queue"),
        ("j" * 128, {}, "at most 127"),
        ("Köln", {}, "letters, digits"),
        ("jobs", {"exchange": "e" * 128}, "at most 127"),
        ("j" * 127, {"delays_s": [1]}, "delay queues"),
        ("jobs", {"exchange": "e", "binding_keys": ["ä" * 128]}, "255 bytes"),
        ("events/" + "k" * 256, {}, "255 bytes"),
    ],
)
def test_addresses_that_mean_nothing(name: str, options: dict[str, Any], told: str) -> None:
    """An address that cannot be is refused when it is declared, with the reason."""
    with pytest.raises(InvalidRequest, match=told):
        target(name, **options)


def test_the_longest_name() -> None:
    """A name may have 127 characters and a key 255 bytes, as AMQP has it."""
    assert target("j" * 127).queue == "j" * 127
    assert target("events/" + "k" * 255).routing_key == "k" * 255


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prefetch", 65_536),
        ("prefetch", -1),
        ("delays_s", [0]),
        ("delays_s", [4_294_968]),
        ("delays_s", [1.0] * 33),
        ("message_bytes_max", 0),
        ("message_bytes_max", 536_870_913),
        ("queue_type", "stream"),
        ("expiration_s", -1),
        ("unclaimed_s", 0),
        ("durable", False),
    ],
)
def test_options_out_of_bounds(name: str, value: object) -> None:
    """Options beyond their bounds, and unknown ones, are refused by name."""
    with pytest.raises(InvalidRequest, match=name):
        target("jobs", **{name: value})


def test_options_at_their_bounds() -> None:
    """Options may go as far as their bounds."""
    found = target("jobs", prefetch=65_535, delays_s=[4_294_967.0], message_bytes_max=536_870_912)

    assert found.traits().receive_count_max == 65_535
    assert found.traits().release_delay_s_max == 4_294_967.0


@pytest.mark.parametrize(
    ("asked_s", "step_ms"),
    [(0.0, 0), (0.1, 500), (0.5, 500), (0.51, 2_000), (2, 2_000), (9_999, 2_000)],
)
def test_delays_are_rounded_up(asked_s: float, step_ms: int) -> None:
    """A delay goes to the first queue that holds messages as long, and beyond all to the last."""
    assert target("jobs", delays_s=[2, 0.5]).delay_ms(asked_s) == step_ms


def test_without_delays() -> None:
    """Without queues for delays there is none, neither for sending nor for releasing."""
    assert target("jobs").delay_ms(5) == 0
    assert target("jobs").traits().delay_s_max == 0
    assert target("jobs").traits().release_delay_s_max == 0


def test_an_exchange_delays_releases_only() -> None:
    """A message for an exchange cannot be held back; one that came from the queue can."""
    traits = target("jobs", exchange="events", delays_s=[5]).traits()

    assert (traits.delay_s_max, traits.release_delay_s_max) == (0, 5)


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({}, False),
        ({"create": True}, True),
        ({"queue_type": "quorum"}, True),
        ({"queue_type": "classic"}, False),
        ({"queue_type": "classic", "create": True}, False),
    ],
)
def test_who_counts(options: dict[str, Any], counts: bool) -> None:
    """Only a queue that is known to be a quorum queue is said to count its deliveries."""
    assert target("jobs", **options).traits().has_receive_count is counts
