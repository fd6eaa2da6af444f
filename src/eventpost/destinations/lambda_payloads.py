"""What a function gets and what its answer means. Pure.

Layer: destinations. Partial answers: https://docs.aws.amazon.com/lambda/latest/dg/
services-sqs-errorhandling.html, whose rules for what is no proper answer hold here too.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from eventpost.core.events import Delivery
from eventpost.core.outcomes import EVIDENCE_DETAIL_CHARS_MAX
from eventpost.formats import bodies

SYNC_BYTES_MAX = 6_291_456
ASYNC_BYTES_MAX = 1_048_576
"""Of the payload of one invocation (`RequestResponse`, `Event`); "MB" is 1,024 KB there."""
CONTEXT_CHARS_MAX = 3_583
"""Of the client context, in base64."""
LOG_CHARS_MAX = 400
"""Of the end of a function's log, kept with a failure."""

_TIMED_OUT = re.compile(r"Task timed out after [\d.]+ seconds|^Sandbox\.Timedout$")
_CRASHED = frozenset(
    {
        "Extension.Crash",
        "Runtime.ExitError",
        "Runtime.OutOfMemory",
        "Runtime.Unknown",
        "Sandbox.Failure",
    }
)

_encode = msgspec.json.Encoder().encode


class FunctionError(msgspec.Struct, frozen=True):
    """What a function that failed leaves."""

    errorMessage: str | None = ""  # noqa: N815 - Lambda's name
    errorType: str | None = ""  # noqa: N815


class _Item(msgspec.Struct):
    itemIdentifier: str = ""  # noqa: N815


class _Partial(msgspec.Struct):
    batchItemFailures: list[_Item] | None = None  # noqa: N815


_decode_error = msgspec.json.Decoder(FunctionError).decode
_decode_partial = msgspec.json.Decoder(_Partial | None).decode
_decode_any = msgspec.json.Decoder().decode


def cut(
    deliveries: Sequence[Delivery], wires: Sequence[bytes], bytes_max: int
) -> Iterator[tuple[Sequence[Delivery], Sequence[bytes]]]:
    """The batch in parts whose array is no larger than `bytes_max`, as far as that can be."""
    start, size = 0, 1  # the brackets; each event brings a comma, or the second bracket
    for index, wire in enumerate(wires):
        grown = size + len(wire) + 1
        if grown > bytes_max and index > start:
            yield deliveries[start:index], wires[start:index]
            start, grown = index, 1 + len(wire) + 1
        size = grown
    yield deliveries[start:], wires[start:]


def payload(wires: Sequence[bytes], *, is_batched: bool) -> bytes:
    """One event as an object, a batch as an array of events."""
    return b"".join((b"[", b",".join(wires), b"]")) if is_batched else wires[0]


def client_context(custom: Mapping[str, str]) -> str:
    """What the function finds under `context.client_context.custom`; "" when it is too large."""
    encoded = base64.b64encode(_encode({"custom": custom})).decode()
    return encoded if len(encoded) <= CONTEXT_CHARS_MAX else ""


def not_processed(answer: bytes, ids: Sequence[str]) -> frozenset[str] | None:
    """The ids of the events that the function says it did not process; None: none is done.

    Nothing, null and an object without `batchItemFailures` say that all were. What names no event
    of the batch, or is no such object, says nothing that can be relied upon: none counts as done.
    """
    try:
        partial = _decode_partial(answer) if answer.strip() else None
    except msgspec.ValidationError:
        return frozenset() if _is_something_else(answer) else None
    except bodies.JSON_ERRORS:
        return None
    failures = partial.batchItemFailures if partial is not None else None
    named = frozenset(item.itemIdentifier for item in failures or ())
    return named if named <= frozenset(ids) else None


def _is_something_else(answer: bytes) -> bool:
    """A plain value (a text, a number, a list): the function reports nothing of its batch."""
    try:
        return not isinstance(_decode_any(answer), dict)
    except bodies.JSON_ERRORS:
        return False


def error_code(answer: bytes) -> tuple[str, str]:
    """The code of a function's error, and what it says of itself."""
    try:
        found = _decode_error(answer)
    except bodies.JSON_ERRORS:
        return "FunctionError", answer[:EVIDENCE_DETAIL_CHARS_MAX].decode("utf-8", "replace")
    kind, message = found.errorType or "", found.errorMessage or ""
    told = f"{kind}: {message}" if kind else message
    if _TIMED_OUT.search(message) or _TIMED_OUT.search(kind):
        return "FunctionTimedOut", told
    is_crash = kind in _CRASHED or "Runtime exited" in message
    return "FunctionCrashed" if is_crash else "FunctionError", told


def log_tail(encoded: str) -> str:
    """The end of the function's log, as Lambda hands it out."""
    try:
        text = base64.b64decode(encoded).decode("utf-8", "replace")
    except binascii.Error:
        return ""
    return " ".join(text.split())[-LOG_CHARS_MAX:]
