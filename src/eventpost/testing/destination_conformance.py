"""What every destination must do, as a test suite: subclass it and say how to make one.

    class TestPager(DestinationConformance):
        def harness(self):
            return PagerHarness()

Layer: testing. The contract is `core.interfaces.Destination`.
"""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from typing import Any

import pytest

from eventpost.core.events import Delivery, Event
from eventpost.core.interfaces import Destination
from eventpost.core.outcomes import Delivered, Failed, Fault, Outcome

PATIENCE_S = 120.0
"""Longer than any condition here takes; a test that waits longer fails instead of hanging."""
NOW_MS = 1_767_225_600_000


class Behaviour(Enum):
    """What the peer at the other end does with every delivery."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    """Answer, and say no."""
    VANISH = "vanish"
    """End the connection without an answer."""
    HANG = "hang"
    """Take it and never answer."""
    ABSENT = "absent"
    """Nobody is there at all."""


class Harness(ABC):
    """One destination, and a peer that does as it is told, on the running loop."""

    @abstractmethod
    async def start(self, behaviour: Behaviour, *, batch_events_max: int = 1) -> Destination:
        """Start the peer and make a destination that delivers to it."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop the peer and let go of everything."""

    @abstractmethod
    def received_ids(self) -> list[str]:
        """The ids of the events that reached the peer, in order of arrival."""

    @abstractmethod
    def pass_time(self, seconds: float) -> None:
        """Let the destination's clock run ahead, so that its timeouts fall due."""


class Recorder:
    """Takes outcomes and checks that each attempt is answered once, and later."""

    def __init__(self) -> None:
        self.outcomes: dict[int, list[Outcome]] = {}
        self.is_delivering = False

    def deliver(self, destination: Destination, deliveries: Sequence[Delivery]) -> None:
        key = deliveries[0].position

        def done(answered: Sequence[Delivery], outcome: Outcome | Sequence[Outcome]) -> None:
            assert not self.is_delivering, "done was called before deliver had returned"
            assert key not in self.outcomes, "done was called twice"
            assert list(answered) == list(deliveries)
            outcomes = [outcome] if isinstance(outcome, Delivered | Failed) else list(outcome)
            assert len(outcomes) in (1, len(deliveries))
            self.outcomes[key] = outcomes

        self.is_delivering = True
        destination.deliver(deliveries, done)
        self.is_delivering = False

    async def wait(self, count: int) -> list[Outcome]:
        """The outcomes of `count` attempts, in the order of their first positions."""
        await until(lambda: len(self.outcomes) >= count)
        return [one for key in sorted(self.outcomes) for one in self.outcomes[key]]


