"""Delivery to functions of Lambda: what they get, and what each of their answers means."""

import asyncio
import base64
import dataclasses
import json
from collections.abc import Iterator
from urllib.request import Request, urlopen

import pytest
from msgspec import structs

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery, Schema
from eventpost.core.outcomes import Delivered, Failed, Fault, Outcome
from eventpost.core.subscriptions import DeliveryAttribute, Endpoint, Subscription
from eventpost.credentials.aws import AwsConnection
from eventpost.credentials.aws_settings import REQUEST_S_MAX
from eventpost.destinations import kinds
from eventpost.destinations.lambda_payloads import ASYNC_BYTES_MAX
from eventpost.diagnosis.classify import classify
from eventpost.testing.destination_conformance import (
    DestinationConformance,
    Harness,
    Recorder,
    delivery,
)
from eventpost.testing.receiver import HANG, RESET, Answer, Reaction, Received
from tests.services.aws import ACCESS_KEY_ID, SECRET_ACCESS_KEY
from tests.services.moto import Moto
from tests.services.running import Running

from .functions import (
    ARN,
    FUNCTION,
    REGION,
    REQUEST_ID,
    RESPONSE_TIMEOUT_S,
    LambdaHarness,
    connection,
    raised,
    refused,
    returned,
    subscription,
)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDA_TEST_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("LAMBDA_TEST_SECRET", SECRET_ACCESS_KEY)


class TestLambda(DestinationConformance):
    def harness(self) -> Harness:
        return LambdaHarness()


class Delivering:
    """Delivers to one function, and shows what it got and what came of it."""

    def __init__(self) -> None:
        self.harness = LambdaHarness()
        self.requests: list[Received] = []

    def __call__(
        self,
        *deliveries: Delivery,
        to: Subscription | None = None,
        answer: Reaction | None = None,
        schema: Schema = Schema.EVENT_GRID,
    ) -> list[Outcome]:
        self.harness.receiver.always = returned() if answer is None else answer

        async def main() -> list[Outcome]:
            destination = self.harness.deliver_to(to or subscription(), schema)
            recorder = Recorder()
            recorder.deliver(destination, deliveries)
            outcomes = await recorder.wait(1)
            self.harness.leave()
            return outcomes

        outcomes = asyncio.run(main())
        self.requests = self.harness.receiver.requests
        return outcomes

    def one(self, answer: Reaction, to: Subscription | None = None) -> Failed:
        (outcome,) = self(delivery(1), to=to, answer=answer)
        assert isinstance(outcome, Failed)
        return outcome


@pytest.fixture
def deliver() -> Iterator[Delivering]:
    made = Delivering()
    yield made
    made.harness.receiver.close()


# --- what a function gets -------------------------------------------------------------------------


def test_one_event(deliver: Delivering) -> None:
    """A function gets the event itself, and is waited for; what a webhook finds in its headers
    stands in the client context."""
    attributes = (
        DeliveryAttribute(name="X-Station", type="static", value="blues"),
        DeliveryAttribute(name="X-Title", type="dynamic", value="data.title"),
    )
    one = delivery(7, attempts=2)
    one.event.trace = ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b")

    (outcome,) = deliver(one, to=subscription(attributes=attributes))

    assert isinstance(outcome, Delivered)
    (request,) = deliver.requests
    assert request.path == f"/2015-03-31/functions/{FUNCTION}/invocations"
    assert request.body == one.event.wire
    assert request.headers["x-amz-invocation-type"] == "RequestResponse"
    context = json.loads(base64.b64decode(request.headers["x-amz-client-context"]))
    assert context == {
        "custom": {
            "aeg-subscription-name": "BLUES",
            "aeg-delivery-count": "2",
            "traceparent": one.event.trace[0],
            "tracestate": "a=b",
            "X-Station": "blues",
            "X-Title": "Dust My Broom",
        }
    }


def test_a_batch(deliver: Delivering) -> None:
    """A subscription with batches sends an array, of one event too."""
    batched = subscription(batch_events_max=3)
    deliver(delivery(1), delivery(2), to=batched)
    deliver(delivery(3), to=batched)

    first, second = deliver.requests
    assert [event["id"] for event in json.loads(first.body)] == ["event-1", "event-2"]
    assert [event["id"] for event in json.loads(second.body)] == ["event-3"]


def test_a_cloud_event(deliver: Delivering) -> None:
    """An event is converted as for a webhook when the subscription wants CloudEvents."""
    deliver(delivery(1), to=subscription(delivery_schema=Schema.CLOUD_EVENTS))

    event = json.loads(deliver.requests[0].body)
    assert (event["specversion"], event["id"]) == ("1.0", "event-1")
    assert event["source"].endswith("/topics/songs")


