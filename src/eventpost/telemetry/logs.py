"""Structured logs: one line per record, a stable event name, fields with units.

`log` is for the program's own records. What the layers below and the libraries say through
`logging` takes the same way out, with `extra={"fields": {...}}` for fields, so that every line is
bounded, masked and counted alike.
"""

import contextlib
import logging
import queue
import sys
import threading
import time
from typing import Literal, TextIO

from eventpost.core.log_bounds import LINE_CHARS_MAX, WAITING_MAX
from eventpost.telemetry.lines import Formatter
from eventpost.telemetry.repeats import Repeats

CLOSE_S = 2.0
"""How long `close` waits for the last lines: a blocked terminal must not hold up the end."""

Style = Literal["auto", "text", "json"]

_logger = logging.getLogger("eventpost")
_repeats: Repeats | None = None
_writer: "LineWriter | None" = None


def log(event: str, *, level: int = logging.INFO, subscription: str = "", **fields: object) -> None:
    """Write one record, unless its level is off or the same was said too often of late.

    `event` is a stable name such as `delivery.attempted`. Never blocks, from any thread. Costs one
    comparison when the level is off, and one look-up more when it is suppressed.
    """
    if not _logger.isEnabledFor(level):
        return
    if _repeats is not None and not _repeats.is_said(event, subscription):
        return
    if subscription:
        fields = {"subscription": subscription, **fields}
    _logger.log(level, event, extra={"fields": fields, "is_counted": _repeats is not None})


class LineWriter(logging.Handler):
    """Writes lines from a thread of its own, so that a blocked output never stops who logs."""

    def __init__(self, stream: TextIO, repeats: Repeats, *, waiting_max: int = WAITING_MAX) -> None:
        super().__init__()
        self.dropped_total = 0
        """Lines that were not written: the output was too slow, or is gone."""
        self.repeats = repeats
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(waiting_max)
        self._is_closed = False
        self._thread = threading.Thread(target=self._write_all, name="eventpost-logs", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, "is_counted", False) and not self._is_said(record):
            return
        self._put(record)

    def _is_said(self, record: logging.LogRecord) -> bool:
        """The bound of `log`, for records of layers below and of libraries, which came past it."""
        fields: dict[str, object] | None = getattr(record, "fields", None)
        if fields is None:
            return self.repeats.is_said(record.name, "")
        return self.repeats.is_said(str(record.msg), str(fields.get("subscription", "")))

    def _put(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self.dropped_total += 1

    def say_suppressed(self, *, is_last: bool = False) -> None:
        """One line for each thing of which records were suppressed in a window now over."""
        for (event, subscription), count in self.repeats.take_suppressed(is_last=is_last):
            fields: dict[str, object] = {"subscription": subscription} if subscription else {}
            fields |= {"suppressed_event": event, "suppressed_count": count}
            record = logging.makeLogRecord(
                {"name": _logger.name, "msg": "log.suppressed", "levelname": "WARNING"}
                | {"fields": fields}
            )
            self._put(record)

    def close(self) -> None:
        """Write what waits, for at most `CLOSE_S` seconds. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self.say_suppressed(is_last=True)
            # A full queue means a blocked output: there is nothing to wait for.
            with contextlib.suppress(queue.Full):
                self._lines.put_nowait(None)
                self._thread.join(CLOSE_S)
        super().close()

    def _write_all(self) -> None:
        tell_at_s = time.monotonic() + self.repeats.window_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, tell_at_s - time.monotonic()))
            except queue.Empty:
                line = ""
            if line is None:
                return
            if line:
                self._write(line)
            if time.monotonic() >= tell_at_s:
                self.say_suppressed()
                tell_at_s = time.monotonic() + self.repeats.window_s

    def _write(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            if self._lines.empty():
                self._stream.flush()
        except (OSError, ValueError):
            # The output is gone (a closed pipe). The program goes on; the loss is counted.
            self.dropped_total += 1


def start(
    *,
    level: str = "info",
    style: Style = "auto",
    stream: TextIO | None = None,
    line_chars_max: int = LINE_CHARS_MAX,
    waiting_max: int = WAITING_MAX,
    repeats: Repeats | None = None,
) -> LineWriter:
    """Send what this process logs to `stream` (standard error) until `stop`.

    Libraries are heard from their warnings on. `auto` is text on a terminal and JSON elsewhere.
    """
    global _repeats, _writer
    stream = stream or sys.stderr
    if style == "auto":
        style = "text" if stream.isatty() else "json"
    writer = LineWriter(stream, repeats or Repeats(), waiting_max=waiting_max)
    writer.setFormatter(Formatter(style, line_chars_max=line_chars_max))
    logging.getLogger().addHandler(writer)
    _logger.setLevel(level.upper())
    _repeats = writer.repeats
    _writer = writer
    return writer


def stop(writer: LineWriter) -> None:
    """Take `writer` out and write what waits. Idempotent."""
    global _repeats, _writer
    logging.getLogger().removeHandler(writer)
    if _repeats is writer.repeats:
        _repeats = _writer = None
        _logger.setLevel(logging.NOTSET)
    writer.close()


def is_written() -> bool:
    """Whether what is logged comes out, or nobody wanted it to."""
    return _writer is None or _writer.is_alive


def lost() -> tuple[int, int]:
    """Records suppressed and lines dropped since logging was started; (0, 0) when it is not."""
    return (0, 0) if _writer is None else (_writer.repeats.suppressed_total, _writer.dropped_total)
