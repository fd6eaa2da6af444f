"""Jobs as RoadRunner's SQS plugin writes and reads them: six message attributes beside the body.

Layer: formats. The form is that of the plugin's source (https://github.com/roadrunner-server/sqs,
`sqsjobs/item.go`, `conv.go`, `listener.go`). `roadrunner_events` makes events of jobs, and back.
"""

import re
from collections.abc import Mapping

import msgspec

ID = "rr_id"
JOB = "rr_job"
HEADERS = "rr_headers"
DELAY = "rr_delay"
PRIORITY = "rr_priority"
AUTO_ACK = "rr_auto_ack"
PIPELINE = "rr_pipeline"
"""A reserved name: the plugin neither writes nor reads it."""

NAMES = frozenset({ID, JOB, HEADERS, DELAY, PRIORITY, AUTO_ACK, PIPELINE})
NAME_WHEN_MISSING = "deduced_by_rr"
PRIORITY_WHEN_MISSING = 0
PRIORITY_DEFAULT = 10
"""A pipeline's own, unless its `priority` says otherwise."""

Headers = dict[str, list[str]]

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_GO_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
"""What Go's encoder writes as escapes, so that our bytes are its bytes."""

_decode_headers = msgspec.json.Decoder(dict[str, object]).decode
_encode_headers = msgspec.json.Encoder(order="sorted").encode


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job. `payload` is the message's body as it is, usually JSON."""

    id: str
    name: str
    payload: bytes
    headers: Headers = {}
    pipeline: str = ""
    """Not on the wire: which pipeline it came from is known by the queue."""
    priority: int = PRIORITY_DEFAULT
    delay_s: int = 0
    """What the publisher asked for. On receipt it has passed already."""
    auto_ack: bool = False
    """Whether the job is done as soon as it is received, whatever becomes of it."""
    is_foreign: bool = False
    """Whether something else than RoadRunner sent it."""


def encode(job: Job) -> dict[str, str | bytes | int]:
    """The message attributes of a job: text is a String, bytes are Binary, an integer is a Number.

    The plugin reads the id, the name and the delay as Strings without looking at their type, so
    that they are always there and always text.
    """
    return {
        ID: job.id,
        JOB: job.name,
        HEADERS: _header_bytes(job.headers),
        DELAY: str(job.delay_s),
        PRIORITY: job.priority,
        AUTO_ACK: "true" if job.auto_ack else "false",
    }


def decode(
    body: bytes,
    attributes: Mapping[str, str | bytes],
    system_attributes: Mapping[str, str],
    *,
    message_id: str,
    pipeline: str,
    pipeline_priority: int = PRIORITY_DEFAULT,
) -> Job:
    """The job that a received message holds, as the plugin would hand it to a worker.

    Nothing is refused: the plugin takes any message. Where it makes up an id for a foreign message,
    the id is the transport's `message_id` here, so that a redelivery is the same job again.
    """
    is_foreign = ID not in attributes
    headers = _headers(attributes.get(HEADERS))
    if is_foreign:
        foreign = {name: value for name, value in attributes.items() if name not in NAMES}
        headers |= {name: [_text(value)] for name, value in foreign.items()}
    headers |= {name: [value] for name, value in system_attributes.items()}
    return Job(
        id=_text(attributes[ID]) if not is_foreign else message_id,
        name=_text(attributes[JOB]) if JOB in attributes else NAME_WHEN_MISSING,
        payload=body,
        headers=headers,
        pipeline=pipeline,
        priority=_integer(attributes.get(PRIORITY), PRIORITY_WHEN_MISSING, pipeline_priority),
        delay_s=_integer(attributes.get(DELAY), 0, 0),
        auto_ack=_text(attributes.get(AUTO_ACK, "")) in _TRUE,
        is_foreign=is_foreign,
    )


def pipeline(queue: str) -> str:
    """The pipeline of a queue: RoadRunner's side has its own name for it, ours is the queue's, out
    of whatever address it is given by (a name, a URL, an ARN)."""
    return queue.rstrip("/").rpartition("/")[2].rpartition(":")[2]


def header(headers: Headers, name: str) -> str:
    """The first value of a header in any case; "" when there is none."""
    folded = name.lower()
    found = next((values for known, values in headers.items() if known.lower() == folded), [])
    return found[0] if found else ""


def _header_bytes(headers: Headers) -> bytes:
    return _encode_headers(headers).decode().translate(_GO_ESCAPES).encode()


def _headers(value: str | bytes | None) -> Headers:
    """What is not an object of lists of strings is left out, as the plugin leaves it out."""
    if value is None:
        return {}
    try:
        members = _decode_headers(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return {
        name: [item for item in items if isinstance(item, str)]
        for name, items in members.items()
        if isinstance(items, list)
    }


def _integer(value: str | bytes | None, missing: int, unreadable: int) -> int:
    if value is None:
        return missing
    text = _text(value)
    return int(text) if _INTEGER.fullmatch(text) else unreadable


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
