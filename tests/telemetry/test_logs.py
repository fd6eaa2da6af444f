"""Log lines: structured, bounded, masked, never in the way of what logs."""

import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Literal

import pytest

from eventpost.core.log_bounds import LINE_CHARS_MAX
from eventpost.telemetry import logs
from eventpost.telemetry.lines import VALUE_CHARS_MAX, Formatter
from eventpost.telemetry.logs import LineWriter, log
from eventpost.telemetry.repeats import Repeats


class Output:
    """A started log whose lines can be read once it is stopped."""

    def __init__(self, repeats: Repeats | None = None, style: logs.Style = "json") -> None:
        self.stream = io.StringIO()
        self.writer = logs.start(style=style, stream=self.stream, repeats=repeats)

    def lines(self) -> list[str]:
        logs.stop(self.writer)
        return self.stream.getvalue().splitlines()

    def records(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines()]


@pytest.fixture
def output() -> Iterator[Output]:
    started = Output()
    yield started
    logs.stop(started.writer)


def made(event: str, **fields: object) -> logging.LogRecord:
    record = logging.makeLogRecord({"msg": event, "levelname": "INFO", "fields": fields})
    record.created = 1_795_301_761.123
    return record


def test_a_record_is_one_line_of_json(output: Output) -> None:
    """Programs read time, level, event and the fields with their types."""
    log("delivery.attempted", subscription="blues", elapsed_ms=3, is_final=False, status=None)

    (record,) = output.records()

    assert record.pop("time")
    assert record == {
        "level": "info",
        "event": "delivery.attempted",
        "subscription": "blues",
        "elapsed_ms": 3,
        "is_final": False,
        "status": None,
    }


def test_a_record_is_one_line_of_text() -> None:
    """People read words; only what is not one plain word is quoted."""
    line = Formatter("text").format(made("delivery.attempted", a="plain", b='two "words"', c=""))

    assert line == (
        '2026-11-21T22:56:01.123Z INFO delivery.attempted a=plain b="two \\"words\\"" c=""'
    )


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_line_break_in_a_value_does_not_begin_a_line(style: logs.Style) -> None:
    """What a stranger sends cannot forge a record of its own."""
    output = Output(style=style)

    log("event.refused", subject="x\n2026-11-21T00:00:00Z INFO admin.login\r\x1b[2J")

    (line,) = output.lines()
    assert "\x1b" not in line


def test_records_below_the_level_are_not_written(output: Output) -> None:
    """A level that is off writes nothing, and one that is on does."""
    log("delivery.attempted", level=logging.DEBUG)
    log("delivery.attempted", level=logging.ERROR)

    assert [record["level"] for record in output.records()] == ["error"]


def test_nothing_is_written_after_the_stop(output: Output) -> None:
    """A stopped log leaves its stream alone."""
    output.lines()

    log("delivery.attempted", level=logging.ERROR)

    assert output.lines() == []


def test_what_libraries_say_is_written_too(output: Output) -> None:
    """A library's warning comes out in the same form, its chatter does not."""
    logging.getLogger("somelibrary.pool").warning("pool %s is full", "a")
    logging.getLogger("somelibrary.pool").info("hello")

    (record,) = output.records()
    assert record["event"] == "library.message"
    assert record["logger"] == "somelibrary.pool"
    assert record["message"] == "pool a is full"


def test_lower_layers_log_with_fields(output: Output) -> None:
    """A layer that cannot import telemetry gets the same line through the standard library."""
    logging.getLogger("eventpost.stores").warning("store.reopened", extra={"fields": {"count": 2}})

    (record,) = output.records()
    assert record["event"] == "store.reopened"
    assert record["count"] == 2


def test_an_exception_is_told_by_its_end(output: Output) -> None:
    """The traceback's last part, which names the error, is kept within the bound."""
    try:
        raise ValueError("x" * 100 + " the very end")
    except ValueError:
        logging.getLogger("eventpost").exception("loop.failed", extra={"fields": {}})

    (record,) = output.records()
    text = record["exception"]
    assert isinstance(text, str)
    assert text.endswith("the very end\n")
    assert len(text) <= VALUE_CHARS_MAX


