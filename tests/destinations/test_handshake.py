"""Both handshakes: what is asked, and what counts as consent."""

import asyncio
import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from eventpost.core.events import Schema
from eventpost.core.outcomes import Fault, Stage
from eventpost.core.subscriptions import DeliveryAttribute, Endpoint
from eventpost.destinations.handshake import Awaiting, Consent, Question, Refused, Result, validate
from eventpost.diagnosis.classify import classify
from eventpost.testing.destination_conformance import NOW_MS, until
from tests.http.client.peers import Caller

from .receivers import Received, Receiver

CODE = "0b1c2d3e-0000-4000-8000-000000000001"


def question(url: str, schema: Schema = Schema.EVENT_GRID, **endpoint: Any) -> Question:
    return Question(
        endpoint=Endpoint(address=url, **endpoint),
        output_schema=schema,
        subscription_name="blues",
        topic_resource="/topics/songs",
        origin="events.example",
        code=CODE,
        later_url="https://events.example/validate/token",
        event_id="event-1",
        now_ms=NOW_MS,
    )


def ask(
    answer: bytes | None, schema: Schema = Schema.EVENT_GRID, **endpoint: Any
) -> tuple[Received, Result]:
    """One handshake: the request, and what its answer means."""
    found: list[tuple[Received, Result]] = []

    async def main() -> None:
        async with Receiver(lambda _: answer) as receiver:
            with Caller() as caller:
                result = await validate(caller.client, question(receiver.url, schema, **endpoint))
                found.append((receiver.requests[0], result))
                assert caller.client.stats().connections == 0

    asyncio.run(main())
    return found[0]


def plain(status: int, body: str = "", headers: str = "") -> bytes:
    raw = body.encode()
    return f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(raw)}\r\n\r\n".encode() + raw


def echo(code: str = CODE) -> str:
    return json.dumps({"validationResponse": code})


# --- Event Grid -------------------------------------------------------------------------------


def test_validation_request() -> None:
    """The validation event is an array of one with code and URL, under Event Grid's headers."""
    attribute = DeliveryAttribute(name="X-Key", type="static", value="k", is_secret=True)
    request, _ = ask(plain(200, echo()), attributes=(attribute,))
    (event,) = json.loads(request.body)

    assert request.request_line == b"POST /hook HTTP/1.1"
    assert request.header("aeg-event-type") == "SubscriptionValidation"
    assert request.header("aeg-subscription-name") == "BLUES"
    assert request.header("aeg-delivery-count") == "0"
    assert request.header("content-type") == "application/json; charset=utf-8"
    assert request.header("x-key") == "k"
    assert event["eventType"] == "Microsoft.EventGrid.SubscriptionValidationEvent"
    assert event["data"] == {
        "validationCode": CODE,
        "validationUrl": "https://events.example/validate/token",
    }


def test_the_question_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a signing secret the validation event is signed as deliveries are, else it is not."""
    secret = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
    monkeypatch.setenv("BLUES_SECRET", secret)
    request, _ = ask(plain(200, echo()), signing_secrets=("env:BLUES_SECRET",))
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    headers = {name: request.header(name) or "" for name in names}
    at = datetime.fromtimestamp(NOW_MS // 1000, UTC)

    assert headers["webhook-timestamp"] == str(NOW_MS // 1000)
    signature = Webhook(secret).sign(headers["webhook-id"], at, request.body.decode())
    assert headers["webhook-signature"] == signature
    unsigned, _ = ask(plain(200, echo()))
    assert unsigned.header("webhook-signature") is None


def test_a_signing_secret_that_is_missing() -> None:
    """Nobody is asked in the name of a secret that cannot be had; the evidence names it."""

    async def main() -> Result:
        with Caller() as caller:
            asked = question("http://127.0.0.1:9", signing_secrets=("env:NO_SUCH_SECRET",))
            return await validate(caller.client, asked)

    result = asyncio.run(main())

    assert isinstance(result, Refused)
    assert result.evidence.stage is Stage.SETTINGS
    assert "NO_SUCH_SECRET" in result.evidence.detail


@pytest.mark.parametrize(
    "answer",
    [
        plain(200, echo()),
        plain(200, json.dumps({"ValidationResponse": CODE})),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        % (len(echo()), echo().encode()),
    ],
    ids=["plain", "dotnet", "chunked"],
)
def test_echoed(answer: bytes) -> None:
    """The echoed code is consent, in a chunked answer too, its name in any case."""
    assert ask(answer)[1] == Consent()


@pytest.mark.parametrize(
    "body", ["", "OK", "{}", "[]", '{"other": 1}', '"' + CODE + '"', "[" * 5_000]
)
def test_no_code(body: str) -> None:
    """A 200 without the code waits for somebody to visit the URL."""
    assert ask(plain(200, body))[1] == Awaiting()


@pytest.mark.parametrize("status", [201, 202, 204, 302, 400, 404, 500])
def test_other_statuses(status: int) -> None:
    """Only 200 will do, code or not."""
    body = "" if status == 204 else echo()
    result = ask(plain(status, body))[1]

    assert isinstance(result, Refused)
    evidence = result.evidence
    assert (evidence.stage, evidence.fault) == (Stage.HANDSHAKE, Fault.STATUS)
    assert evidence.status == status


@pytest.mark.parametrize("body", [echo("another"), '{"validationResponse": 5}', echo("")])
def test_another_code(body: str) -> None:
    """Another code is a refusal, not a matter for later."""
    result = ask(plain(200, body))[1]

    assert isinstance(result, Refused)
    assert (result.evidence.stage, result.evidence.fault) == (Stage.HANDSHAKE, Fault.MALFORMED)


def test_no_answer_is_tried_again() -> None:
    """Without an answer for 30 s the question is asked once more after 5 s, then given up."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def main() -> None:
        async with Receiver() as receiver:
            receiver.hangs = True
            with Caller() as caller:
                task = asyncio.create_task(
                    validate(caller.client, question(receiver.url), sleep=sleep)
                )
                await until(lambda: len(receiver.requests) == 1)
                caller.pass_time(29.9)
                assert not slept
                caller.pass_time(0.1)
                await until(lambda: len(receiver.requests) == 2)
                assert slept == [5.0]
                caller.pass_time(30)
                result = await task

                assert isinstance(result, Refused)
                assert result.evidence.stage is Stage.HANDSHAKE
                assert result.evidence.fault is Fault.TIMED_OUT
                assert classify(result.evidence) == "EP2604"

    asyncio.run(main())


