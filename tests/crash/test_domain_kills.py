"""A domain under kills: a request for many of its topics is kept as a whole, or not at all."""

from collections.abc import Iterator

import httpx
import pytest

from eventpost import Client
from eventpost.testing import Receiver
from tests.crash.program import Program, until

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]

TOPICS = ("radio-1", "radio-2", "radio-3")
REQUESTS_MAX = 10_000


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def prepare(client: Client, receiver: Receiver) -> str:
    """Make the domain, and subscriptions to its topics and to all of it; returns a key."""
    client.create_domain("stations")
    for scope in ("stations", *(f"stations/{topic}" for topic in TOPICS)):
        url = f"{receiver.url}?to={scope}"
        client.create_subscription({"name": "same", "topic": scope, "endpoint": url})
    return client.list_domain_keys("stations").key1


def publish_until_killed(program: Program, key: str, first: int) -> tuple[set[int], int]:
    """Requests with an event for each topic, one after the other: the numbers of those that were
    answered with 200, and of the one that was not answered."""
    acknowledged: set[int] = set()
    with httpx.Client(base_url=program.url, headers={"aeg-sas-key": key}, timeout=120) as http:
        for number in range(first, first + REQUESTS_MAX):
            events = [event(number, topic) for topic in TOPICS]
            try:
                answer = http.post("/domains/stations/api/events", json=events)
            except httpx.TransportError:
                return acknowledged, number
            assert answer.status_code == 200, answer.text
            acknowledged.add(number)
    raise AssertionError("It was not killed.")


def event(number: int, topic: str) -> dict[str, object]:
    return {
        "id": f"{number} {topic}",
        "topic": topic,
        "subject": "song",
        "eventType": "Song.Requested",
        "eventTime": "2026-01-01T00:00:00Z",
        "data": {},
        "dataVersion": "1",
    }


def taken(receiver: Receiver, scope: str) -> set[str]:
    return {each.event["id"] for each in receiver.requests if each.path.endswith(f"to={scope}")}


@pytest.mark.parametrize("point", ["before-commit", "after-commit", "before-answer"])
def test_a_request_for_many_topics(program: Program, receiver: Receiver, point: str) -> None:
    """Killed around its commit, a request's events are delivered for every topic or for none, and
    for every one when it was answered; domain, topics and subscriptions are there again."""
    program.start()
    with program.client() as client:
        key = prepare(client, receiver)
    assert program.stop() == 0
    program.begin(f"{point}:20")
    until(lambda: program.is_dead or program.is_ready, "it is ready")
    acknowledged, cut_off = publish_until_killed(program, key, 0)
    program.wait_for_kill()

    program.start()

    with program.client() as client:
        until(lambda: is_settled(client), "everything is delivered")
        topics = client.list_domain_topics("stations")
        assert [(each.name, each.subscription_count) for each in topics] == [
            (topic, 1) for topic in TOPICS
        ]
        assert client.verify_store().damage == []
    whole = taken(receiver, "stations")
    for topic in TOPICS:
        own = taken(receiver, f"stations/{topic}")
        assert own == {each for each in whole if each.endswith(topic)}
        assert {f"{number} {topic}" for number in acknowledged} <= own
    last = {each for each in whole if each.startswith(f"{cut_off} ")}
    assert len(last) in (0, len(TOPICS))
    assert program.stop() == 0


def is_settled(client: Client) -> bool:
    return all(each.pending == 0 and each.lag == 0 for each in client.show_report().subscriptions)
