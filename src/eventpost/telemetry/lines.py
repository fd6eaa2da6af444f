"""How one log record becomes one line: bounded, masked, for people or for programs.

    2026-11-21T22:56:01.123Z WARNING delivery.attempted subscription=blues finding=EP2004
    {"time":"2026-11-21T22:56:01.123Z","level":"warning","event":"delivery.attempted",...}

A line break inside a value is written as an escape, so that one record is always one line.
"""

import json
import logging
import math
import traceback
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal

from eventpost.core.log_bounds import LINE_CHARS_MAX
from eventpost.telemetry.masking import MASK, is_secret, masked

VALUE_CHARS_MAX = 1_000
_NEEDS_QUOTES = frozenset(' "=')


class Formatter(logging.Formatter):
    """One record as one line of at most `line_chars_max` characters."""

    def __init__(
        self, style: Literal["text", "json"], *, line_chars_max: int = LINE_CHARS_MAX
    ) -> None:
        super().__init__()
        self._is_json = style == "json"
        self._line_chars_max = line_chars_max

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        time = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
        pairs = _pairs(record)
        if self._is_json:
            head = f'{{"time":"{time}","level":"{record.levelname.lower()}",'
            room = self._line_chars_max - len(head) - len("}")
            return head + _joined(map(_json_pair, pairs), ",", '"truncated":true', room) + "}"
        name, event = next(pairs)
        assert name == "event"
        head = f"{time} {record.levelname} {_text(event)} "
        room = self._line_chars_max - len(head)
        return (head + _joined(map(_text_pair, pairs), " ", "truncated=true", room)).rstrip()


def _joined(parts: Iterable[str], between: str, truncated: str, room: int) -> str:
    """The parts if there is room for them, else as many as there is room for and `truncated`."""
    kept = list(parts)
    line = between.join(kept)
    while len(line) > room and kept:
        kept.pop()
        line = between.join([*kept, truncated])
    return line


def _pairs(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    """The record's fields, its event first. A library's message has its logger's name with it."""
    fields: dict[str, object] | None = getattr(record, "fields", None)
    if fields is None:
        yield "event", "library.message"
        yield "logger", record.name
        yield "message", _bounded(record.getMessage())
    else:
        yield "event", str(record.msg)
        for name, value in fields.items():
            yield name, _safe(name, value)
    if record.exc_info:
        # The end of a traceback says what happened and where; that is the part to keep.
        trace = "".join(traceback.format_exception(*record.exc_info))
        yield "exception", masked(trace)[-VALUE_CHARS_MAX:]


def _safe(name: str, value: object) -> object:
    if is_secret(name):
        return MASK
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return _bounded(str(value))


def _bounded(text: str) -> str:
    # Masked first: a secret cut in two would not be recognised any more.
    text = masked(text[: 4 * VALUE_CHARS_MAX])
    if len(text) > VALUE_CHARS_MAX:
        return text[: VALUE_CHARS_MAX - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return text


def _json_pair(pair: tuple[str, object]) -> str:
    return f"{json.dumps(pair[0])}:{json.dumps(pair[1], ensure_ascii=False)}"


def _text_pair(pair: tuple[str, object]) -> str:
    return f"{pair[0]}={_text(pair[1])}"


def _text(value: object) -> str:
    """A value as it is if it is one plain word, else as a JSON string: a line stays one line."""
    if isinstance(value, str) and value and value.isprintable() and not _NEEDS_QUOTES & set(value):
        return value
    return json.dumps(value, ensure_ascii=False)
