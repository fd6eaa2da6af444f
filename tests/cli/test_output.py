"""What people and programs read."""

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.cli import output
from eventpost.cli.progress import LINE_INTERVAL_S, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_that_is_not_seen_is_plain_and_aligned(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Piped tables have no colour, no frame, no cut values."""
    output.table(("name", "count"), [("a" * 120, 1), ("b", 20_000)], empty="none")

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "COUNT"]
    assert lines[1] == f"{'a' * 120}       1"
    assert lines[2].split() == ["b", "20,000"]
    assert len({len(each) for each in lines[1:]}) == 1


def test_a_table_on_a_terminal_keeps_every_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal long values are folded, never cut, and markup in them means nothing."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")

    output.table(("name",), [("x" * 60,), ("[red]not markup",)], empty="none")

    shown = terminal.getvalue()
    assert shown.count("x") == 60
    assert "[red]not markup" in shown


def test_an_empty_table_prints_nothing_on_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing to list is a note for people; programs that read the output get nothing."""
    output.table(("name",), [], empty="There is nothing.")

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "There is nothing.\n"


@given(st.text())
def test_nothing_printed_can_move_the_cursor(text: str) -> None:
    """Whatever a stranger put into an event, no control character reaches the terminal."""
    assert all(char.isprintable() for char in output.plain(text))


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON output is one value that any program reads."""
    output.json({"a": [1, None, "é"]})

    assert json.loads(capsys.readouterr().out) == {"a": [1, None, "é"]}


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 events"), (1, "1 event"), (2000, "2,000 events")]
)
def test_counts_agree_with_their_noun(number: int, text: str) -> None:
    """One event, two events."""
    assert output.count(number, "event") == text


def test_progress_that_is_not_seen_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody watches, a line every two seconds says how far it is, on standard error."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with progress("Replay", total=5_000, unit="dead letters") as shown:
        shown.to(10)
        now += LINE_INTERVAL_S
        shown.to(1_200)
        shown.to(1_201)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "Replay: 1,200 of 5,000 dead letters\n"


def test_progress_on_a_terminal_is_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal there is a bar, on standard error, and nothing of it stays."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    with progress("Purge", total=None, unit="dead letters") as shown:
        shown.to(1)

    assert "Purge" in terminal.getvalue()
