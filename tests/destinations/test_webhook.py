"""Deliveries to webhooks: what goes over the wire, and what an answer means."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from eventpost.core.events import Delivery, Event, Schema
from eventpost.core.outcomes import DELIVERED, Delivered, Evidence, Failed, Fault, Outcome, Stage
from eventpost.core.subscriptions import DeliveryAttribute, Subscription
from eventpost.destinations.webhook import WebhookDestination
from eventpost.formats import eventgrid
from eventpost.http.addresses import AddressGuard
from eventpost.http.proxies import Proxies, Proxy
from eventpost.testing.destination_conformance import (
    NOW_MS,
    DestinationConformance,
    Harness,
    Recorder,
    delivery,
)
from tests.http.client.peers import LOOPS, OK, Caller, Peer, run

from .receivers import Received, Receiver, WebhookHarness, services, subscription, topic

CLOUD_EVENT = (
    b'{"id":"7","source":"/radio","type":"Song.Requested","specversion":"1.0","data":{"a":1}}'
)


@pytest.mark.parametrize("loop", LOOPS)
class TestWebhook(DestinationConformance):
    """The webhook keeps the contract of destinations, on both loops."""

    @pytest.fixture(autouse=True)
    def _on(self, loop: str) -> None:
        self.loop = loop

    def harness(self) -> Harness:
        return WebhookHarness()

    def run(self, body: Callable[[Harness], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            harness = self.harness()
            try:
                await body(harness)
            finally:
                await harness.stop()

        run(self.loop, main())


def deliver(
    deliveries: Sequence[Delivery],
    make: Callable[[str], Subscription] = subscription,
    *,
    schema: Schema = Schema.EVENT_GRID,
    answer: bytes = OK,
) -> tuple[Received, Outcome]:
    """One attempt: what the receiver saw, and the outcome."""
    found: list[tuple[Received, Outcome]] = []

    async def main() -> None:
        async with Receiver(lambda _: answer) as receiver:
            with Caller() as caller:
                destination = WebhookDestination(
                    topic(schema), make(receiver.url + "?code=x"), services(caller)
                )
                recorder = Recorder()
                recorder.deliver(destination, deliveries)
                (outcome,) = await recorder.wait(1)
                found.append((receiver.requests[0], outcome))

    asyncio.run(main())
    return found[0]


def cloud_delivery(wire: bytes = CLOUD_EVENT) -> Delivery:
    return Delivery(Event("7", "Song.Requested", "", wire), 7, NOW_MS, NOW_MS)


# --- what goes out ----------------------------------------------------------------------------


def test_event_grid_delivery() -> None:
    """An Event Grid delivery is a POST of an array with Event Grid's headers."""
    request, outcome = deliver([delivery(7, attempts=2)])

    assert outcome is DELIVERED
    assert request.request_line == b"POST /hook?code=x HTTP/1.1"
    assert request.body == b"[" + delivery(7).event.wire + b"]"
    assert dict(request.headers) == {
        b"host": request.header("host").encode(),  # type: ignore[union-attr]
        b"aeg-event-type": b"Notification",
        b"aeg-subscription-name": b"BLUES",
        b"aeg-delivery-count": b"2",
        b"aeg-data-version": b"1.0",
        b"aeg-metadata-version": b"1",
        b"content-type": b"application/json; charset=utf-8",
        b"content-length": str(len(request.body)).encode(),
        b"user-agent": b"eventpost/0.1.0",
    }


def test_first_attempt_counts_zero() -> None:
    """The first attempt carries the delivery count 0."""
    request, _ = deliver([delivery(7)])

    assert request.header("aeg-delivery-count") == "0"


def test_batch_delivery() -> None:
    """A batch is one array with the events' own bytes, in order."""
    deliveries = [delivery(position) for position in range(3)]
    request, _ = deliver(deliveries, lambda url: subscription(url, batch_events_max=3))

    assert request.body == b"[" + b",".join(one.event.wire for one in deliveries) + b"]"