class DestinationConformance(ABC):
    """Inherit, and implement `harness`. Each test makes a harness of its own."""

    @abstractmethod
    def harness(self) -> Harness:
        """A harness that is not started."""

    def run(self, body: Callable[[Harness], Coroutine[Any, Any, None]]) -> None:
        """Run `body` on a new loop, and stop its harness in the end. Override for other loops."""

        async def main() -> None:
            harness = self.harness()
            try:
                await body(harness)
            finally:
                await harness.stop()

        asyncio.run(main())

    def test_accepted(self) -> None:
        """A delivery that the peer takes ends as Delivered, once, and reached the peer."""

        async def body(harness: Harness) -> None:
            destination = await harness.start(Behaviour.ACCEPT)
            recorder = Recorder()
            recorder.deliver(destination, [delivery(7)])

            assert all(isinstance(one, Delivered) for one in await recorder.wait(1))
            assert harness.received_ids() == ["event-7"]

        self.run(body)

    def test_batch(self) -> None:
        """A batch reaches the peer whole and in order."""

        async def body(harness: Harness) -> None:
            destination = await harness.start(Behaviour.ACCEPT, batch_events_max=5)
            recorder = Recorder()
            recorder.deliver(destination, [delivery(position) for position in range(5)])

            assert all(isinstance(one, Delivered) for one in await recorder.wait(1))
            assert harness.received_ids() == [f"event-{position}" for position in range(5)]

        self.run(body)

    def test_many_at_once(self) -> None:
        """Of many attempts in flight each is answered once, and nothing is sent twice."""

        async def body(harness: Harness) -> None:
            destination = await harness.start(Behaviour.ACCEPT)
            recorder = Recorder()
            for position in range(100):
                recorder.deliver(destination, [delivery(position)])

            outcomes = await recorder.wait(100)
            assert all(isinstance(one, Delivered) for one in outcomes)
            assert sorted(harness.received_ids()) == sorted(f"event-{i}" for i in range(100))

        self.run(body)

    @pytest.mark.parametrize("behaviour", [Behaviour.REFUSE, Behaviour.VANISH, Behaviour.ABSENT])
    def test_not_taken(self, behaviour: Behaviour) -> None:
        """A delivery that is not taken ends as Failed with its evidence, and counts."""

        async def body(harness: Harness) -> None:
            destination = await harness.start(behaviour)
            recorder = Recorder()
            recorder.deliver(destination, [delivery(1)])

            (outcome,) = await recorder.wait(1)
            assert isinstance(outcome, Failed)
            assert outcome.is_counted
            assert outcome.evidence.fault is not Fault.UNEXPECTED

        self.run(body)

    def test_batch_not_taken(self) -> None:
        """A batch that is not taken has an outcome for each of its events."""

        async def body(harness: Harness) -> None:
            destination = await harness.start(Behaviour.REFUSE, batch_events_max=5)
            recorder = Recorder()
            recorder.deliver(destination, [delivery(position) for position in range(5)])

            assert all(isinstance(one, Failed) for one in await recorder.wait(1))

        self.run(body)

    def test_hanging(self) -> None:
        """A peer that never answers costs no more than the timeouts."""

        async def body(harness: Harness) -> None:
            destination = await harness.start(Behaviour.HANG)
            recorder = Recorder()
            recorder.deliver(destination, [delivery(1)])
            await until(lambda: harness.received_ids())
            assert not recorder.outcomes
            harness.pass_time(60.0)

            (outcome,) = await recorder.wait(1)
            assert isinstance(outcome, Failed)
            assert outcome.evidence.fault is Fault.TIMED_OUT

        self.run(body)

    def test_after_failures(self) -> None:
        """A destination goes on after a failure: each attempt stands for itself."""

        async def body(harness: Harness) -> None:
            destination = await harness.start(Behaviour.REFUSE)
            recorder = Recorder()
            for position in range(10):
                recorder.deliver(destination, [delivery(position)])
                await recorder.wait(position + 1)

            assert harness.received_ids() == [f"event-{position}" for position in range(10)]

        self.run(body)

    def test_close(self) -> None:
        """Closing with attempts in flight answers each at most once and raises nothing."""

        async def body(harness: Harness) -> None:
            destination = await harness.start(Behaviour.HANG)
            recorder = Recorder()
            recorder.deliver(destination, [delivery(1)])
            await until(lambda: harness.received_ids())
            destination.close()
            harness.pass_time(60.0)
            await asyncio.sleep(0)

            assert len(recorder.outcomes) <= 1

        self.run(body)


def delivery(position: int, *, attempts: int = 0) -> Delivery:
    """A delivery of a small Event Grid event whose id tells its position."""
    event_id = f"event-{position}"
    wire = json.dumps(
        {
            "id": event_id,
            "topic": "/topics/songs",
            "subject": "genre/blues",
            "eventType": "Song.Requested",
            "eventTime": "2026-01-01T00:00:00Z",
            "data": {"title": "Dust My Broom"},
            "dataVersion": "1.0",
            "metadataVersion": "1",
        },
        separators=(",", ":"),
    ).encode()
    event = Event(event_id, "Song.Requested", "genre/blues", wire)
    one = Delivery(event, position, NOW_MS, NOW_MS)
    one.attempts = attempts
    return one


async def until(condition: Callable[[], object]) -> None:
    """Turn the loop until the condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for cannot be told in advance
            await asyncio.sleep(0.001)
