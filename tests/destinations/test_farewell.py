"""The last message to a webhook whose subscription was deleted."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable

import pytest

from eventpost.core.events import Schema
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.core.subscriptions import DeliveryAttribute, ProvisioningState, Subscription, Topic
from eventpost.destinations import farewell
from eventpost.destinations.farewell import IN_FLIGHT_MAX, Farewells
from eventpost.formats import topics
from eventpost.testing.destination_conformance import NOW_MS, until
from tests.http.client.peers import OK, Caller

from .receivers import NO, Received, Receiver, services, subscription, topic

Failures = list[Evidence | None]


def say(
    make: Callable[[str], Subscription],
    *,
    answer: bytes | None = OK,
    of: Topic | None = None,
) -> tuple[list[Received], Failures]:
    """One farewell: what the endpoint received, and what is told of a failure."""
    failures: Failures = []
    requests: list[Received] = []

    async def main() -> None:
        async with Receiver(lambda _: answer) as receiver:
            with Caller() as caller:
                farewells = _farewells(caller, failures)
                farewells.say(of or topic(), make(receiver.url))
                await until(lambda: not _is_busy(caller))
                requests.extend(receiver.requests)

    asyncio.run(main())
    return requests, failures


def _farewells(caller: Caller, failures: Failures) -> Farewells:
    return Farewells(services(caller), lambda: "id-1", lambda _, __, why: failures.append(why))


def _is_busy(caller: Caller) -> bool:
    stats = caller.client.stats()
    return stats.connections > stats.idle or stats.waiting > 0


def test_what_is_said() -> None:
    """The message is Event Grid's: its header, its event type, and the subscription's id, together
    with the fixed delivery properties by which the endpoint knows who calls."""
    attributes = (DeliveryAttribute(name="X-Token", type="static", value="blue", is_secret=True),)

    [request], failures = say(lambda url: subscription(url, attributes=attributes))

    assert failures == []
    assert request.request_line.startswith(b"POST ")
    assert request.header("aeg-event-type") == "SubscriptionDeletion"
    assert request.header("aeg-subscription-name") == "BLUES"
    assert request.header("aeg-delivery-count") == "0"
    assert request.header("content-type") == "application/json; charset=utf-8"
    assert request.header("x-token") == "blue"
    assert request.header("webhook-signature") is None
    [event] = json.loads(request.body)
    resource = topics.resource("songs", topics.DEFAULT_PREFIX)
    assert event["id"] == "id-1"
    assert event["topic"] == resource
    assert event["subject"] == ""
    assert event["eventType"] == "Microsoft.EventGrid.SubscriptionDeletedEvent"
    assert (event["dataVersion"], event["metadataVersion"]) == ("1", "1")
    assert event["data"] == {
        "eventSubscriptionId": f"{resource}/providers/Microsoft.EventGrid/eventSubscriptions/blues"
    }


def test_it_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that verifies signatures can verify this one too."""
    monkeypatch.setenv("SIGNING", "secret")

    [request], _ = say(lambda url: subscription(url, signing_secrets=("env:SIGNING",)))

    signed = b"msg_id-1.%d.%b" % (NOW_MS // 1000, request.body)
    digest = hmac.digest(b"secret", signed, hashlib.sha256)
    assert request.header("webhook-id") == "msg_id-1"
    assert request.header("webhook-signature") == f"v1,{base64.b64encode(digest).decode()}"


def test_a_secret_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its signing secret nothing is sent, and the failure says so."""
    monkeypatch.delenv("SIGNING", raising=False)

    requests, [failure] = say(lambda url: subscription(url, signing_secrets=("env:SIGNING",)))

    assert requests == []
    assert failure is not None
    assert failure.stage is Stage.SETTINGS
    assert "SIGNING" in failure.detail


@pytest.mark.parametrize("state", list(ProvisioningState))
def test_only_who_consented_is_told(state: ProvisioningState) -> None:
    """An endpoint that never wanted events is not bothered by their end."""

    def make(url: str) -> Subscription:
        blues = subscription(url)
        return Subscription(
            id=blues.id,
            topic_id=blues.topic_id,
            name=blues.name,
            created_ms=0,
            endpoint=blues.endpoint,
            provisioning_state=state,
        )

    requests, _ = say(make)

    assert len(requests) == (state is ProvisioningState.SUCCEEDED)


def test_cloud_events_know_no_farewell() -> None:
    """An endpoint that gets CloudEvents gets none, be it by the topic or by the subscription."""
    by_topic, _ = say(subscription, of=topic(Schema.CLOUD_EVENTS))
    by_choice, _ = say(lambda url: subscription(url, delivery_schema=Schema.CLOUD_EVENTS))

    assert by_topic == by_choice == []


def test_a_refusal_is_told_and_not_tried_again() -> None:
    """An answer that is no success is evidence, and the end of it."""
    requests, [failure] = say(subscription, answer=NO)

    assert len(requests) == 1
    assert failure is not None
    assert (failure.stage, failure.fault, failure.status) == (Stage.ANSWER, Fault.STATUS, 500)


def test_an_endpoint_that_is_gone() -> None:
    """A connection that breaks is evidence."""
    _, [failure] = say(subscription, answer=None)

    assert failure is not None
    assert failure.fault is Fault.CLOSED


def test_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many are under way at once and so many wait; one more is not told, and that is known.
    Those that wait go out as the first ones end."""
    monkeypatch.setattr(farewell, "WAITING_MAX", 2)
    failures: Failures = []

    async def main() -> None:
        async with Receiver() as receiver:
            receiver.hangs = True
            with Caller() as caller:
                farewells = _farewells(caller, failures)
                for _ in range(IN_FLIGHT_MAX + 2):
                    farewells.say(topic(), subscription(receiver.url))
                assert failures == []
                farewells.say(topic(), subscription(receiver.url))
                assert failures == [None]
                await until(lambda: len(receiver.requests) == IN_FLIGHT_MAX)

                caller.pass_time(31)
                await until(lambda: len(receiver.requests) == IN_FLIGHT_MAX + 2)
                caller.pass_time(31)
                assert len(failures) == 1 + IN_FLIGHT_MAX + 2

    asyncio.run(main())
