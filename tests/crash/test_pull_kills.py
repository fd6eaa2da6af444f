"""The real program, killed with SIGKILL while its events are pulled."""

import os
import random
import time

import pytest

from tests.conftest import Say
from tests.crash.conftest import NewProgram
from tests.crash.consumers import LOCK_S, NAME, TOPIC, Consumers
from tests.crash.program import Program, until

ROUNDS = int(os.environ.get("EVENTPOST_CRASH_ROUNDS") or 30) // 2
SHORT = {"EVENTPOST_LIMITS_RECEIVE_LOCK_S_MIN": "1"}
BRIEF_S = 8.0
"""Of a lock that is waited out."""

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600 + 20 * ROUNDS)]


def pending(program: Program) -> int:
    with program.client() as client:
        books = client.show_subscription(NAME, topic=TOPIC).books
    assert books is not None
    return books.pending + books.lag


def test_kills_while_events_are_pulled(new_program: NewProgram, seed: int, figures: Say) -> None:
    """Whenever it is killed: locks end and events come again, what was acknowledged never does,
    what was published is received, and the books balance."""
    program = new_program(**SHORT, EVENTPOST_LIMITS_DELIVERY_COUNT_MAX="10")
    draw = random.Random(seed)
    consumers = Consumers(program, seed)
    program.start()
    consumers.prepare()
    consumers.start()
    for _ in range(ROUNDS):
        goal = len(consumers.acknowledged) + draw.randint(1, 150)
        until(lambda goal=goal: len(consumers.acknowledged) >= goal, "some are acknowledged")  # type: ignore[misc]
        program.kill()
        program.start()
    consumers.stop()

    deadline_s = time.monotonic() + 60
    while pending(program):
        assert time.monotonic() < deadline_s, "what was published did not come"
        consumers.consume(None, wait_s=int(LOCK_S))

    with program.client() as client:
        dead = {letter.event_id for letter in client.dead_letters()}
        assert client.verify_store().damage == []
        books = client.show_subscription(NAME, topic=TOPIC).books
    assert books is not None
    again = sum(1 for count in consumers.received.values() if count > 1)
    figures(
        f"pull: {program.kills} kills, {len(consumers.published)} published, "
        f"{len(consumers.acknowledged)} acknowledged, {again} came more than once, "
        f"{consumers.lost_tokens} tokens lost, {len(dead)} dead"
    )
    assert consumers.returned == set()
    assert consumers.published <= consumers.received.keys() | dead
    assert dead.isdisjoint(consumers.acknowledged)
    assert books.matched == books.delivered + sum(books.dead_lettered.values())
    assert books.delivered >= len(consumers.acknowledged)
    assert program.stop() == 0


def test_locks_across_a_kill(new_program: NewProgram, seed: int) -> None:
    """Received, killed, started again: until its time a lock holds and its token is good; after
    it, and not before, the event comes again, with a higher count."""
    program = new_program(**SHORT)
    consumers = Consumers(program, seed)
    program.start()
    consumers.prepare()
    events = [
        {"specversion": "1.0", "id": str(number), "source": "/s", "type": f"t{number}"}
        for number in range(3)
    ]
    paths = f"/topics/{TOPIC}/eventsubscriptions"
    path, brief = f"{paths}/{NAME}", f"{paths}/brief"
    batch = "application/cloudevents-batch+json"
    with program.client() as client:
        client.update_subscription(NAME, {"receiveLockDurationInSeconds": 300}, topic=TOPIC)
        client.create_subscription(
            {
                "name": "brief",
                "topic": TOPIC,
                "endpointType": "pull",
                "receiveLockDurationInSeconds": BRIEF_S,
                "filter": {"includedEventTypes": ["t0"]},
            }
        )
    assert consumers.post(f"/topics/{TOPIC}:publish", events, kind=batch) == {}
    kept, _ = consumers.post(f"{path}:receive?maxEvents=2")["value"]
    token = kept["brokerProperties"]["lockToken"]
    began_s = time.monotonic()
    (forgotten,) = consumers.post(f"{brief}:receive?maxEvents=10")["value"]

    program.kill()
    program.start()

    (third,) = consumers.post(f"{path}:receive?maxEvents=10&maxWaitTime=0")["value"]
    assert third["event"]["id"] == "2"
    settled = consumers.post(f"{path}:acknowledge", {"lockTokens": [token]})
    assert settled["succeededLockTokens"] == [token]
    (again,) = consumers.post(f"{brief}:receive?maxEvents=10&maxWaitTime=60")["value"]
    assert time.monotonic() - began_s > BRIEF_S - 1
    assert again["event"]["id"] == forgotten["event"]["id"] == "0"
    assert again["brokerProperties"]["deliveryCount"] == 2
    assert program.stop() == 0
