"""Templates of mails: `${NAME}` and `${data.PATH}`, and nothing that could be run.

Layer: destinations. They are `string.Template`s of the standard library with paths in braces. A
template comes from whoever declares the subscription, its values from whoever publishes: a value is
put in as it is and never looked at again.
"""

import difflib
import re
import string
from collections.abc import Mapping
from typing import Any

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.limits import excerpt

PATHS = ("data", "event")
"""What a path begins with: the event's data, or the whole event."""
VALUE_CHARS_MAX = 32_768
"""Of one value; what is longer is cut."""


class _Template(string.Template):
    idpattern = r"(?a:[_a-z][_a-z0-9]*)"
    braceidpattern = r"(?a:[_a-z][_a-z0-9]*(?:\.[^{}.\s]+)*)"
    flags = re.IGNORECASE


def check(template: str, names: tuple[str, ...], *, where: str) -> None:
    """Raises InvalidRequest for what is no template, and for a name that there is not."""
    made = _Template(template)
    if not made.is_valid():
        raise InvalidRequest(
            "InvalidTemplate",
            f"{where} holds a $ that begins no name.",
            fix="Write ${subject} or ${data.song} for a value, and $$ for a dollar sign.",
        )
    for identifier in made.get_identifiers():
        first, dot, _ = identifier.partition(".")
        if identifier in names or (dot and first in PATHS) or identifier in PATHS:
            continue
        near = difflib.get_close_matches(first, [*names, *PATHS], n=1)
        raise InvalidRequest(
            "InvalidTemplate",
            f"{where} names {excerpt(identifier)}, which there is not.",
            why=f"The nearest one is {near[0]}." if near else "",
            fix=f"Known here: {', '.join(names)}, data.PATH, event.PATH.",
        )


def fill(template: str, values: Mapping[str, str], event: object) -> str:
    """The template with what stands at its names; nothing where nothing is."""
    return _Template(template).safe_substitute(_Values(values, event))


class _Values(Mapping[str, str]):
    """Names as they are, and paths into the event."""

    def __init__(self, values: Mapping[str, str], event: object) -> None:
        self._values = values
        self._event = event

    def __getitem__(self, name: str) -> str:
        value = self._values.get(name)
        if value is not None:
            return value
        first, *path = name.split(".")
        return cut(as_text(at(self._event, path if first == "event" else [first, *path])))

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def at(value: object, path: list[str]) -> object:
    """What is at `path`; a name matches exactly or, failing that, in any case. None for nothing."""
    for name in path:
        if isinstance(value, dict):
            folded = name.lower()
            key = name if name in value else next((k for k in value if k.lower() == folded), None)
            value = value.get(key)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def as_text(value: object) -> str:
    """Text as it is, nothing for null, and anything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def cut(text: str, chars_max: int = VALUE_CHARS_MAX) -> str:
    """`text`, and when it is too long how much of it is left out."""
    if len(text) <= chars_max:
        return text
    return f"{text[:chars_max]}... ({len(text) - chars_max:,} characters more)"
