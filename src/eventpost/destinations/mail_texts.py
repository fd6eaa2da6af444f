"""What mails say: of a dead letter what failed and what to do, of any other event what it holds.

Layer: destinations.
"""

import re
import textwrap
from dataclasses import dataclass, field

import msgspec

from eventpost.core.errors import NotFound
from eventpost.core.events import Delivery, Schema
from eventpost.destinations.mail_templates import as_text, at, cut, fill
from eventpost.diagnosis.classify import describe
from eventpost.formats.deadletters import (
    BLOB_CREATED_EVENT,
    DEAD_LETTERED_EVENT,
    WRITTEN_EVENT,
)

NAMES = (
    *("id", "type", "subject", "time", "topic", "subscription", "count"),
    *("title", "text", "json"),
    *("reason", "finding", "cause", "fix", "replay"),
)
"""What a template may name, beside paths into the event."""
TITLE = "${title}"
TEXT = "${text}"
WIDTH = 78
"""RFC 5322, 2.1.1: lines should have no more characters."""
_RULE = "-" * WIDTH
_ESCAPED = re.compile(r"(?<!\\)((?:\\\\)*)((?:\\u[0-9a-fA-F]{4})+)")
"""Escapes that are none of a backslash itself."""


@dataclass(slots=True)
class Letter:
    """One event, as templates see it."""

    values: dict[str, str]
    event: object = field(default_factory=dict)


class Writer:
    """Makes subjects and bodies of one subscription's mails."""

    def __init__(self, topic: str, subscription: str, *, subject: str = "", body: str = "") -> None:
        self._topic = topic
        self._subscription = subscription
        self._subject = subject or TITLE
        self._body = body or TEXT

    def one(self, delivery: Delivery, schema: Schema) -> tuple[str, str]:
        """Subject and body of a mail about one event."""
        letter = self._letter(delivery, schema, count=1)
        return self._filled(letter)

    def digest(self, deliveries: list[Delivery], schema: Schema) -> tuple[str, str]:
        """Subject and body of a mail about several."""
        if len(deliveries) == 1:
            return self.one(deliveries[0], schema)
        count = len(deliveries)
        letters = [self._letter(delivery, schema, count=count) for delivery in deliveries]
        filled = [self._filled(letter) for letter in letters]
        subject = filled[0][0]
        if self._subject == TITLE:
            subject = f"{count} events of {self._topic}, the first: {subject}"
        bodies = [
            f"{_RULE}\n{number} of {count}: {title}\n{_RULE}\n\n{body.rstrip()}\n"
            for number, (title, body) in enumerate(filled, 1)
        ]
        return subject, "\n".join(bodies)

    def _filled(self, letter: Letter) -> tuple[str, str]:
        return (
            fill(self._subject, letter.values, letter.event),
            fill(self._body, letter.values, letter.event),
        )

    def _letter(self, delivery: Delivery, schema: Schema, *, count: int) -> Letter:
        event = _decoded(delivery.event.wire)
        values = {
            "id": delivery.event.id,
            "type": delivery.event.type,
            "subject": delivery.event.subject,
            "time": as_text(at(event, ["time" if schema is Schema.CLOUD_EVENTS else "eventTime"])),
            "topic": self._topic,
            "subscription": self._subscription,
            "count": str(count),
            "json": _pretty(delivery.event.wire),
        }
        values |= _about(event)
        values |= {"title": _title(values, event), "text": _text(values, event)}
        return Letter(values, event)


def _decoded(wire: bytes) -> object:
    try:
        return msgspec.json.decode(wire)
    except (msgspec.DecodeError, RecursionError):  # nested deeper than the stack allows here
        return {}


def _pretty(value: bytes) -> str:
    """JSON for people: indented, and with letters where the publisher's library wrote escapes."""
    try:
        text = msgspec.json.format(value, indent=2).decode()
        return cut(_ESCAPED.sub(_unescaped, text))
    except (msgspec.DecodeError, RecursionError):
        return cut(value.decode(errors="replace"))


def _unescaped(match: re.Match[str]) -> str:
    """The letters of a run of escapes; what cannot be shown, or would end the string, stays."""
    try:
        letters = msgspec.json.decode(f'"{match[2]}"', type=str)
    except msgspec.DecodeError:  # half a surrogate pair
        return match[0]
    is_shown = letters.isprintable() and not {'"', "\\"} & set(letters)
    return f"{match[1]}{letters}" if is_shown else match[0]


def _about(event: object) -> dict[str, str]:
    """What only dead letters have; "" for any other event."""
    if at(event, ["eventType"]) != DEAD_LETTERED_EVENT:
        return dict.fromkeys(("reason", "finding", "cause", "fix", "replay"), "")
    code = as_text(at(event, ["data", "finding"]))
    try:
        found = describe(code)
        cause, fix = found.cause, found.fix
    except NotFound:
        cause = fix = ""
    letter_id = as_text(at(event, ["data", "deadLetterId"]))
    return {
        "reason": as_text(at(event, ["data", "reason"])),
        "finding": code,
        "cause": cause,
        "fix": fix,
        "replay": f"eventpost deadletter replay {letter_id}",
    }


