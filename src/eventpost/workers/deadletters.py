"""Dead letters of workers, as they lie in a queue of their own.

Layer: workers. Pure. What is a message of Dramatiq stays one, with `options.dead_letter` beside its
other options, so that whoever moves it back with tools of the queue system gets what was sent.
Anything else is wrapped whole.
"""

import base64
from enum import StrEnum

import msgspec

from eventpost.core.errors import InvalidEvent
from eventpost.formats import dramatiq as format_

OPTION = "dead_letter"
OF_A_RUN = ("retries", "traceback", "requeue_timestamp", "eta")
"""What retries leave behind in a message's options."""


class Reason(StrEnum):
    UNDECODABLE = "Undecodable"
    UNKNOWN_ACTOR = "UnknownActor"
    RECEIVED_TOO_OFTEN = "ReceivedTooOften"
    FAILED = "Failed"
    """Its retries are used up, or it raised what its actor `throws`, or a middleware failed it."""


FINDINGS = {
    Reason.UNDECODABLE: "EP5010",
    Reason.UNKNOWN_ACTOR: "EP5011",
    Reason.RECEIVED_TOO_OFTEN: "EP5012",
    Reason.FAILED: "EP5013",
}


class Story(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a message is here."""

    reason: Reason
    finding: str = ""
    error: str = ""
    queue: str = ""
    transport_id: str = ""
    """The queue system's id of the message that failed."""
    receives: int = 0
    retries: int = 0
    at_ms: int = 0


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter. `body` is what was sent, without what failed runs left behind."""

    story: Story | None
    """None when somebody else put it there."""
    body: bytes
    actor: str = ""
    message_id: str = ""


class _Envelope(msgspec.Struct, kw_only=True):
    dead_letter: Story
    body_base64: str


_decode_story = msgspec.json.Decoder(Story).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode


def encode(body: bytes, story: Story, bytes_max: int) -> bytes:
    """A message as a dead letter. When it would be too large, what is least needed goes first: the
    traceback, the error, and at last the whole story."""
    for dropped in ((), ("traceback",)):
        for told in (story, msgspec.structs.replace(story, error=story.error[:200])):
            made = _encode(body, told, dropped)
            if len(made) <= bytes_max:
                return made
    return body


def _encode(body: bytes, story: Story, dropped: tuple[str, ...]) -> bytes:
    try:
        _, message = format_.parse(body)
    except InvalidEvent:
        text = base64.b64encode(body).decode()
        return msgspec.json.encode(_Envelope(dead_letter=story, body_base64=text))
    for name in dropped:
        message.options.pop(name, None)
    message.options[OPTION] = msgspec.Raw(msgspec.json.encode(story))
    return msgspec.json.encode(message)


def decode(body: bytes) -> DeadLetter:
    """What lies in a dead-letter queue, whoever put it there."""
    try:
        text, message = format_.parse(body)
    except InvalidEvent:
        return _unwrapped(body)
    told = message.options.pop(OPTION, None)
    story = None
    if told is not None:
        try:
            story = _decode_story(told)
        except msgspec.MsgspecError:
            pass  # somebody else's option of that name
        else:
            text = msgspec.json.encode(message)
    return DeadLetter(
        story=story, body=text, actor=message.actor_name, message_id=message.message_id
    )


def _unwrapped(body: bytes) -> DeadLetter:
    try:
        found = _decode_envelope(body)
        return DeadLetter(
            story=found.dead_letter, body=base64.b64decode(found.body_base64, validate=True)
        )
    except (msgspec.MsgspecError, ValueError):
        return DeadLetter(story=None, body=body)


def revived(letter: DeadLetter) -> bytes:
    """The message to send anew: its retries begin from the first."""
    try:
        _, message = format_.parse(letter.body)
    except InvalidEvent:
        return letter.body
    for name in OF_A_RUN:
        message.options.pop(name, None)
    return msgspec.json.encode(message)
