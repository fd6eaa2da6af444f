"""One management operation: a route, its models, and the handler that does it.

A handler's signature is the single source: the types of query, body and answer are read from it,
both to decode requests and to write the OpenAPI document.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from starlette.requests import Request

from eventpost.server.ports import AppPort

API_PREFIX = "/admin/v1"

Query = TypeVar("Query")
Body = TypeVar("Body")
Line = TypeVar("Line")


@dataclass(frozen=True, slots=True)
class Call(Generic[Query, Body]):
    """One request, decoded. `Body` is a model, `bytes` for the body as it came, or None."""

    app: AppPort
    path: dict[str, str]
    query: Query
    body: Body
    request: Request

    @property
    def topic(self) -> str:
        return self.path["topic"]

    @property
    def name(self) -> str:
        return self.path["name"]


@dataclass(frozen=True, slots=True)
class Lines(Generic[Line]):
    """An answer of many values, each sent when it is there: NDJSON, or server-sent events.

    `is_endless` streams send something now and then even when nothing happens.
    """

    values: AsyncIterator[Line]
    is_endless: bool = False


Handler = Callable[[Call[Any, Any]], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    method: str
    path: str
    """With `{topic}` and the like, prefix included."""
    tag: str
    name: str
    summary: str
    description: str
    handler: Handler
    query: type[Any] | None
    body: type[Any] | None
    answer: type[Any] | None
    is_stream: bool
    status: int

    @property
    def path_names(self) -> list[str]:
        return re.findall(r"\{(\w+)", self.path)


class Subject:
    """The operations on one kind of thing. Its methods are decorators for handlers."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.operations: list[Operation] = []

    def get(self, path: str) -> Callable[[Handler], Handler]:
        return self._operation("GET", path, 200)

    def post(self, path: str, *, status: int = 200) -> Callable[[Handler], Handler]:
        return self._operation("POST", path, status)

    def put(self, path: str) -> Callable[[Handler], Handler]:
        return self._operation("PUT", path, 200)

    def patch(self, path: str) -> Callable[[Handler], Handler]:
        return self._operation("PATCH", path, 200)

    def delete(self, path: str) -> Callable[[Handler], Handler]:
        return self._operation("DELETE", path, 204)

    def _operation(self, method: str, path: str, status: int) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            self.operations.append(_described(handler, method, API_PREFIX + path, status, self.tag))
            return handler

        return register


def _described(handler: Handler, method: str, path: str, status: int, tag: str) -> Operation:
    hints = get_type_hints(handler)
    query, body = (None if kind is type(None) else kind for kind in get_args(hints["call"]))
    answer = hints["return"]
    is_stream = get_origin(answer) is Lines
    summary, _, description = (handler.__doc__ or "").strip().partition("\n")
    assert summary, f"{handler!r} has no docstring"
    return Operation(
        method=method,
        path=path,
        tag=tag,
        name=handler.__name__,
        summary=summary.rstrip("."),
        description=" ".join(description.split()),
        handler=handler,
        query=query,
        body=body,
        answer=get_args(answer)[0] if is_stream else None if answer is type(None) else answer,
        is_stream=is_stream,
        status=status,
    )