# --- the default subject --------------------------------------------------------------------------


def _title(values: dict[str, str], event: object) -> str:
    data = _Data(event)
    if values["type"] == DEAD_LETTERED_EVENT and data["source"]:
        return f"Unreadable message of {data['source']}: {values['reason']}"
    if values["type"] == DEAD_LETTERED_EVENT:
        subject = data["event.subject"] or data["event.type"] or data["event.eventType"]
        return f"Undelivered: {subject} ({data['subscription']}, {values['reason']})"
    if values["type"] == WRITTEN_EVENT:
        return f"Dead letters of {data['subscription']} were written: {data['eventCount']}"
    if values["type"] == BLOB_CREATED_EVENT:
        return f"New blob: {data['url'].rpartition('/')[2]}"
    return " ".join(part for part in (values["type"], values["subject"]) if part)


class _Data:
    """Texts in the data of an event, by their paths."""

    def __init__(self, event: object) -> None:
        self._event = event

    def __getitem__(self, path: str) -> str:
        return as_text(at(self._event, ["data", *path.split(".")]))


# --- the default body -----------------------------------------------------------------------------


def _text(values: dict[str, str], event: object) -> str:
    data = _Data(event)
    if values["type"] == DEAD_LETTERED_EVENT and data["source"]:
        return _of_message(values, data)
    if values["type"] == DEAD_LETTERED_EVENT:
        return _of_dead_letter(values, data, event)
    if values["type"] in (WRITTEN_EVENT, BLOB_CREATED_EVENT):
        return _of_file(data)
    facts = {name: values[name] for name in ("type", "subject", "time", "id", "topic")}
    return f"{_table(facts)}\n\nThe event\n\n{values['json']}\n"


def _of_dead_letter(values: dict[str, str], data: _Data, event: object) -> str:
    status = data["lastHttpStatusCode"]
    outcome = data["lastDeliveryOutcome"]
    facts = {
        "event": data["event.id"],
        "type": data["event.eventType"] or data["event.type"],
        "subject": data["event.subject"],
        "published": data["publishTime"],
        "reason": values["reason"],
        "attempts": data["attempts"],
        "last attempt": data["lastDeliveryAttemptTime"],
        "last outcome": f"{outcome} ({status})" if status else outcome,
        "dead letter": data["deadLetterId"],
    }
    wire = msgspec.json.encode(at(event, ["data", "event"]))
    return (
        f"The event subscription {data['subscription']} of the topic {data['topic']} gave up an"
        " event.\n\n"
        f"What failed\n\n{_table(facts)}\n\n"
        f"{_why_and_fix(values)}"
        f"    {values['replay']}\n\n"
        "or all that this subscription gave up:\n\n"
        f"    eventpost deadletter replay --topic {data['topic']}"
        f" --subscription {data['subscription']}\n\n"
        f"The event\n\n{_pretty(wire)}\n"
    )


def _of_message(values: dict[str, str], data: _Data) -> str:
    facts = {
        "message": data["messageId"],
        "reason": values["reason"],
        "detail": data["detail"],
        "received": data["receiveCount"],
        "bytes": data["size"],
        "dead letter": data["deadLetterId"],
    }
    body = data["text"] or data["base64"]
    return (
        f"Of a message of the source {data['source']} no event of the topic {data['topic']} could"
        " be made.\n\n"
        f"What failed\n\n{_table(facts)}\n\n"
        f"{_why_and_fix(values)}"
        f"    {values['replay']}\n\n"
        f"The message\n\n{cut(body)}\n"
    )


def _why_and_fix(values: dict[str, str]) -> str:
    code = values["finding"]
    return (
        f"Why ({code})\n\n{_wrapped(values['cause'])}\n\n"
        f"What to do\n\n{_wrapped(values['fix'])}\n\n"
        f"    eventpost explain {code}\n\n"
        "Then deliver it again:\n\n"
    )


def _of_file(data: _Data) -> str:
    facts = {
        "file": data["url"],
        "bytes": data["contentLength"],
        "events": data["eventCount"],
        "topic": data["topic"],
        "subscription": data["subscription"],
    }
    return f"A file was written.\n\n{_table(facts)}\n"


def _table(facts: dict[str, str]) -> str:
    shown = {name: " ".join(value.split()) for name, value in facts.items() if value}
    width = max(map(len, shown), default=0)
    return "\n".join(f"    {name:<{width}}  {value}" for name, value in shown.items())


def _wrapped(text: str) -> str:
    return textwrap.fill(
        text or "Nothing more is known.",
        WIDTH,
        initial_indent="    ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