def test_cloud_event_delivery() -> None:
    """A CloudEvent is delivered alone, as it was published, with the origin of the consent."""
    request, _ = deliver([cloud_delivery()], schema=Schema.CLOUD_EVENTS)

    assert request.body == CLOUD_EVENT
    assert request.header("content-type") == "application/cloudevents+json; charset=utf-8"
    assert request.header("webhook-request-origin") == "events.example"
    assert request.header("aeg-metadata-version") == "1.0"
    assert request.header("aeg-data-version") == ""


def test_cloud_event_batch_delivery() -> None:
    """A batched subscription gets CloudEvents as a batch, even a single one."""
    request, _ = deliver(
        [cloud_delivery()],
        lambda url: subscription(url, batch_events_max=10),
        schema=Schema.CLOUD_EVENTS,
    )

    assert request.body == b"[" + CLOUD_EVENT + b"]"
    assert request.header("content-type") == "application/cloudevents-batch+json; charset=utf-8"


def test_event_grid_to_cloud_event() -> None:
    """An Event Grid event can be delivered as a CloudEvent whose source is the topic."""
    request, _ = deliver(
        [delivery(7)], lambda url: subscription(url, delivery_schema=Schema.CLOUD_EVENTS)
    )
    body = json.loads(request.body)

    assert body["source"].endswith("/topics/songs")
    assert (body["type"], body["data"]) == ("Song.Requested", {"title": "Dust My Broom"})


def test_static_attributes() -> None:
    """Static attributes are headers, in UTF-8; one named User-Agent replaces ours."""
    request, _ = deliver(
        [delivery(7)],
        lambda url: subscription(
            url,
            attributes=(
                DeliveryAttribute(name="X-Station", type="static", value="Blués FM"),
                DeliveryAttribute(name="Authorization", type="static", value="B s", is_secret=True),
                DeliveryAttribute(name="user-agent", type="static", value="radio"),
            ),
        ),
    )

    assert request.header("x-station") == "Blués FM"
    assert request.header("authorization") == "B s"
    assert request.header("user-agent") == "radio"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.title", "Dust My Broom"),
        ("subject", "genre/blues"),
        ("data", None),
        ("data.missing", None),
        ("data.title.deeper", None),
    ],
)
def test_dynamic_attributes(path: str, value: str | None) -> None:
    """A dynamic attribute takes its value from the event, and is left out where there is none."""
    attribute = DeliveryAttribute(name="X-Song", type="dynamic", value=path)
    request, _ = deliver([delivery(7)], lambda url: subscription(url, attributes=(attribute,)))

    assert request.header("x-song") == value


@pytest.mark.parametrize(
    ("value", "is_sent"),
    [
        ("a\tb", True),
        ("a" * 4_095, True),
        ("a" * 4_096, True),
        ("a" * 4_097, False),
        ("é" * 2_048, True),
        ("é" * 2_049, False),
        ("a\r\nX-Evil: 1", False),
        ("a\nX-Evil: 1", False),
        ("\x00", False),
        ("\x7f", False),
    ],
)
def test_dynamic_values_that_cannot_be_headers(value: str, is_sent: bool) -> None:
    """What a publisher writes never becomes a header of its own: it is left out, as is too much."""
    attribute = DeliveryAttribute(name="X-Song", type="dynamic", value="data.x")
    published = {
        "id": "1",
        "eventType": "T",
        "subject": "s",
        "eventTime": "2026-01-01T00:00:00Z",
        "data": {"x": value},
    }
    (event,) = eventgrid.decode(json.dumps(published).encode(), "/topics/songs")
    one = Delivery(event, 1, NOW_MS, NOW_MS)
    request, outcome = deliver([one], lambda url: subscription(url, attributes=(attribute,)))

    assert outcome is DELIVERED
    assert (request.header("x-song") == value) is is_sent
    assert request.header("x-evil") is None


