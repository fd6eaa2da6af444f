"""`--query` and `--output`, as the Azure CLI has them: a part of what is printed, in a form.

JMESPath: https://jmespath.org/specification.html. The forms are those of the Azure CLI
(https://learn.microsoft.com/cli/azure/format-output-azure-cli). jmespath is imported here alone.
"""

import argparse
from collections.abc import Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMS = ("json", "tsv", "table", "none")
QUOTES = "\u201c\u201d\u2018\u2019"
"""Typographic quotes, which come with what is pasted from a page; a shell leaves them in."""


@dataclass(frozen=True, slots=True)
class Shape:
    """`expression` is a compiled query, or None for the whole."""

    form: str
    expression: Any

    def lines(self, value: object) -> list[str]:
        """What is printed of `value`, which is plain JSON. Raises InvalidRequest for a query that
        does not fit it."""
        found = value if self.expression is None else _searched(self.expression, value)
        match self.form:
            case "none":
                return []
            case "tsv":
                return list(_tsv(found))
            case "table":
                return _table(found)
            case _:
                return [_json(found)]


_shape: ContextVar[Shape | None] = ContextVar("shape", default=None)


def current() -> Shape | None:
    """What the command that runs was asked for; None when it prints as it likes."""
    return _shape.get()


def asked(arguments: argparse.Namespace) -> AbstractContextManager[None]:
    """Print in the asked form while the command runs; it prints data then, as with `--json`.

    Raises InvalidRequest for a query that cannot be read.
    """
    form, query = (getattr(arguments, name, None) for name in ("output_form", "query"))
    shape = None
    if form is not None or query is not None:
        shape = Shape(form or "json", None if query is None else _compiled(query))
        arguments.json = True
    return _set(shape)


@contextmanager
def _set(shape: Shape | None) -> "Iterator[None]":
    token = _shape.set(shape)
    try:
        yield
    finally:
        _shape.reset(token)


def _compiled(query: str) -> Any:
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        return jmespath.compile(query.strip(QUOTES))
    except JMESPathError as error:
        raise _unfit(error) from error


def _searched(expression: Any, value: object) -> object:
    from jmespath.exceptions import JMESPathError

    try:
        return expression.search(value)
    except JMESPathError as error:
        raise _unfit(error) from error


def _unfit(error: Exception) -> Exception:
    from eventpost.core.errors import InvalidRequest

    return InvalidRequest(
        "InvalidQuery",
        f"--query is no JMESPath expression for this data: {str(error).splitlines()[0]}.",
        fix="Write a path such as endpoint, key1, [0].name or [].{Name: name}.",
    )


# --- the forms ------------------------------------------------------------------------------------


def _json(value: object) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _tsv(value: object) -> "Iterator[str]":
    """One line for each element of a list, its values with tabs between them."""
    if value is None:
        return
    for row in value if isinstance(value, list) else [value]:
        if isinstance(row, dict):
            yield "\t".join(map(_cell, row.values()))
        elif isinstance(row, list):
            yield "\t".join(map(_cell, row))
        else:
            yield _cell(row)


def _cell(value: object) -> str:
    """A list shows how long it is, an object nothing, so that columns stay where they are."""
    if isinstance(value, list):
        return str(len(value))
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _table(value: object) -> list[str]:
    """Columns for what is no list and no object, under their names with a capital letter."""
    found = value if isinstance(value, list) else [value]
    rows = [_row(each) for each in found if each is not None]
    names = list(dict.fromkeys(name for row in rows for name in row if _is_flat(row[name])))
    if not names:
        return []
    headed = [[name[:1].upper() + name[1:] for name in names]]
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(row[index]) for row in [*headed, *cells]) for index in range(len(names))]
    return [_line(row, widths) for row in [*headed, ["-" * width for width in widths], *cells]]


def _row(value: object) -> dict[str, object]:
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        return {f"Column{index + 1}": cell for index, cell in enumerate(value)}
    return {"Result": value}


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
    return "  ".join(padded).rstrip()


def _is_flat(value: object) -> bool:
    return not isinstance(value, list | dict)