def test_without_waiting(deliver: Delivering) -> None:
    """With `Event` Lambda has the event when it says so; what the function does is Lambda's."""
    answer = Answer(202, b"", {"x-amzn-RequestId": REQUEST_ID})
    events = [delivery(1), delivery(2)]
    outcomes = deliver(
        *events, to=subscription(batch_events_max=2, invocation="Event"), answer=answer
    )

    assert [type(one) for one in outcomes] == [Delivered, Delivered]
    headers = deliver.requests[0].headers
    assert headers["x-amz-invocation-type"] == "Event"
    assert "x-amz-client-context" not in headers
    assert "x-amz-log-type" not in headers


@pytest.mark.parametrize(
    ("address", "path"),
    [
        (FUNCTION, FUNCTION),
        (f"{FUNCTION}:live", f"{FUNCTION}%3Alive"),
        (ARN, ARN.replace(":", "%3A")),
        (f"123456789012:{FUNCTION}", f"123456789012%3A{FUNCTION}"),
    ],
)
def test_addresses(deliver: Delivering, address: str, path: str) -> None:
    """A function is a name, an ARN or a part of one, with or without an alias."""
    deliver(delivery(1), to=subscription(address))

    assert deliver.requests[0].path == f"/2015-03-31/functions/{path}/invocations"


# --- what its answer means ------------------------------------------------------------------------


@pytest.mark.cites("https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html")
def test_part_of_a_batch(deliver: Delivering) -> None:
    """Events that the function names as not processed are tried again; the others are delivered."""
    failures = {"batchItemFailures": [{"itemIdentifier": "event-2"}]}
    events = [delivery(1), delivery(2), delivery(3)]
    outcomes = deliver(*events, to=subscription(batch_events_max=3), answer=returned(failures))

    assert [type(one) for one in outcomes] == [Delivered, Failed, Delivered]
    failed = outcomes[1]
    assert isinstance(failed, Failed)
    assert classify(failed.evidence) == "EP4159"
    assert not failed.final


def test_a_batch_of_which_nothing_is_known(deliver: Delivering) -> None:
    """An answer that names an event of no batch leaves none of this one delivered."""
    failures = {"batchItemFailures": [{"itemIdentifier": "somebody-elses"}]}
    events = [delivery(1), delivery(2)]
    outcomes = deliver(*events, to=subscription(batch_events_max=2), answer=returned(failures))

    assert [type(one) for one in outcomes] == [Failed, Failed]


UNREADABLE = [
    b'{"batchItemFailures":[{"itemIdentifier":"\xff"}]}',
    b'{"batchItemFailures":' + b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b"[1",
    b"1e999999",
]


@pytest.mark.parametrize("body", UNREADABLE, ids=lambda body: str(body[:5]))
def test_an_answer_that_cannot_be_read(deliver: Delivering, body: bytes) -> None:
    """Bytes that cannot be read as JSON leave none of a batch delivered, and are an outcome."""
    events = [delivery(1), delivery(2)]
    answer = dataclasses.replace(returned(), body=body)
    outcomes = deliver(*events, to=subscription(batch_events_max=2), answer=answer)

    assert [type(one) for one in outcomes] == [Failed, Failed]


@pytest.mark.parametrize("body", UNREADABLE, ids=lambda body: str(body[:5]))
def test_an_error_that_cannot_be_read(deliver: Delivering, body: bytes) -> None:
    """An error that cannot be read is one all the same."""
    failed = deliver.one(dataclasses.replace(raised({}), body=body))

    assert classify(failed.evidence) == "EP4150"


def test_what_nobody_foresaw_is_an_outcome(deliver: Delivering) -> None:
    """No exception crosses the border: bytes that the store should never have held end as well."""
    broken = delivery(1)
    broken.event.wire = b"{"

    (outcome,) = deliver(broken, to=subscription(delivery_schema=Schema.CLOUD_EVENTS))

    assert isinstance(outcome, Failed)
    assert outcome.evidence.fault is Fault.UNEXPECTED


def test_a_single_event_reports_no_parts(deliver: Delivering) -> None:
    """Without batches what the function returns means nothing: it did not fail."""
    failures = {"batchItemFailures": [{"itemIdentifier": "event-1"}]}
    (outcome,) = deliver(delivery(1), answer=returned(failures))

    assert isinstance(outcome, Delivered)


