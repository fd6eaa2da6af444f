"""Messages as SQS takes and gives them. Pure: what it would refuse is refused before it is sent.

Layer: queues. Bounds and characters: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/
APIReference/API_SendMessage.html and SQSDeveloperGuide/sqs-message-metadata.html
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.queues.interfaces import AttributeValue, Message, Received

SYSTEM = "sqs"
MESSAGE_BYTES_MAX = 1_048_576
"""Body and attributes together; also of all messages of one request together."""
ATTRIBUTES_MAX = 10
ATTRIBUTE_NAME_CHARS_MAX = 256
GROUP_CHARS_MAX = 128
DELAY_S_MAX = 900
LEASE_S_MAX = 43_200
CONTENT_TYPE = "content-type"
"""The attribute that carries a message's content type, for which SQS has no place."""

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]+(?<!\.)", re.ASCII)
_RESERVED = ("aws.", "amazon.")
_GROUP = re.compile(r"[!-~]+")
_NUMBER_MAGNITUDE_MAX = 1e126


@dataclass(frozen=True, slots=True)
class Entry:
    """A message as one entry of `SendMessageBatch`, without its `Id`."""

    members: dict[str, Any]
    size: int
    """Bytes, as SQS counts them."""


class Receipt(NamedTuple):
    """By what SQS knows a message that it handed out."""

    handle: str
    since_s: float
    """When it was handed out, or before; by the monotonic clock."""


def receipt(message: Received) -> Receipt:
    """The receipt of a message that came from here."""
    assert isinstance(message.receipt, Receipt)
    return message.receipt


