"""How services say no, as their documentation has it: for what no emulator can refuse.

Layer: testing. Reactions for `fault_proxy`.
"""

import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from xml.sax.saxutils import escape

from eventpost.testing.proxied_http import Asked
from eventpost.testing.proxied_kafka import kafka_refusal
from eventpost.testing.receiver import Answer

REQUEST_ID = "8c1c1f0a-3003-0042-2b1a-1f0a3b000000"

AZURE_MESSAGES = {
    "AuthorizationFailure": "This request is not authorized to perform this operation.",
    "AuthorizationPermissionMismatch": "This request is not authorized to perform this operation"
    " using this permission.",
    "AuthenticationFailed": "Server failed to authenticate the request. Make sure the value of"
    " Authorization header is formed correctly including the signature.",
    "ServerBusy": "The server is busy.",
    "OperationTimedOut": "Operation could not be completed within the specified time.",
    "InternalError": "Server encountered an internal error. Please try again after some time.",
}


def azure_refusal(
    code: str, status: int = 403, message: str | None = None
) -> Callable[[Asked], Answer]:
    """An error of Azure Storage: its code stands in a header and in the XML body. It is dated when
    it is given: one that was made long before would tell of a clock that is wrong."""
    text = AZURE_MESSAGES.get(code, "Refused.") if message is None else message
    return lambda _asked: _azure(code, status, text, datetime.now(UTC))


def _azure(code: str, status: int, text: str, now: datetime) -> Answer:
    body = (
        '\ufeff<?xml version="1.0" encoding="utf-8"?>'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(text)}\n"
        f"RequestId:{REQUEST_ID}\nTime:{now:%Y-%m-%dT%H:%M:%S.%f}0Z</Message></Error>"
    )
    headers = {
        "Content-Type": "application/xml",
        "Server": "Windows-Azure-Queue/1.0 Microsoft-HTTPAPI/2.0",
        "x-ms-request-id": REQUEST_ID,
        "x-ms-version": "2024-11-04",
        "x-ms-error-code": code,
        "Date": format_datetime(now, usegmt=True),
    }
    return Answer(status, body.encode(), headers)


def aws_refusal(
    code: str, status: int = 403, message: str = "Access to the resource is denied."
) -> Callable[[Asked], Answer]:
    """An error of Amazon SQS in the protocol in which it was asked: JSON, or XML."""

    def answer(asked: Asked) -> Answer:
        sender = "Receiver" if status >= 500 else "Sender"
        if asked.is_json:
            return _aws_json(code, status, message, sender)
        body = (
            '<?xml version="1.0"?>'
            '<ErrorResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/">'
            f"<Error><Type>{sender}</Type><Code>{escape(code)}</Code>"
            f"<Message>{escape(message)}</Message><Detail/></Error>"
            f"<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
        )
        headers = {"Content-Type": "text/xml", "x-amzn-RequestId": REQUEST_ID}
        return Answer(status, body.encode(), headers)

    return answer


def _aws_json(code: str, status: int, message: str, sender: str) -> Answer:
    shape = code if code.endswith("Exception") else f"{code}Exception"
    body = {"__type": f"com.amazon.coral.service#{shape}", "message": message}
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "x-amzn-RequestId": REQUEST_ID,
        "x-amzn-query-error": f"{code};{sender}",
    }
    return Answer(status, json.dumps(body).encode(), headers)


def sqs_entries_refused(
    code: str = "InternalError", ids: Collection[str] | None = None, *, is_sender: bool = False
) -> Callable[[Asked], Answer]:
    """200, in which entries of a batch fail one by one: those with these entry ids, or all of them.

    The server is not asked, so the other entries are said to be done and are not. JSON only.
    """

    def answer(asked: Asked) -> Answer:
        entries: list[dict[str, Any]] = json.loads(asked.body)["Entries"]
        failed = [entry["Id"] for entry in entries if ids is None or entry["Id"] in ids]
        body = {
            "Successful": [{"Id": entry["Id"]} for entry in entries if entry["Id"] not in failed],
            "Failed": [
                {"Id": one, "Code": code, "Message": "Refused.", "SenderFault": is_sender}
                for one in failed
            ],
        }
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "x-amzn-RequestId": REQUEST_ID,
        }
        return Answer(200, json.dumps(body).encode(), headers)

    return answer


AZURE_FORBIDDEN = azure_refusal("AuthorizationFailure")
"""What a storage account's firewall answers."""
AZURE_NO_ROLE = azure_refusal("AuthorizationPermissionMismatch")
"""What a role that lacks the permission gets."""
AZURE_BUSY = azure_refusal("ServerBusy", 503)
SQS_FORBIDDEN = aws_refusal("AccessDenied")
SQS_THROTTLED = aws_refusal("RequestThrottled", 403, "Request is throttled.")
SQS_BUSY = aws_refusal("ServiceUnavailable", 503, "Service is unavailable.")

KAFKA_FORBIDDEN = kafka_refusal(29)
"""An access rule for the topic is missing: TOPIC_AUTHORIZATION_FAILED."""
KAFKA_GROUP_FORBIDDEN = kafka_refusal(30)
"""An access rule for the group is missing: GROUP_AUTHORIZATION_FAILED."""