def test_dynamic_attributes_of_a_batch() -> None:
    """A dynamic attribute goes with a batch only when all of its events agree on it."""
    attributes = (
        DeliveryAttribute(name="X-Same", type="dynamic", value="subject"),
        DeliveryAttribute(name="X-Other", type="dynamic", value="id"),
    )
    request, _ = deliver(
        [delivery(1), delivery(2)],
        lambda url: subscription(url, attributes=attributes, batch_events_max=2),
    )

    assert request.header("x-same") == "genre/blues"
    assert request.header("x-other") is None


@pytest.mark.parametrize(
    ("traces", "sent"),
    [
        ([("00-a-b-01", "x=y")], ("00-a-b-01", "x=y")),
        ([("00-a-b-01", "")], ("00-a-b-01", None)),
        ([None], (None, None)),
        ([("00-a-b-01", "x=y"), ("00-a-b-01", "x=y")], ("00-a-b-01", "x=y")),
        ([("00-a-b-01", "x=y"), ("00-c-d-01", "x=y")], (None, None)),
        ([("00-a-b-01", "x=y"), None], (None, None)),
        ([("bad\r\nX: y", "é")], (None, None)),
        ([("a" * 513, "b" * 512)], (None, "b" * 512)),
    ],
)
def test_traces(traces: list[tuple[str, str] | None], sent: tuple[str | None, str | None]) -> None:
    """The publish request's trace goes with its event, and with a batch that shares it."""
    deliveries = [delivery(position) for position in range(len(traces))]
    for one, trace in zip(deliveries, traces, strict=True):
        one.event.trace = trace
    request, _ = deliver(deliveries, lambda url: subscription(url, batch_events_max=2))

    assert (request.header("traceparent"), request.header("tracestate")) == sent


def test_data_version_that_cannot_be_a_header() -> None:
    """A data version that cannot stand in a header is left empty."""
    wire = delivery(7).event.wire.replace(b'"1.0"', b'"1\\r\\nX-Evil: 1"')
    request, outcome = deliver([Delivery(Event("7", "T", "s", wire), 7, NOW_MS, NOW_MS)])

    assert outcome is DELIVERED
    assert request.header("aeg-data-version") == ""
    assert request.header("x-evil") is None


