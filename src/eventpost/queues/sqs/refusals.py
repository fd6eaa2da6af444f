"""What SQS says no with, and what follows: which are final, which mean that a lease is lost.

Layer: queues. Pure. Codes: the service's model and "Amazon SQS API permissions"; the older names
with a prefix are those of the query protocol, which it still sends.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.credentials.aws_failures import statement, with_detail
from eventpost.queues.interfaces import Settled, Verdict
from eventpost.queues.sqs.forms import SYSTEM

PREFIX = "AWS.SimpleQueueService."
NO_SUCH_QUEUE = frozenset({"NonExistentQueue", "QueueDoesNotExist"})
QUEUE_EXISTS = frozenset({"QueueAlreadyExists", "QueueNameExists"})
TOO_LONG = "BatchRequestTooLong"
NO_RESULT = "NoResult"
"""Our word for an entry of a batch that the answer does not speak of."""

DENIED = frozenset({"AccessDenied", "AccessDeniedException", "KmsAccessDenied"})
_LOST = frozenset({"ReceiptHandleIsInvalid", "MessageNotInflight"})
_FINAL = frozenset({"InvalidMessageContents", "MessageTooLong"})
_ACTIONS = {
    "get_queue_url": "GetQueueUrl",
    "create_queue": "CreateQueue",
    "send_message_batch": "SendMessage",
    "receive_message": "ReceiveMessage",
    "delete_message_batch": "DeleteMessage",
    "change_message_visibility_batch": "ChangeMessageVisibility",
    "get_queue_attributes": "GetQueueAttributes",
}
"""The permission that each method takes; batches have none of their own."""

_KMS = re.compile(r"\bkms:(\w+)")
_OF_KMS = re.compile(r"KMS\.(?:KMS)?(\w+?)(?:Exception)?")
"""What the service calls a refusal of KMS on the wire: `KMS.AccessDeniedException`, where its model
says `KmsAccessDenied`."""
_FINER = (
    (re.compile(r"must be shorter than|exceeds the maximum"), "MessageTooLong"),
    (re.compile(r"receipt handle has expired", re.IGNORECASE), "ReceiptHandleIsInvalid"),
    (re.compile(r"Total VisibilityTimeout", re.IGNORECASE), "LeaseTooLong"),
    (re.compile(r"ContentBasedDeduplication"), "NoDeduplicationId"),
)
"""`InvalidParameterValue` says many things; which one is in its text."""


def failed(evidence: Evidence, method: str) -> Failed:
    """A request that failed as a whole, with what SQS means by it told more exactly."""
    finer = _finer(evidence, method)
    return Failed(finer, final=finer.code in _FINAL)


def entry_failed(entry: Mapping[str, Any], operation: str, method: str) -> Failed:
    """One entry of a batch that failed while others may not have."""
    evidence = Evidence(
        stage=Stage.ANSWER,
        fault=Fault.CODE,
        system=SYSTEM,
        operation=operation,
        code=str(entry.get("Code") or NO_RESULT),
        detail=str(entry.get("Message") or ""),
    )
    return failed(evidence, method)


def not_answered(operation: str) -> Failed:
    """An entry of a batch that was sent, and of which the answer says nothing."""
    evidence = Evidence(
        stage=Stage.ANSWER,
        fault=Fault.CODE,
        system=SYSTEM,
        operation=operation,
        code=NO_RESULT,
        detail="the answer to the batch does not speak of this entry",
    )
    return Failed(evidence)


def at_its_end() -> Failed:
    """A lease that SQS would not extend any further."""
    evidence = Evidence(
        stage=Stage.SETTINGS,
        fault=Fault.CODE,
        system=SYSTEM,
        operation="extend",
        code="LeaseTooLong",
        detail="the message was received 12 hours ago, and SQS extends no lease beyond that",
    )
    return Failed(evidence)


def verdict(failure: Failed) -> Verdict:
    """What a failed entry of extend, settle or release means for its message."""
    return Settled.LOST if failure.evidence.code in _LOST else failure


def _finer(evidence: Evidence, method: str) -> Evidence:
    code = _named_by_the_model((evidence.code or "").removeprefix(PREFIX))
    evidence = msgspec.structs.replace(evidence, code=code or None)
    if code in DENIED:
        return _denied(evidence, method)
    if code == "InvalidParameterValue":
        code = next((name for pattern, name in _FINER if pattern.search(evidence.detail)), code)
    return msgspec.structs.replace(evidence, code=code or None)


def _named_by_the_model(code: str) -> str:
    of_kms = _OF_KMS.fullmatch(code)
    if of_kms is None:
        return code
    return "KmsThrottled" if of_kms[1] == "Throttling" else f"Kms{of_kms[1]}"


def _denied(evidence: Evidence, method: str) -> Evidence:
    """With the statement that allows it, ready to be copied into a policy."""
    key = _KMS.search(evidence.detail)
    if key is None and evidence.code == "KmsAccessDenied":
        return evidence  # of the key SQS tells nothing
    action = f"kms:{key[1]}" if key is not None else f"sqs:{_ACTIONS.get(method, method)}"
    code = "AccessDenied" if key is None else "KmsAccessDenied"
    allows = statement(action, evidence.detail, "ARN of the queue")
    return with_detail(msgspec.structs.replace(evidence, code=code), allows)
