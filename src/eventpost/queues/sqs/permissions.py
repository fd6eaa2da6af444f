"""Which actions on a queue we may take, found out without taking any of them.

Layer: queues. Each request is one that SQS cannot grant: a receipt that is none, a delay and a
number of messages above its bounds. A refusal of the action is proof that it is missing. Entries of
a batch fail one by one only after the batch was let in, so that there a failed entry is proof that
the action is there; of a whole request that fails for its parameter it is as good as certain, since
nothing says in which order SQS looks.
"""

from collections.abc import Mapping
from typing import Any

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Permission
from eventpost.queues.sqs import refusals
from eventpost.queues.sqs.forms import DELAY_S_MAX
from eventpost.queues.sqs.service import Service

NO_RECEIPT = "eventpost-asks-whether-it-may-with-a-receipt-that-is-none"
NO_BODY = "eventpost asks whether it may send, with a delay that is none"
COUNT_MAX = 10
"""Messages that one request may ask for."""

Asked = tuple[str, str, Mapping[str, Any]]
_ASKED: tuple[Asked, ...] = (
    (
        "send",
        "send_message_batch",
        {"Entries": [{"Id": "0", "MessageBody": NO_BODY, "DelaySeconds": DELAY_S_MAX + 1}]},
    ),
    (
        "receive",
        "receive_message",
        {"MaxNumberOfMessages": COUNT_MAX + 1, "VisibilityTimeout": 0, "WaitTimeSeconds": 0},
    ),
    (
        "settle",
        "delete_message_batch",
        {"Entries": [{"Id": "0", "ReceiptHandle": NO_RECEIPT}]},
    ),
    (
        "extend",
        "change_message_visibility_batch",
        {"Entries": [{"Id": "0", "ReceiptHandle": NO_RECEIPT, "VisibilityTimeout": 0}]},
    ),
)
_OF_THE_REQUEST = "InvalidParameter"
"""How a refusal begins that is of what was asked, and not of who asks."""


def permissions(service: Service) -> list[Permission]:
    """One for each operation, in the order in which a message meets them."""
    return [_permission(service, *asked) for asked in _ASKED]


def _permission(
    service: Service, operation: str, method: str, parameters: Mapping[str, Any]
) -> Permission:
    answer = service.call(operation, method, **parameters)
    if not isinstance(answer, Failed):
        is_let_in = bool(answer.get("Failed"))
        return Permission(operation=operation, is_known=is_let_in)
    if answer.evidence.code in refusals.DENIED:
        return Permission(operation=operation, refused=answer)
    return Permission(operation=operation, is_known=_is_of_the_request(answer), is_inferred=True)


def _is_of_the_request(answer: Failed) -> bool:
    code = answer.evidence.code or ""
    return code.startswith(_OF_THE_REQUEST) or refusals.verdict(answer) is not answer