def test_signatures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With signing secrets a delivery carries Standard Webhooks headers, one signature a secret,
    over an id that stays the same between attempts."""
    new, old = base64.b64encode(b"n" * 24).decode(), "old secret"
    monkeypatch.setenv("SIGNING", f"whsec_{new}")
    (tmp_path / "old").write_text(old + "\n")
    references = ("env:SIGNING", f"file:{tmp_path}/old")
    request, _ = deliver(
        [delivery(7), delivery(8)],
        lambda url: subscription(url, signing_secrets=references, batch_events_max=2),
    )

    assert request.header("webhook-id") == "msg_3_7-8"
    assert request.header("webhook-timestamp") == str(NOW_MS // 1000)
    signed = b"msg_3_7-8.%d.%b" % (NOW_MS // 1000, request.body)
    expected = [
        "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        for key in (b"n" * 24, old.encode())
    ]
    assert request.header("webhook-signature") == " ".join(expected)


# --- what comes back --------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204])
def test_success(status: int) -> None:
    """These statuses are success."""
    _, outcome = deliver(
        [delivery(7)], answer=b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status
    )

    assert outcome is DELIVERED


@pytest.mark.parametrize(
    "status", [205, 206, 208, 226, 300, 304, 307, 400, 404, 418, 500, 599, 999]
)
def test_no_success(status: int) -> None:
    """Every other status is a failure with that status, 2xx and redirects included."""
    raw = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status
    _, outcome = deliver([delivery(7)], answer=raw)

    assert isinstance(outcome, Failed)
    evidence = outcome.evidence
    assert (evidence.stage, evidence.fault, evidence.status) == (Stage.ANSWER, Fault.STATUS, status)
    assert evidence.address is not None
    assert outcome.is_counted
    assert not outcome.final


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"Retry-After: 120", 120),
        (b"retry-after:0", 0),
        (b"Retry-After: Thu, 01 Jan 2026 00:01:30 GMT", 90),
        (b"Retry-After: Wed, 31 Dec 2025 23:59:59 GMT", 0),
        (b"Retry-After: soon", None),
        (b"Retry-After: -5", None),
        (b"Retry-After: 1.5", None),
        (b"Retry-After: 99999999999999999999", 10**9),
        (b"Retry-After: Thu, 01 Jan 99999 00:00:00 GMT", None),
        (b"X: y", None),
    ],
)
def test_retry_after(header: bytes, seconds: int | None) -> None:
    """Retry-After is seconds or a date; nonsense is as if it were absent."""
    _, outcome = deliver(
        [delivery(7)],
        answer=b"HTTP/1.1 429 Slow\r\n" + header + b"\r\nContent-Length: 0\r\n\r\n",
    )

    assert isinstance(outcome, Failed)
    assert outcome.evidence.retry_after_s == seconds


@pytest.mark.parametrize(("status", "seconds"), [(429, 9), (503, 9), (500, None), (404, None)])
def test_retry_after_counts_for_overload(status: int, seconds: int | None) -> None:
    """Only an answer that speaks of overload may lengthen the delay."""
    raw = b"HTTP/1.1 %d X\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n" % status
    _, outcome = deliver([delivery(7)], answer=raw)

    assert isinstance(outcome, Failed)
    assert outcome.evidence.retry_after_s == seconds


def test_excerpt() -> None:
    """The beginning of a refusal's body is kept, printable and bounded, and where it redirects."""
    body = b"no\x1b[31m" + b"!" * 5_000
    raw = b"HTTP/1.1 302 X\r\nLocation: /login\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    _, outcome = deliver([delivery(7)], answer=raw)

    assert isinstance(outcome, Failed)
    detail = outcome.evidence.detail
    assert detail.startswith("Location: /login no [31m!!!")
    assert detail.isprintable()
    assert len(detail) == 1_000


def test_reconnect_is_told() -> None:
    """A delivery that needed a fresh connection succeeded and says so."""

    async def main() -> None:
        requests = 0

        def answer(_request: Received) -> bytes | None:
            nonlocal requests
            requests += 1
            return None if requests == 2 else OK

        async with Receiver(answer) as receiver:
            with Caller() as caller:
                destination = WebhookDestination(
                    topic(), subscription(receiver.url), services(caller)
                )
                recorder = Recorder()
                recorder.deliver(destination, [delivery(1)])
                await recorder.wait(1)
                recorder.deliver(destination, [delivery(2)])
                outcome = (await recorder.wait(2))[1]

                assert isinstance(outcome, Delivered)
                assert isinstance(outcome.evidence, Evidence)
                assert outcome.evidence.reconnect_count == 1

    asyncio.run(main())


def attempt(url: str, caller_options: dict[str, Any], **options: Any) -> Outcome:
    """One attempt with a client of these options."""
    outcomes: list[Outcome] = []

    async def main() -> None:
        with Caller(**caller_options) as caller:
            destination = WebhookDestination(
                topic(), subscription(url, **options), services(caller)
            )
            recorder = Recorder()
            recorder.deliver(destination, [delivery(1)])
            outcomes.extend(await recorder.wait(1))
            destination.close()

    asyncio.run(main())
    return outcomes[0]


def test_forbidden_scheme() -> None:
    """Plain http beyond this machine is not tried unless it is allowed, and does not count."""
    outcome = attempt(
        "http://hooks.example/",
        {"guard": AddressGuard(["10.0.0.0/8"]), "lookup": lambda _: ["10.0.0.1"]},
    )

    assert isinstance(outcome, Failed)
    assert outcome.evidence.fault is Fault.FORBIDDEN_SCHEME
    assert not outcome.is_counted


