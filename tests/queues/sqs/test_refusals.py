"""What SQS says no with, through the real client: each becomes evidence, and the right finding.

The bodies are those of the service's JSON protocol; texts are those that AWS documents or sends.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from eventpost.core.outcomes import DELIVERED, Evidence, Failed, Fault, Stage
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message, Received, Settled
from eventpost.queues.sqs import SqsQueue
from eventpost.queues.sqs.forms import LEASE_S_MAX, Receipt
from tests.queues.sqs.answering import (
    REQUEST_ID,
    Answer,
    AnsweringServer,
    entries,
    queue,
    refusal,
)

ARN = "arn:aws:sqs:us-east-1:123456789012:jobs"
USER = "User: arn:aws:iam::123456789012:user/singer"


def send(one: SqsQueue) -> Failed:
    (outcome,) = one.send([Message(body=b"x")])
    assert isinstance(outcome, Failed)
    return outcome


def receive(one: SqsQueue) -> Failed:
    page = one.receive(10, 0, 30)
    assert isinstance(page, Failed)
    return page


def settle(one: SqsQueue) -> Failed:
    (verdict,) = one.settle([held()])
    assert isinstance(verdict, Failed)
    return verdict


def held(name: str = "1") -> Received:
    return Received(id=name, body=b"", receipt=Receipt(f"receipt-{name}", time.monotonic()))


def seen(
    server: AnsweringServer, answer: Answer, act: Callable[[SqsQueue], Failed] = send
) -> Failed:
    server.script = lambda *_: answer
    return act(queue(server.url))


REFUSALS = {
    "no permission": (
        refusal(
            "AccessDeniedException",
            f"{USER} is not authorized to perform: sqs:sendmessage on resource: {ARN} because no "
            "identity-based policy allows the sqs:sendmessage action",
            status=403,
            query_code="AccessDenied",
        ),
        send,
        "EP4101",
    ),
    "no permission, the name of today": (
        refusal("AccessDeniedException", f"{USER} is not authorized", status=403),
        send,
        "EP4101",
    ),
    "no permission for the key, told by SQS": (
        refusal("KmsAccessDenied", "The caller doesn't have the required KMS access."),
        receive,
        "EP4102",
    ),
    "no permission for the key, told by KMS": (
        refusal(
            "AccessDeniedException",
            f"{USER} is not authorized to perform: kms:GenerateDataKey on resource: "
            "arn:aws:kms:us-east-1:123456789012:key/k-1 with an explicit deny",
            query_code="AWS.SimpleQueueService.AccessDenied",
        ),
        send,
        "EP4102",
    ),
    "the key is disabled": (refusal("KmsDisabled", "It is disabled."), send, "EP4103"),
    "the key is gone": (refusal("KmsNotFound", "There is no such key."), receive, "EP4103"),
    "the key cannot be used": (refusal("KmsInvalidState", "Pending."), receive, "EP4103"),
    "too many requests": (
        refusal("RequestThrottled", "Rate exceeded", query_code="RequestThrottled"),
        send,
        "EP4104",
    ),
    "too many requests, as common errors say": (
        refusal("ThrottlingException", "Rate exceeded"),
        receive,
        "EP4104",
    ),
    "too many requests to KMS": (refusal("KmsThrottled", "Slow down."), send, "EP4105"),
    "no such queue": (
        refusal(
            "QueueDoesNotExist",
            "The specified queue does not exist.",
            query_code="AWS.SimpleQueueService.NonExistentQueue",
        ),
        receive,
        "EP4106",
    ),
    "no such queue, the name of today": (
        refusal("QueueDoesNotExist", "The specified queue does not exist."),
        receive,
        "EP4106",
    ),
    "too many messages under lease": (
        refusal("OverLimit", "Too many messages are in flight.", status=403),
        receive,
        "EP4110",
    ),
    "characters": (
        refusal("InvalidMessageContents", "Invalid characters were found."),
        send,
        "EP4111",
    ),
    "a queue with a smaller bound": (
        refusal(
            "InvalidParameterValueException",
            "Reason: Message must be shorter than 262144 bytes.",
            query_code="InvalidParameterValue",
        ),
        send,
        "EP4112",
    ),
    "a batch of one that is too long": (
        refusal(
            "BatchRequestTooLong",
            "Batch requests cannot be longer than 262144 bytes. You have sent 300000 bytes.",
            query_code="AWS.SimpleQueueService.BatchRequestTooLong",
        ),
        send,
        "EP4112",
    ),
    "no deduplication id": (
        refusal(
            "InvalidParameterValueException",
            "The queue should either have ContentBasedDeduplication enabled or "
            "MessageDeduplicationId provided explicitly",
            query_code="InvalidParameterValue",
        ),
        send,
        "EP4114",
    ),
    "another parameter": (
        refusal(
            "InvalidParameterValueException",
            "Value 901 for parameter DelaySeconds is invalid.",
            query_code="InvalidParameterValue",
        ),
        send,
        "EP4115",
    ),
    "something that this queue cannot do": (
        refusal(
            "UnsupportedOperation",
            "Not here.",
            query_code="AWS.SimpleQueueService.UnsupportedOperation",
        ),
        send,
        "EP4115",
    ),
    "an address of another service": (
        refusal("InvalidAddress", "The address is not valid for this endpoint."),
        receive,
        "EP4117",
    ),
    "SQS fails": (refusal("InternalError", "We are sorry.", status=500), receive, "EP4119"),
    "SQS is not there": (refusal("ServiceUnavailable", "Try later.", status=503), send, "EP4119"),
    "a code that nobody knows": (refusal("SongTooSad", "No."), settle, "EP4000"),
    "a session token that is over": (
        refusal(
            "ExpiredToken",
            "The security token included in the request is expired",
            status=403,
            query_code="ExpiredToken",
        ),
        receive,
        "EP4511",
    ),
    "an unknown key": (
        refusal(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            status=403,
            query_code="InvalidClientTokenId",
        ),
        receive,
        "EP4520",
    ),
    "a wrong secret": (
        refusal(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided.",
            status=403,
            query_code="SignatureDoesNotMatch",
        ),
        receive,
        "EP4518",
    ),
    "a clock that is off": (
        refusal(
            "InvalidSignatureException",
            "Signature expired: 20261128T140000Z is now earlier than 20261128T140500Z "
            "(20261128T141000Z - 5 min.)",
            status=403,
        ),
        receive,
        "EP4519",
    ),
    "a clock that is off, by the name of the query protocol": (
        refusal(
            "InvalidSignatureException",
            "Signature not yet current: 20261128T142000Z is still later than 20261128T141500Z "
            "(20261128T141000Z + 5 min.)",
            status=403,
            query_code="SignatureDoesNotMatch",
        ),
        receive,
        "EP4519",
    ),
}


@pytest.mark.parametrize(("answer", "act", "finding"), REFUSALS.values(), ids=REFUSALS.keys())
def test_each_refusal_has_its_finding(
    server: AnsweringServer, answer: Answer, act: Callable[[SqsQueue], Failed], finding: str
) -> None:
    """A refusal of SQS becomes evidence that leads to the finding that explains it."""
    failed = seen(server, answer, act)

    assert classify(failed.evidence) == finding
    assert failed.evidence.request_id == REQUEST_ID
    assert failed.evidence.credential == "explicit"


def test_what_evidence_says(server: AnsweringServer) -> None:
    """Evidence says which system was asked for what, what it answered, and who we were."""
    failed = seen(server, refusal("OverLimit", "Too many messages.", status=403), receive)

    assert failed == Failed(
        Evidence(
            stage=Stage.ANSWER,
            fault=Fault.CODE,
            elapsed_ms=failed.evidence.elapsed_ms,
            status=403,
            system="sqs",
            operation="receive",
            code="OverLimit",
            request_id=REQUEST_ID,
            credential="explicit",
            detail="Too many messages.",
        )
    )


@pytest.mark.parametrize(
    ("act", "action"),
    [(send, "SendMessage"), (receive, "ReceiveMessage"), (settle, "DeleteMessage")],
)
def test_a_missing_permission_comes_with_its_statement(
    server: AnsweringServer, act: Callable[[SqsQueue], Failed], action: str
) -> None:
    """What is missing is told as a statement of a policy, ready to be copied."""
    message = f"{USER} is not authorized to perform: sqs:x on resource: {ARN} because no policy"
    failed = seen(server, refusal("AccessDenied", message, status=403), act)

    statement = f'{{"Effect":"Allow","Action":"sqs:{action}","Resource":"{ARN}"}}'
    assert failed.evidence.detail.endswith(f"The statement that allows it: {statement}")
    assert not failed.final


def test_a_refusal_holds_no_secret(server: AnsweringServer) -> None:
    """What SQS repeats of a request that it refuses is not kept."""
    token = "FwoGZXIvYXdzEBYaDK" + "x" * 400
    message = f"The canonical string: x-amz-security-token:{token}"
    failed = seen(server, refusal("SignatureDoesNotMatch", message, status=403), receive)

    assert token not in failed.evidence.detail


def test_final_refusals(server: AnsweringServer) -> None:
    """What can never be sent is final; what somebody can mend is not."""
    codes = ("InvalidMessageContents", "RequestThrottled", "QueueDoesNotExist", "AccessDenied")
    finals = [code for code in codes if seen(server, refusal(code, "No.")).final]

    assert finals == ["InvalidMessageContents"]


def test_an_answer_that_is_not_from_sqs(server: AnsweringServer) -> None:
    """A page of a proxy is told by its status, and not taken for SQS's word."""
    failed = seen(server, Answer(403, b"<html>Forbidden by the proxy</html>"), receive)

    assert (failed.evidence.fault, failed.evidence.status) == (Fault.STATUS, 403)
    assert failed.evidence.code is None


