"""From JSON or YAML to a declared value, with errors that say where and what was probably meant.

Field names are camelCase on the wire, as in Event Grid; snake_case is read as well, because that is
how `eventpost.yaml` is written.
"""

import difflib
import re
from typing import Any, TypeVar, get_args

import msgspec

from eventpost.core.errors import InvalidRequest

T = TypeVar("T")

Path = tuple[str | int, ...]

_BYTE = re.compile(r"\(byte (\d+)\)")
_PATH = re.compile(r" - at `\$([^`]*)`$")
_PATH_PART = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


class InvalidField(InvalidRequest):
    """A value cannot be read. `path` leads to it from the root, by the keys that were written."""

    def __init__(self, code: str, what: str, *, fix: str, path: Path = ()) -> None:
        super().__init__(code, what, fix=fix)
        self.path = path


def decode_json(body: bytes) -> object:
    """The JSON value of `body`. Raises InvalidRequest (InvalidJson) with line and column."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            "InvalidJson",
            f"The body is not JSON: {_at(body, str(error))}.",
            fix="Send one JSON object, UTF-8, with double quotes and no trailing commas.",
        ) from error


def read(value: object, kind: type[T], *, where: str = "", is_text: bool = False) -> T:
    """`value` as a `kind`. Raises InvalidField (codes UnknownField and InvalidField).

    `where` is put before each field's path in messages, such as `subscriptions.blues`. With
    `is_text`, as in a URL's query, numbers and booleans are read from their text.
    """
    written = named(value, kind, where=where)
    try:
        return msgspec.convert(written, kind, strict=not is_text)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), value, where) from error


def named(value: object, kind: type[Any], *, where: str = "") -> dict[str, object]:
    """`value` with its keys as on the wire, not yet checked otherwise. Raises InvalidField."""
    if not isinstance(value, dict):
        raise InvalidField(
            "InvalidField",
            f"{where or 'The body'} must be an object with fields, not {_json_type(value)}.",
            fix=f"Known fields: {', '.join(field_names(kind))}.",
        )
    return _renamed(value, kind, (), where)


def field_names(kind: type[Any]) -> list[str]:
    """The names of a Struct's fields as they are written, in order."""
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def nearest(word: str, known: list[str]) -> str:
    """ "Did you mean 'x'?" or "" when nothing is near."""
    folded = {name.lower().replace("_", ""): name for name in known}
    close = difflib.get_close_matches(word.lower().replace("_", ""), folded, n=1, cutoff=0.6)
    return f"Did you mean {folded[close[0]]!r}? " if close else ""


def _renamed(value: dict[Any, Any], kind: type[Any], path: Path, where: str) -> dict[str, object]:
    """`value` with every Struct's keys as on the wire; unknown and doubled keys are refused."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    by_any_name = fields | {field.name: field for field in fields.values()}
    result: dict[str, object] = {}
    for name, item in value.items():
        field = by_any_name.get(name)
        here = (*path, name)
        if field is None:
            raise InvalidField(
                "UnknownField",
                f"{_written(here, where)} is not a known field.",
                fix=f"{nearest(str(name), list(fields))}Known fields: {', '.join(fields)}.",
                path=here,
            )
        if field.encode_name in result:
            what = f"{_written(here, where)} is given twice, in two spellings."
            raise InvalidField("InvalidField", what, fix="Remove one.", path=here)
        result[field.encode_name] = _renamed_item(item, field.type, here, where)
    return result


def _renamed_item(item: object, kind: Any, path: Path, where: str) -> object:
    struct = _struct_of(kind)
    if struct is None:
        return item
    if isinstance(item, dict):
        return _renamed(item, struct, path, where)
    if isinstance(item, list):
        return [
            _renamed(one, struct, (*path, index), where) if isinstance(one, dict) else one
            for index, one in enumerate(item)
        ]
    return item


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:
    """The Struct that a field's type holds: itself, optional, or the items of a list."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    for argument in get_args(kind):
        if struct := _struct_of(argument):
            return struct
    return None


def _invalid(message: str, value: object, where: str) -> InvalidField:
    """msgspec's message in our words, with the path by the keys that were written."""
    match = _PATH.search(message)
    parts = [name or int(index) for name, index in _PATH_PART.findall(match[1])] if match else []
    text = _PATH.sub("", message).replace("`", "")
    if missing := re.fullmatch(r"Object missing required field (\w+)", text):
        path = (*_as_written(value, parts), missing[1])
        written = _written(path, where)
        return InvalidField(
            "InvalidField", f"{written} is missing.", fix=f"Give {written}.", path=path
        )
    path = _as_written(value, parts)
    written = _written(path, where) or "the body"
    what = f"{written}: {text[:1].lower()}{text[1:]}."
    return InvalidField("InvalidField", what, fix=f"Correct {written}.", path=path)


def _as_written(value: object, parts: list[str | int]) -> Path:
    """The wire's path with the keys that `value` really has (`max_events`, not `maxEvents`)."""
    path: list[str | int] = []
    for part in parts:
        key: str | int = part
        if isinstance(value, dict):
            key = part if part in value else _snake(str(part))
            value = value.get(key)
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
        path.append(key)
    return tuple(path)


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda match: "_" + match[1].lower(), name)


def _written(path: Path, where: str) -> str:
    text = where
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def _at(body: bytes, message: str) -> str:
    match = _BYTE.search(message)
    text = message.removeprefix("JSON is malformed: ")
    if match is None:
        return text[:1].lower() + text[1:]
    offset = int(match[1])
    line = body.count(b"\n", 0, offset) + 1
    column = offset - (body.rfind(b"\n", 0, offset) + 1) + 1
    return f"{_BYTE.sub('', text).strip()} at line {line}, column {column}"


def _json_type(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