def test_forbidden_address() -> None:
    """A forbidden address is a failure that counts: its name was looked up."""
    outcome = attempt("https://hooks.example/", {"lookup": lambda _: ["169.254.169.254"]})

    assert isinstance(outcome, Failed)
    assert outcome.evidence.fault is Fault.FORBIDDEN_ADDRESS
    assert outcome.is_counted


@pytest.mark.parametrize(
    ("url", "secret", "fault", "said"),
    [
        ("https://user:pw@hooks.example/", (), Fault.MALFORMED, "user name"),
        ("https://hooks.example/", ("env:NOT_THERE",), Fault.NOT_FOUND, "NOT_THERE"),
        ("https://hooks.example/", ("file:/not/there",), Fault.NOT_FOUND, "/not/there"),
        ("https://hooks.example/", ("plain secret",), Fault.MALFORMED, "reference"),
    ],
)
def test_unusable_settings(url: str, secret: tuple[str, ...], fault: Fault, said: str) -> None:
    """Settings that cannot be used fail attempts with their reason, uncounted, and show no
    secret."""
    outcome = attempt(url, {}, signing_secrets=secret)

    assert isinstance(outcome, Failed)
    assert (outcome.evidence.stage, outcome.evidence.fault) == (Stage.SETTINGS, fault)
    assert said in outcome.evidence.detail
    assert "pw" not in outcome.evidence.detail
    assert "plain secret" not in outcome.evidence.detail
    assert not outcome.is_counted


def test_secret_that_appears_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A destination whose secret was missing delivers once the secret is there."""

    async def main() -> None:
        async with Receiver() as receiver:
            with Caller() as caller:
                destination = WebhookDestination(
                    topic(),
                    subscription(receiver.url, signing_secrets=("env:LATER",)),
                    services(caller),
                )
                recorder = Recorder()
                recorder.deliver(destination, [delivery(1)])
                assert isinstance((await recorder.wait(1))[0], Failed)
                monkeypatch.setenv("LATER", "secret")
                recorder.deliver(destination, [delivery(2)])
                assert (await recorder.wait(2))[1] is DELIVERED

    asyncio.run(main())


def test_proxy_wants_credentials() -> None:
    """407 to a plain http delivery is the proxy's answer, not the receiver's."""

    async def main() -> None:
        refusal = b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n"
        async with Receiver(lambda _: refusal) as proxy:
            with Caller(
                proxies=Proxies(http=Proxy("127.0.0.1", proxy.port)),
                guard=AddressGuard(["10.0.0.0/8"], allow_http=True),
                lookup=lambda _: ["10.0.0.1"],
            ) as caller:
                destination = WebhookDestination(
                    topic(), subscription("http://hooks.example/"), services(caller)
                )
                recorder = Recorder()
                recorder.deliver(destination, [delivery(1)])
                (outcome,) = await recorder.wait(1)

                assert isinstance(outcome, Failed)
                assert (outcome.evidence.stage, outcome.evidence.status) == (Stage.PROXY, 407)

    asyncio.run(main())


def test_closed_destination_lets_go() -> None:
    """Closing the last destination of an origin closes its connections."""

    async def main() -> None:
        async with Receiver() as receiver, Peer(lambda _: asyncio.sleep(0)):
            with Caller() as caller:
                one, two = (
                    WebhookDestination(topic(), subscription(receiver.url), services(caller))
                    for _ in range(2)
                )
                recorder = Recorder()
                recorder.deliver(one, [delivery(1)])
                await recorder.wait(1)
                one.close()
                assert caller.client.stats().connections == 1
                two.close()
                assert caller.client.stats().connections == 0

    asyncio.run(main())
