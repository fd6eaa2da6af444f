"""What commands print: tables for people, JSON for programs, errors that tell the fix.

rich is imported only when the output is a terminal; anything else gets plain aligned text.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING

from eventpost.cli import shaping

if TYPE_CHECKING:
    from eventpost.core.errors import EventpostError


def json(value: object) -> None:
    """One JSON value, indented, UTF-8; or what `--query` and `--output` ask for of it."""
    import msgspec

    shape = shaping.current()
    if shape is not None:
        for each in shape.lines(msgspec.to_builtins(value)):
            line(each)
        return
    line(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def json_line(value: object) -> None:
    """One JSON value on one line, flushed: for streams."""
    import msgspec

    shape = shaping.current()
    if shape is not None:
        json(msgspec.json.decode(msgspec.json.encode(value)))
        sys.stdout.flush()
        return
    line(msgspec.json.encode(value).decode())
    sys.stdout.flush()


def line(text: str = "") -> None:
    """One line on standard output."""
    sys.stdout.write(text + "\n")


def flush() -> None:
    """Let a pipe see what was printed so far."""
    sys.stdout.flush()


def note(text: str) -> None:
    """One line on standard error: what people want to know and programs do not read."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def error(problem: "EventpostError") -> None:
    """`CODE what`, why, and the fix, on standard error."""
    lines = [f"{problem.code} {problem.what}"]
    if problem.why:
        lines.append(f"  why: {problem.why}")
    if problem.fix:
        lines.append(f"  fix: {problem.fix}")
    note("\n".join(lines))


def is_terminal(stream: IO[str] | None = None) -> bool:
    return (stream or sys.stdout).isatty()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Rows under headings, numbers to the right; `empty` is said when there are none."""
    if not rows:
        note(empty)
        return
    is_number = [
        all(isinstance(row[index], int) and not isinstance(row[index], bool) for row in rows)
        for index in range(len(columns))
    ]
    texts = [[plain(value) for value in row] for row in rows]
    show = _rich_table if is_terminal() else _plain_table
    show(columns, texts, is_number)


def fields(values: Mapping[str, object]) -> None:
    """One thing as `name  value` lines; values that are None or empty are left out."""
    shown = {name: plain(value) for name, value in values.items() if value not in (None, "", [])}
    width = max(map(len, shown), default=0)
    for name, text in shown.items():
        line(f"{name:<{width}}  {text}")


def plain(value: object) -> str:
    """A value as a person reads it, on one line, without characters that move the cursor."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(value)
    )


def raw_json(text: bytes) -> None:
    """JSON as it is, indented."""
    import msgspec

    line(msgspec.json.format(text, indent=2).decode())


def wrapped(text: str, *, indent: str = "") -> None:
    """A paragraph, broken into lines of at most 100 characters."""
    import textwrap

    line(textwrap.fill(text, 100, initial_indent=indent, subsequent_indent=indent))


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 event`, `2 events`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"


def _plain_table(columns: Sequence[str], rows: list[list[str]], is_number: Sequence[bool]) -> None:
    headed = [[column.upper() for column in columns], *rows]
    widths = [max(len(row[index]) for row in headed) for index in range(len(columns))]
    for row in headed:
        cells = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, is_number, strict=True)
        )
        line("  ".join(cells).rstrip())


def _rich_table(columns: Sequence[str], rows: list[list[str]], is_number: Sequence[bool]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column, right in zip(columns, is_number, strict=True):
        shown.add_column(column, overflow="fold", justify="right" if right else "left")
    for row in rows:
        shown.add_row(*(Text(text) for text in row))
    Console().print(shown)
