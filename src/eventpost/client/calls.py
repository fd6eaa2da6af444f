"""What a call to the server is, before anything is sent: shared by both clients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote, urlencode

import msgspec

API_PREFIX = "/admin/v1"
JSON = "application/json"
UNBOUNDED = float("inf")

Answer = TypeVar("Answer")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Answer]):
    """One request, and how its answer is read."""

    method: str
    path: str
    """With its query, from the root of the server."""
    read: Callable[[bytes], Answer]
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Beside the admin token; `Authorization` here takes its place."""
    answer_s_max: float | None = None
    """Longest wait for an answer; None: the client's own, UNBOUNDED: as long as it takes."""
    has_token: bool = True


@dataclass(frozen=True, slots=True)
class Lines(Generic[Answer]):
    """A request answered by a stream of lines, each read as one answer. `silence_s_max` bounds the
    time without a byte."""

    call: Call[Answer]
    silence_s_max: float = UNBOUNDED


@dataclass(frozen=True, slots=True)
class Pages(Generic[Answer]):
    """A listing over several pages: `read` gives one page and where the next one is."""

    call: Call[tuple[list[Answer], str | None]]


def call(
    method: str,
    path: str,
    read: Callable[[bytes], Answer],
    *,
    query: Mapping[str, object] | None = None,
    body: object = None,
    answer_s_max: float | None = None,
) -> Call[Answer]:
    """A call below the management prefix; `body` is encoded as JSON, None values of `query` go."""
    return Call(
        method=method,
        path=API_PREFIX + path + query_text(query or {}),
        read=read,
        body=None if body is None else msgspec.json.encode(body),
        headers={} if body is None else {"Content-Type": JSON},
        answer_s_max=answer_s_max,
    )


class Listed(Protocol[Value]):
    """A page of a list, as the management API answers it."""

    @property
    def value(self) -> list[Value]: ...
    @property
    def next_link(self) -> str | None: ...


def listing(
    path: str, kind: type[Listed[Value]], *, query: Mapping[str, object] | None = None
) -> Pages[Value]:
    """A list below the management prefix, with all of its pages."""
    read = reading(kind)

    def page(body: bytes) -> tuple[list[Value], str | None]:
        answer = read(body)
        return answer.value, answer.next_link

    return Pages(call("GET", path, page, query=query))


def reading(kind: type[Answer]) -> Callable[[bytes], Answer]:
    """Reads an answer as a `kind`."""
    return msgspec.json.Decoder(kind).decode


def nothing(_: bytes) -> None:
    """Reads an answer that says nothing."""


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")


def query_text(values: Mapping[str, object]) -> str:
    """`?a=1&b=2`, or "" when there is nothing to ask for."""
    given = {name: _query_value(value) for name, value in values.items() if value is not None}
    return f"?{urlencode(given, doseq=True)}" if given else ""


def _query_value(value: object) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