class _Refused(Exception):
    def __init__(
        self, code: str, detail: str, fault: Fault = Fault.MALFORMED, *, final: bool = True
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.fault = fault
        self.final = final


def entry(message: Message, *, is_fifo: bool, group: str = "") -> Entry | Failed:
    """The message as it travels, or why SQS would refuse it; nearly always for good.

    `group` is for messages that name none.
    """
    try:
        body = _text(message.body)
        attributes = _attributes(message)
        members: dict[str, Any] = {"MessageBody": body, **_order(message, group, is_fifo=is_fifo)}
        if attributes:
            members["MessageAttributes"] = attributes
        if message.delay_s > 0:
            members["DelaySeconds"] = _delay_s(message.delay_s, is_fifo=is_fifo)
        size = len(message.body) + sum(_size(name, one) for name, one in attributes.items())
        if size > MESSAGE_BYTES_MAX:
            detail = f"the message has {size} bytes, of at most {MESSAGE_BYTES_MAX}"
            raise _Refused("MessageTooLong", detail, Fault.TOO_LARGE)
    except _Refused as refusal:
        evidence = Evidence(
            stage=Stage.SETTINGS,
            fault=refusal.fault,
            system=SYSTEM,
            operation="send",
            code=refusal.code,
            detail=str(refusal),
        )
        return Failed(evidence, final=refusal.final, is_counted=False)
    return Entry(members, size)


def received(raw: Mapping[str, Any], since_s: float, lease_s: int) -> Received:
    """One message of an answer to `ReceiveMessage`, which was asked for at `since_s`."""
    attributes = {name: _value(one) for name, one in raw.get("MessageAttributes", {}).items()}
    system = {str(name): str(value) for name, value in raw.get("Attributes", {}).items()}
    content_type = attributes.get(CONTENT_TYPE, "")
    if isinstance(content_type, str):
        attributes.pop(CONTENT_TYPE, None)
    return Received(
        id=raw["MessageId"],
        body=raw.get("Body", "").encode("utf-8", "surrogatepass"),
        attributes=attributes,
        system_attributes=system,
        content_type=content_type if isinstance(content_type, str) else "",
        receive_count=_count(system.get("ApproximateReceiveCount", "")),
        sent_ms=_count(system.get("SentTimestamp", "")),
        group=system.get("MessageGroupId", ""),
        receipt=Receipt(raw["ReceiptHandle"], since_s),
        lease_until_s=since_s + lease_s,
    )


def lease_s(wanted_s: float, receipt: Receipt, now_s: float) -> int:
    """How long a message can be hidden from `now_s` on: SQS counts all leases together from when it
    handed the message out, and refuses what goes beyond its bound."""
    most = LEASE_S_MAX - math.ceil(now_s - receipt.since_s)
    return whole_seconds(wanted_s, max(0, most))


def whole_seconds(seconds: float, most: int) -> int:
    """SQS counts in whole seconds: never less than asked for, never more than it allows."""
    return min(most, max(0, math.ceil(seconds)))


# --- to SQS ---------------------------------------------------------------------------------------


def _text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        detail = f"the body is not UTF-8 (byte {error.start}), and SQS takes text only"
        raise _Refused("InvalidMessageContents", detail) from None
    if not text:
        raise _Refused("InvalidMessageContents", "the body is empty, and SQS takes no empty body")
    _check_characters(text, "the body")
    return text


def _check_characters(text: str, where: str) -> None:
    found = _ILLEGAL.search(text)
    if found is not None:
        detail = f"{where} has the character U+{ord(found[0]):04X}, which SQS refuses"
        raise _Refused("InvalidMessageContents", f"{detail} (at {found.start()})")


def _attributes(message: Message) -> dict[str, dict[str, Any]]:
    values: dict[str, AttributeValue] = dict(message.attributes)
    if message.content_type:
        values[CONTENT_TYPE] = message.content_type
    if len(values) > ATTRIBUTES_MAX:
        detail = f"the message has {len(values)} attributes, of at most {ATTRIBUTES_MAX}"
        raise _Refused("InvalidAttributes", detail)
    return {_checked_name(name): _typed(name, value) for name, value in values.items()}


def _checked_name(name: str) -> str:
    if len(name) > ATTRIBUTE_NAME_CHARS_MAX:
        detail = f"an attribute's name has {len(name)} characters"
        raise _Refused("InvalidAttributes", f"{detail}, of at most {ATTRIBUTE_NAME_CHARS_MAX}")
    if _NAME.fullmatch(name) is None or name.lower().startswith(_RESERVED):
        raise _Refused("InvalidAttributes", f"SQS takes no attribute of the name {name!r}")
    return name


def _typed(name: str, value: AttributeValue) -> dict[str, Any]:
    if isinstance(value, bytes):
        if not value:
            raise _Refused("InvalidAttributes", f"the attribute {name} is empty")
        return {"DataType": "Binary", "BinaryValue": value}
    if isinstance(value, str):
        if not value:
            raise _Refused("InvalidAttributes", f"the attribute {name} is empty")
        _check_characters(value, f"the attribute {name}")
        return {"DataType": "String", "StringValue": value}
    if isinstance(value, bool):
        return {"DataType": "String", "StringValue": "true" if value else "false"}
    if not abs(value) < _NUMBER_MAGNITUDE_MAX:  # nor is it for what is no number
        raise _Refused("InvalidAttributes", f"the attribute {name} is no number that SQS takes")
    return {"DataType": "Number", "StringValue": str(value)}


def _order(message: Message, group: str, *, is_fifo: bool) -> dict[str, str]:
    """A standard queue takes a group too: it shares its time fairly between groups."""
    members = {}
    if message.group or (is_fifo and group):
        members["MessageGroupId"] = message.group or group
    elif is_fifo:
        detail = "a message to a FIFO queue names its group"
        raise _Refused("MissingParameter", detail, final=False)  # a setting mends it
    if is_fifo and message.deduplication_id:
        members["MessageDeduplicationId"] = message.deduplication_id
    for name, value in members.items():
        if len(value) > GROUP_CHARS_MAX or _GROUP.fullmatch(value) is None:
            allowed = f"at most {GROUP_CHARS_MAX} characters of ASCII without blanks"
            raise _Refused("InvalidParameterValue", f"{name} is {value[:160]!r}, not {allowed}")
    return members


def _delay_s(delay_s: float, *, is_fifo: bool) -> int:
    if is_fifo:
        raise _Refused("InvalidParameterValue", "a FIFO queue takes no delay of a single message")
    if delay_s > DELAY_S_MAX:
        detail = f"a delay of {delay_s:g} s, of at most {DELAY_S_MAX}"
        raise _Refused("InvalidParameterValue", detail)
    return whole_seconds(delay_s, DELAY_S_MAX)


def _size(name: str, attribute: Mapping[str, Any]) -> int:
    value = attribute.get("BinaryValue")
    if value is None:
        value = attribute["StringValue"].encode()
    return len(name) + len(attribute["DataType"]) + len(value)


# --- from SQS -------------------------------------------------------------------------------------


def _value(attribute: Mapping[str, Any]) -> str | bytes:
    """A type may have a label behind a point (`Binary.png`); what is not binary is text."""
    if str(attribute.get("DataType", "")).partition(".")[0] == "Binary":
        return bytes(attribute.get("BinaryValue", b""))
    return str(attribute.get("StringValue", ""))


def _count(text: str) -> int:
    return int(text) if text.isdecimal() else 0