@pytest.mark.parametrize(
    ("length", "kept"),
    [
        (VALUE_CHARS_MAX - 1, VALUE_CHARS_MAX - 1),
        (VALUE_CHARS_MAX, VALUE_CHARS_MAX),
        (VALUE_CHARS_MAX + 1, VALUE_CHARS_MAX),
    ],
)
def test_a_value_is_bounded(length: int, kept: int) -> None:
    """A value up to the bound is whole; a longer one is cut and shows it."""
    record = json.loads(Formatter("json").format(made("a.b", detail="x" * length)))

    assert len(record["detail"]) == kept
    assert record["detail"].endswith("\N{HORIZONTAL ELLIPSIS}") is (length > VALUE_CHARS_MAX)


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_line_is_bounded(style: Literal["text", "json"]) -> None:
    """Fields that do not fit are left out, the line says so, and JSON stays JSON."""
    fields = {f"field_{index}": "x" * 900 for index in range(50)}

    line = Formatter(style).format(made("a.b", **fields))

    assert len(line) <= LINE_CHARS_MAX
    assert "field_0" in line
    assert "field_49" not in line
    if style == "json":
        assert json.loads(line)["truncated"] is True
    else:
        assert line.endswith(" truncated=true")


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_a_line_at_its_bound_is_whole(style: Literal["text", "json"], spare: int) -> None:
    """At the bound and one below nothing is left out; one above something is."""
    record = made("a.b", x="x" * 50, y="y" * 50)
    needed = len(Formatter(style).format(record))

    line = Formatter(style, line_chars_max=needed + spare).format(record)

    assert len(line) <= needed + spare
    assert ("truncated" in line) is (spare < 0)


def test_values_that_are_not_json_are_written_as_text() -> None:
    """A number that JSON does not know, and any other object, become strings."""
    record = json.loads(Formatter("json").format(made("a.b", rate=float("nan"), at=[1])))

    assert record["rate"] == "nan"
    assert record["at"] == "[1]"


def test_a_storm_is_bounded_and_counted() -> None:
    """A thousand equal failures write `said_max` lines and one that counts the others."""
    repeats = Repeats(said_max=20)
    output = Output(repeats)

    for _ in range(1_000):
        log("delivery.attempted", subscription="blues")

    records = output.records()
    assert [record["event"] for record in records] == ["delivery.attempted"] * 20 + [
        "log.suppressed"
    ]
    assert records[-1]["suppressed_count"] == 980
    assert records[-1]["subscription"] == "blues"
    assert repeats.suppressed_total == 980


def test_a_storm_of_lower_layers_is_bounded_too() -> None:
    """Records that came past `log` count in the same window as those that did not."""
    output = Output(Repeats(said_max=3))
    below = logging.getLogger("eventpost.grid")

    for _ in range(2):
        log("delivery.attempted", subscription="blues")
        below.warning("delivery.attempted", extra={"fields": {"subscription": "blues"}})

    events = [record["event"] for record in output.records()]
    assert events == ["delivery.attempted"] * 3 + ["log.suppressed"]


class BlockedStream(io.StringIO):
    """An output that takes nothing until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.is_reached = threading.Event()
        self.is_released = threading.Event()

    def write(self, text: str) -> int:
        self.is_reached.set()
        self.is_released.wait()
        return super().write(text)


@pytest.mark.parametrize(("waiting", "dropped"), [(2, 0), (3, 0), (4, 1)])
def test_a_blocked_output_blocks_nobody(waiting: int, dropped: int) -> None:
    """Lines beyond what may wait are dropped and counted, and who logs goes on at once."""
    stream = BlockedStream()
    writer = LineWriter(stream, Repeats(), waiting_max=3)
    writer.setFormatter(Formatter("json"))
    writer.emit(made("a.first"))
    stream.is_reached.wait()

    for _ in range(waiting):
        writer.emit(made("a.b"))

    assert writer.dropped_total == dropped
    stream.is_released.set()


class GoneStream(io.StringIO):
    """An output whose reader went away."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_an_output_that_is_gone_does_no_harm() -> None:
    """A closed pipe costs the lines, which are counted, and nothing else."""
    writer = LineWriter(GoneStream(), Repeats())
    writer.setFormatter(Formatter("json"))

    writer.emit(made("a.b"))
    writer.close()
    writer.close()

    assert writer.dropped_total == 1


def test_the_style_follows_the_terminal() -> None:
    """Without a terminal the automatic style is JSON."""
    output = Output(style="auto")

    log("server.started")

    assert output.lines()[0].startswith("{")