TIMED_OUT = {
    "errorType": "Sandbox.Timedout",
    "errorMessage": f"RequestId: {REQUEST_ID} Error: Task timed out after 3.00 seconds",
}
CRASHED = {
    "errorType": "Runtime.ExitError",
    "errorMessage": f"RequestId: {REQUEST_ID} Error: Runtime exited with error: signal: killed",
}
DENIED = (
    "User: arn:aws:iam::123456789012:user/singer is not authorized to perform: "
    f"lambda:InvokeFunction on resource: {ARN} because no identity-based policy allows it"
)
ANSWERS: dict[str, tuple[Reaction, str]] = {
    "the function raised": (raised({"errorMessage": "no", "errorType": "KeyError"}), "EP4150"),
    "its time limit": (raised(TIMED_OUT), "EP4151"),
    "its memory": (raised(CRASHED), "EP4152"),
    "throttled": (
        refused(
            429,
            "TooManyRequestsException",
            "Rate Exceeded.",
            Reason="ReservedFunctionConcurrentInvocationLimitExceeded",
        ),
        "EP4153",
    ),
    "not allowed": (refused(403, "AccessDeniedException", DENIED), "EP4154"),
    "not there": (
        refused(404, "ResourceNotFoundException", f"Function not found: {ARN}"),
        "EP4155",
    ),
    "pending": (
        refused(409, "ResourceConflictException", "The function is in the state Pending."),
        "EP4156",
    ),
    "no address": (
        refused(502, "SubnetIPAddressLimitReachedException", "No free addresses."),
        "EP4157",
    ),
    "too large": (refused(413, "RequestTooLargeException", "Request must be smaller."), "EP4158"),
    "no answer in time": (HANG, "EP4160"),
    "not this way": (refused(400, "InvalidRequestContentException", "No."), "EP4161"),
    "a loop": (refused(400, "RecursiveInvocationException", "Stopped."), "EP4161"),
    "Lambda fails": (refused(500, "ServiceException", "We are sorry."), "EP4162"),
    "a code that nobody knows": (refused(400, "SongTooSadException", "No."), "EP4000"),
    "keys that are over": (refused(403, "ExpiredTokenException", "It is expired."), "EP4511"),
    "an unknown key": (refused(403, "UnrecognizedClientException", "Who?"), "EP4520"),
    "a broken connection": (RESET, "EP2204"),
    "a page of a proxy": (Answer(403, b"<html>No.</html>"), "EP2403"),
}


@pytest.mark.parametrize(("answer", "finding"), ANSWERS.values(), ids=ANSWERS.keys())
def test_each_answer_has_its_finding(deliver: Delivering, answer: Reaction, finding: str) -> None:
    """Errors of the function, throttles, time limits and refusals are told apart, and each is tried
    again: the retry schedule decides how long."""
    failed = deliver.one(answer)

    assert classify(failed.evidence) == finding
    assert not failed.final
    assert failed.is_counted
    assert failed.evidence.operation == "invoke"
    # The client does not try again by itself, but for keys: they are read anew, once.
    assert len(deliver.requests) == (2 if finding in ("EP4511", "EP4520") else 1)


def test_a_failed_function_shows_why(deliver: Delivering) -> None:
    """A failure of the function comes with its error, the end of its log, and the request's id."""
    error = {"errorMessage": "no such song", "errorType": "KeyError"}
    evidence = deliver.one(raised(error, "START\n[ERROR] KeyError: no such song\nEND")).evidence

    assert evidence.detail.startswith("KeyError: no such song Log: START [ERROR] KeyError")
    assert (evidence.system, evidence.status, evidence.request_id) == ("lambda", 200, REQUEST_ID)
    assert evidence.credential == "explicit"


def test_a_failed_batch(deliver: Delivering) -> None:
    """A function that fails has processed none of its batch."""
    answer = raised({"errorMessage": "no", "errorType": "KeyError"})
    outcomes = deliver(delivery(1), delivery(2), to=subscription(batch_events_max=2), answer=answer)

    assert [type(one) for one in outcomes] == [Failed, Failed]


def test_a_throttle_says_when(deliver: Delivering) -> None:
    """A throttle tells its reason, and how long to wait where Lambda says so."""
    headers = {"x-amzn-ErrorType": "TooManyRequestsException", "Retry-After": "7"}
    body = b'{"message":"Rate Exceeded.","Reason":"CallerRateLimitExceeded"}'
    evidence = deliver.one(Answer(429, body, headers)).evidence

    assert evidence.retry_after_s == 7
    assert "Reason: CallerRateLimitExceeded." in evidence.detail


def test_a_missing_permission_comes_with_its_statement(deliver: Delivering) -> None:
    """What is missing is told as a statement of a policy, ready to be copied."""
    evidence = deliver.one(refused(403, "AccessDeniedException", DENIED)).evidence

    statement = f'{{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"{ARN}"}}'
    assert evidence.detail.endswith(statement)


def test_the_subscription_decides_how_long(deliver: Delivering) -> None:
    """A function is waited for as long as the subscription says, not as the connection, which is
    longer than a test may take."""
    patient = structs.replace(connection(deliver.harness.receiver), request_timeout_s=REQUEST_S_MAX)
    deliver.harness.find = lambda *_: patient

    evidence = deliver.one(HANG).evidence

    assert evidence.elapsed_ms / 1000 >= RESPONSE_TIMEOUT_S