PAGE = Answer(200, b"<html>Please log in to the network of the station.</html>" * 2)


@pytest.mark.parametrize("act", [send, receive, settle])
def test_a_page_that_says_all_is_well(
    server: AnsweringServer, act: Callable[[SqsQueue], Failed]
) -> None:
    """A page with status 200 of something between is no answer of SQS: a queue does not seem empty,
    and nothing seems done, because of it."""
    failed = seen(server, PAGE, act)

    assert classify(failed.evidence) == "EP2208"
    assert "not from SQS" in failed.evidence.detail


def test_a_page_in_the_place_of_a_queue(server: AnsweringServer) -> None:
    """Nor is a queue's URL read out of such a page."""
    server.script = lambda *_: PAGE
    failed = send(queue(server.url, "jobs"))

    assert classify(failed.evidence) == "EP2208"


@pytest.mark.parametrize("body", [b"{}", b'{"Messages":[]}', b""])
def test_an_empty_queue(server: AnsweringServer, body: bytes) -> None:
    """An answer without messages is an empty queue, and no failure."""
    server.script = lambda *_: Answer(body=body)

    assert queue(server.url).receive(10, 0, 30) == []


def test_a_refusal_in_xml(server: AnsweringServer) -> None:
    """An emulator that refuses in the former protocol's XML is understood."""
    body = (
        b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
        b"<Message>No.</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    )
    failed = seen(server, Answer(403, body), receive)

    assert classify(failed.evidence) == "EP4101"


# --- entries --------------------------------------------------------------------------------------


def test_one_bad_entry_among_good_ones(server: AnsweringServer) -> None:
    """Of a batch each message has its own outcome: a refused one does not touch the others."""

    def script(operation: str, body: dict[str, Any]) -> Answer:
        return entries(operation, {1: ("InvalidMessageContents", "No.")}, len(body["Entries"]))

    server.script = script
    outcomes = queue(server.url).send([Message(body=b"x")] * 3)

    assert [one is DELIVERED for one in outcomes] == [True, False, True]
    assert isinstance(outcomes[1], Failed)
    assert classify(outcomes[1].evidence) == "EP4111"
    assert outcomes[1].final


def test_an_entry_that_is_not_spoken_of(server: AnsweringServer) -> None:
    """A message of which the answer says nothing has not gone, as far as we know."""
    server.script = lambda *_: entries("", {}, 1)
    outcomes = queue(server.url).send([Message(body=b"x")] * 2)

    assert outcomes[0] is DELIVERED
    assert isinstance(outcomes[1], Failed)
    assert classify(outcomes[1].evidence) == "EP4118"


def test_a_batch_that_is_too_long_is_sent_in_parts(server: AnsweringServer) -> None:
    """Where the other side takes smaller batches than SQS, what is in them goes in parts."""

    def script(operation: str, body: dict[str, Any]) -> Answer:
        count = len(body["Entries"])
        if count > 2:
            return refusal("BatchRequestTooLong", "No.")
        return entries(operation, {}, count)

    server.script = script
    outcomes = queue(server.url).send([Message(body=str(i).encode()) for i in range(5)])

    assert list(outcomes) == [DELIVERED] * 5
    bodies = [
        [entry["MessageBody"] for entry in body["Entries"]]
        for _, body in server.requests
        if len(body["Entries"]) <= 2
    ]
    assert [body for batch in bodies for body in batch] == ["0", "1", "2", "3", "4"]


LOST = {
    "ReceiptHandleIsInvalid": ("ReceiptHandleIsInvalid", "The input receipt handle is invalid."),
    "MessageNotInflight": ("MessageNotInflight", "The message is not in flight."),
    "expired": (
        "InvalidParameterValue",
        "Value AQ for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.",
    ),
}


@pytest.mark.parametrize(("code", "message"), LOST.values(), ids=LOST.keys())
@pytest.mark.parametrize("operation", ["settle", "extend", "release"])
def test_a_receipt_that_is_not_good_any_more(
    server: AnsweringServer, operation: str, code: str, message: str
) -> None:
    """A lease that is over is told as lost, and only for its own message."""

    def script(operation: str, body: dict[str, Any]) -> Answer:
        return entries(operation, {0: (code, message)}, len(body["Entries"]))

    server.script = script
    one = queue(server.url)
    both = [held("1"), held("2")]
    acts: dict[str, Callable[[], Sequence[object]]] = {
        "settle": lambda: one.settle(both),
        "extend": lambda: one.extend(both, 30),
        "release": lambda: one.release(both, 0),
    }
    verdicts = acts[operation]()

    assert list(verdicts) == [Settled.LOST, Settled.DONE]


@pytest.mark.parametrize("code", ["ReceiptHandleIsInvalid", "MessageNotInflight"])
def test_a_lost_lease_has_a_finding(code: str) -> None:
    """What SQS says of a lease that is over is explained, too."""
    evidence = Evidence(stage=Stage.ANSWER, fault=Fault.CODE, system="sqs", code=code)

    assert classify(evidence) == "EP4109"


def test_a_lease_at_its_end(server: AnsweringServer) -> None:
    """A lease that cannot be extended any further is a failure with a finding of its own; the time
    of the message's lease is left as it was."""
    message = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
    one = held()
    one.lease_until_s = 7.0

    def script(operation: str, body: dict[str, Any]) -> Answer:
        return entries(operation, {0: ("InvalidParameterValue", message)}, len(body["Entries"]))

    server.script = script
    (verdict,) = queue(server.url).extend([one], 30)

    assert isinstance(verdict, Failed)
    assert classify(verdict.evidence) == "EP4116"
    assert one.lease_until_s == 7.0


def test_a_lease_that_is_over_for_good_is_not_asked_for(server: AnsweringServer) -> None:
    """A message received 12 hours ago is not extended, and the others of the call are."""
    server.script = lambda operation, body: entries(operation, {}, len(body["Entries"]))
    old = Received(id="1", body=b"", receipt=Receipt("old", time.monotonic() - LEASE_S_MAX))
    first, second = queue(server.url).extend([old, held()], 30)

    assert isinstance(first, Failed)
    assert classify(first.evidence) == "EP4116"
    assert second is Settled.DONE
    ((_, body),) = server.requests
    assert [each["ReceiptHandle"] for each in body["Entries"]] == ["receipt-1"]


def test_a_refused_batch_fails_for_all(server: AnsweringServer) -> None:
    """When the request is refused as a whole, every message has the same failure."""
    server.script = lambda *_: refusal("RequestThrottled", "No.")
    verdicts = queue(server.url).settle([held("1"), held("2")])

    assert [isinstance(one, Failed) for one in verdicts] == [True, True]


# --- making a queue -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "finding"),
    [
        ("QueueDeletedRecently", "EP4107"),
        ("InvalidAttributeName", "EP4108"),
        ("InvalidAttributeValue", "EP4108"),
        ("AccessDenied", "EP4101"),
    ],
)
def test_a_queue_that_cannot_be_made(server: AnsweringServer, shape: str, finding: str) -> None:
    """Why a queue is not made is told by its own finding."""

    def script(operation: str, _: dict[str, Any]) -> Answer:
        known = shape if operation == "CreateQueue" else "QueueDoesNotExist"
        return refusal(known, "No.", query_code=f"AWS.SimpleQueueService.{known}")

    server.script = script
    failed = send(queue(server.url, "jobs", create=True))

    assert classify(failed.evidence) == finding


def test_a_queue_that_somebody_else_makes_meanwhile(server: AnsweringServer) -> None:
    """When another has made the queue between the look and the making, it is used as it is."""
    asked: list[str] = []

    def script(operation: str, _: dict[str, Any]) -> Answer:
        asked.append(operation)
        if operation == "GetQueueUrl" and asked.count("GetQueueUrl") == 2:
            return Answer(body=b'{"QueueUrl":"http://elsewhere/1/jobs"}')
        if operation == "GetQueueUrl":
            return refusal("QueueDoesNotExist", "No.")
        if operation == "CreateQueue":
            return refusal("QueueNameExists", "With other attributes.")
        return entries(operation, {}, 1)

    server.script = script
    (outcome,) = queue(server.url, "jobs", create=True).send([Message(body=b"x")])

    assert outcome is DELIVERED
    assert asked == ["GetQueueUrl", "CreateQueue", "GetQueueUrl", "SendMessageBatch"]