def test_second_question_can_be_answered() -> None:
    """An endpoint that was asleep and answers the second question consents."""

    async def sleep(_seconds: float) -> None:
        pass

    async def main() -> None:
        async with Receiver(lambda _: plain(200, echo())) as receiver:
            receiver.hangs = True
            with Caller() as caller:
                task = asyncio.create_task(
                    validate(caller.client, question(receiver.url), sleep=sleep)
                )
                await until(lambda: len(receiver.requests) == 1)
                receiver.hangs = False
                caller.pass_time(30)

                assert await task == Consent()

    asyncio.run(main())


@pytest.mark.parametrize("schema", [Schema.EVENT_GRID, Schema.CLOUD_EVENTS])
def test_unreachable(schema: Schema) -> None:
    """What prevents the question keeps its own evidence, and is not asked again."""

    async def main() -> None:
        async with Receiver() as receiver:
            await receiver.stop()
            with Caller() as caller:
                result = await validate(caller.client, question(receiver.url, schema))

                assert isinstance(result, Refused)
                assert result.evidence.fault is Fault.REFUSED

    asyncio.run(main())


def test_unusable_url() -> None:
    """A URL that cannot be one is refused as a setting."""

    async def main() -> None:
        with Caller() as caller:
            result = await validate(caller.client, question("https://"))

            assert isinstance(result, Refused)
            assert result.evidence.stage is Stage.SETTINGS

    asyncio.run(main())


# --- CloudEvents ------------------------------------------------------------------------------


def test_options_request() -> None:
    """CloudEvents asks with OPTIONS, its origin, the callback, and the wanted rate a minute."""
    request, result = ask(
        plain(200, headers="WebHook-Allowed-Origin: events.example\r\n"),
        Schema.CLOUD_EVENTS,
        rate_per_s=2.0,
    )

    assert result == Consent()
    assert request.request_line == b"OPTIONS /hook HTTP/1.1"
    assert request.header("webhook-request-origin") == "events.example"
    assert request.header("webhook-request-callback") == "https://events.example/validate/token"
    assert request.header("webhook-request-rate") == "120"


@pytest.mark.parametrize(
    ("headers", "rate"),
    [
        ("WebHook-Allowed-Origin: *\r\n", None),
        ("WebHook-Allowed-Origin: Events.Example\r\n", None),
        ("WebHook-Allowed-Origin: other.example, events.example\r\n", None),
        ("WebHook-Allowed-Origin: *\r\nWebHook-Allowed-Rate: *\r\n", None),
        ("WebHook-Allowed-Origin: *\r\nwebhook-allowed-rate: 1\r\n", 1),
        ("WebHook-Allowed-Origin: *\r\nWebHook-Allowed-Rate: 1000000000\r\n", 1_000_000_000),
    ],
)
@pytest.mark.parametrize("status", [200, 204, 405, 500])
def test_consent(headers: str, rate: int | None, status: int) -> None:
    """The allowed origin is consent whatever the status; a rate bounds it."""
    assert ask(plain(status, headers=headers), Schema.CLOUD_EVENTS)[1] == Consent(rate)


@pytest.mark.parametrize(
    "headers",
    [
        "WebHook-Allowed-Origin: other.example\r\n",
        "WebHook-Allowed-Origin: \r\n",
        "WebHook-Allowed-Origin: xevents.example\r\n",
        "WebHook-Allowed-Origin: *\r\nWebHook-Allowed-Rate: 0\r\n",
        "WebHook-Allowed-Origin: *\r\nWebHook-Allowed-Rate: -1\r\n",
        "WebHook-Allowed-Origin: *\r\nWebHook-Allowed-Rate: 1000000001\r\n",
        "WebHook-Allowed-Origin: *\r\nWebHook-Allowed-Rate: fast\r\n",
    ],
)
def test_no_consent(headers: str) -> None:
    """Another origin, or a rate that is none, is no consent."""
    result = ask(plain(200, headers=headers), Schema.CLOUD_EVENTS)[1]

    assert isinstance(result, Refused)
    assert (result.evidence.stage, result.evidence.fault) == (Stage.HANDSHAKE, Fault.NO_CONSENT)


@pytest.mark.parametrize(
    ("status", "is_awaiting"), [(200, True), (204, True), (405, False), (500, False)]
)
def test_no_header(status: int, is_awaiting: bool) -> None:
    """Without the header a success leaves room for the callback; anything else is a refusal."""
    result = ask(plain(status), Schema.CLOUD_EVENTS)[1]

    assert isinstance(result, Awaiting if is_awaiting else Refused)
