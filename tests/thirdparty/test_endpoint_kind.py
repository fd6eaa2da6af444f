"""What a third party runs to know that its endpoint kind is right, and what it is refused for."""

import asyncio

import msgspec
import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.core.interfaces import Destination
from eventpost.core.outcomes import Failed
from eventpost.core.subscriptions import Endpoint
from eventpost.destinations import kinds
from eventpost.diagnosis.classify import classify
from eventpost.testing.destination_conformance import (
    Behaviour,
    DestinationConformance,
    Harness,
    Recorder,
    delivery,
)
from tests.destinations.receivers import services, subscription, topic
from tests.http.client.peers import Caller
from tests.thirdparty.servers import Recipient

TIMEOUT_S = 0.3


class CourierHarness(Harness):
    def __init__(self) -> None:
        self.recipient = Recipient()
        self._caller = Caller()
        self._destination: Destination | None = None

    async def start(self, behaviour: Behaviour, *, batch_events_max: int = 1) -> Destination:
        self.recipient.behaviour = behaviour
        await self.recipient.start()
        if behaviour is Behaviour.ABSENT:
            await self.recipient.stop()
        self._destination = courier(self.recipient.address, self._caller, batch_events_max)
        return self._destination

    async def stop(self) -> None:
        if self._destination is not None:
            self._destination.close()
        await self.recipient.stop()
        self._caller.client.close()

    def received_ids(self) -> list[str]:
        return [event["id"] for event in self.recipient.events]

    def pass_time(self, seconds: float) -> None:
        """Its timeout runs by the loop's clock, and is short."""


def courier(address: str, caller: Caller, batch_events_max: int = 1) -> Destination:
    made = subscription(address, batch_events_max=batch_events_max)
    endpoint = msgspec.structs.replace(made.endpoint, type="courier", response_timeout_s=TIMEOUT_S)
    declared = msgspec.structs.replace(made, endpoint=endpoint)
    return kinds.new_destination(topic(), declared, services(caller))


@pytest.mark.usefixtures("pigeon")
class TestCourier(DestinationConformance):
    def harness(self) -> Harness:
        return CourierHarness()


@pytest.mark.usefixtures("pigeon")
def test_what_it_says_is_evidence() -> None:
    """The recipient's own words are with the attempt, and lead to a finding."""

    async def main() -> Failed:
        harness = CourierHarness()
        destination = await harness.start(Behaviour.REFUSE)
        recorder = Recorder()
        recorder.deliver(destination, [delivery(1)])
        (outcome,) = await recorder.wait(1)
        await harness.stop()
        assert isinstance(outcome, Failed)
        return outcome

    outcome = asyncio.run(main())

    assert outcome.evidence.detail == "no room on the perch"
    assert classify(outcome.evidence) == "EP4000"


@pytest.mark.usefixtures("pigeon")
@pytest.mark.parametrize("address", ["", "tower", "tower:", ":80", "tower:x"])
def test_a_third_party_checks_its_endpoints(address: str) -> None:
    """What a courier cannot find is refused when it is declared."""
    with pytest.raises(InvalidRequest, match="finds nobody"):
        kinds.check(Endpoint(type="courier", address=address))

    kinds.check(Endpoint(type="courier", address="tower:80"))