# --- bounds ---------------------------------------------------------------------------------------


def of_size(position: int, size: int) -> Delivery:
    one = delivery(position)
    one.event.wire += b" " * (size - len(one.event.wire))
    return one


def test_the_largest_event(deliver: Delivering) -> None:
    """An event as large as Lambda takes goes; one byte more is final, and nothing is sent."""
    later = subscription(invocation="Event")
    accepted = Answer(202)
    (small,) = deliver(of_size(1, ASYNC_BYTES_MAX), to=later, answer=accepted)
    (large,) = deliver(of_size(2, ASYNC_BYTES_MAX + 1), to=later, answer=accepted)

    assert isinstance(small, Delivered)
    assert isinstance(large, Failed)
    assert large.final
    assert classify(large.evidence) == "EP4158"
    assert len(deliver.requests) == 1


def test_a_batch_that_is_too_large_goes_in_parts(deliver: Delivering) -> None:
    """A batch that is larger than Lambda takes is sent in several invocations; an event that is too
    large alone fails alone."""
    half = ASYNC_BYTES_MAX // 2
    events = [of_size(1, half), of_size(2, half), of_size(3, ASYNC_BYTES_MAX), of_size(4, 300)]
    to = subscription(batch_events_max=4, invocation="Event")
    outcomes = deliver(*events, to=to, answer=Answer(202))

    assert [type(one) for one in outcomes] == [Delivered, Delivered, Failed, Delivered]
    bodies = [json.loads(request.body) for request in deliver.requests]
    assert [[event["id"] for event in body] for body in bodies] == [
        ["event-1"],
        ["event-2"],
        ["event-4"],
    ]


# --- what is declared -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["", "my function", "arn:aws:sqs:us-east-1:123456789012:jobs", "f" * 65, "f:a:b"]
)
def test_what_is_no_function(address: str) -> None:
    """An address that no function can have is refused when it is declared."""
    with pytest.raises(InvalidRequest, match="is no function of Lambda"):
        kinds.check(Endpoint(type="lambda", address=address))


def test_options_are_checked() -> None:
    """An option that there is not, and a way of invoking that there is not, are refused."""
    wrong: list[dict[str, object]] = [{"invokation": "Event"}, {"invocation": "DryRun"}]
    for options in wrong:
        with pytest.raises(InvalidRequest, match=r"options\.invo"):
            kinds.check(Endpoint(type="lambda", address=FUNCTION, options=options))


def test_a_connection_that_is_gone(deliver: Delivering) -> None:
    """Without its connection every attempt fails, says why, and does not count; once it is there
    again deliveries go on."""
    harness = deliver.harness
    gone = InvalidRequest("ConnectionNotFound", "There is no connection 'station'.")

    def missing(_kind: str, _name: str | None) -> AwsConnection:
        raise gone

    async def main() -> list[Outcome]:
        find, harness.find = harness.find, missing
        destination = harness.deliver_to(subscription())
        recorder = Recorder()
        recorder.deliver(destination, [delivery(1)])
        await recorder.wait(1)
        harness.find = find
        recorder.deliver(destination, [delivery(2)])
        outcomes = await recorder.wait(2)
        harness.leave()
        return outcomes

    harness.receiver.always = returned()
    first, second = asyncio.run(main())

    assert isinstance(first, Failed)
    assert not first.is_counted
    assert classify(first.evidence) == "EP2704"
    assert isinstance(second, Delivered)


# --- moto -----------------------------------------------------------------------------------------


def _prepare(url: str, results: list[str]) -> None:
    """Let the server's functions return these, without running anything."""
    for path, told in [
        ("config", {"lambda": {"use_docker": False}}),
        ("static/lambda-simple/response", {"results": results, "region": REGION}),
    ]:
        body = json.dumps(told).encode()
        request = Request(f"{url}/moto-api/{path}", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=10) as answer:
            assert answer.status in (200, 201)


def test_a_function_of_an_emulator(deliver: Delivering, own_moto: Running[Moto]) -> None:
    """The moto server's function is invoked, and what it returns is understood."""
    url = own_moto.service.url
    _prepare(url, ['{"batchItemFailures": [{"itemIdentifier": "event-1"}]}'])
    settings = AwsConnection(
        region=REGION,
        endpoint_url=url,
        access_key_id="env:LAMBDA_TEST_KEY_ID",
        secret_access_key="env:LAMBDA_TEST_SECRET",
    )

    deliver.harness.find = lambda *_: settings

    to = subscription("songs", batch_events_max=2)
    patient = structs.replace(to.endpoint, response_timeout_s=30.0)
    outcomes = deliver(delivery(1), delivery(2), to=structs.replace(to, endpoint=patient))

    assert [type(one) for one in outcomes] == [Failed, Delivered]
