"""`Client` and `AsyncClient`: the same operations, sent over httpx."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import msgspec

from eventpost.client import problems
from eventpost.client.calls import UNBOUNDED, Call, Lines, Pages
from eventpost.client.discovery import Place, find
from eventpost.client.methods import Operations
from eventpost.registry.models import Problem

CONNECT_S_MAX = 5.0
ANSWER_S_MAX = 30.0

Answer = TypeVar("Answer")


class Client(Operations):
    """A client for programs without an event loop. One thread at a time; close it, or use `with`.

    `url` and `token` default to EVENTPOST_URL and EVENTPOST_TOKEN, then to what the server left in
    its data directory `data`. `ca_file` is trusted beside the system's authorities.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        data: str | Path | None = None,
        ca_file: str | Path | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.place = find(url, token, data, ca_file, os.environ)
        self._http = httpx.Client(**_settings(self.place), transport=transport)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, call: Call[Answer]) -> Answer:
        with _translated(self.place.url):
            answer = self._http.send(_request(self._http, self.place, call))
        return _read(call, answer, answer.content)

    def _follow(self, following: Lines[Answer] | Pages[Answer]) -> Iterator[Answer]:
        return self._lines(following) if isinstance(following, Lines) else self._pages(following)

    def _gather(self, pages: Pages[Answer]) -> list[Answer]:
        return list(self._pages(pages))

    def _lines(self, lines: Lines[Answer]) -> Iterator[Answer]:
        call = lines.call
        request = _request(self._http, self.place, call, answer_s_max=lines.silence_s_max)
        with _translated(self.place.url):
            answer = self._http.send(request, stream=True)
            try:
                if answer.is_error:
                    _read(call, answer, answer.read())
                for line in answer.iter_lines():
                    if line:
                        yield _line(call, line)
            finally:
                answer.close()

    def _pages(self, pages: Pages[Answer]) -> Iterator[Answer]:
        values, following = self._send(pages.call)
        yield from values
        while following is not None:
            values, following = self._send(replace(pages.call, path=following))
            yield from values


class AsyncClient(Operations):
    """A client for an event loop; see `Client`. Close it with `aclose`, or use `async with`."""

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        data: str | Path | None = None,
        ca_file: str | Path | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.place = find(url, token, data, ca_file, os.environ)
        self._http = httpx.AsyncClient(**_settings(self.place), transport=transport)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _send(self, call: Call[Answer]) -> Answer:
        with _translated(self.place.url):
            answer = await self._http.send(_request(self._http, self.place, call))
        return _read(call, answer, answer.content)

    def _follow(self, following: Lines[Answer] | Pages[Answer]) -> AsyncIterator[Answer]:
        return self._lines(following) if isinstance(following, Lines) else self._pages(following)

    async def _gather(self, pages: Pages[Answer]) -> list[Answer]:
        return [value async for value in self._pages(pages)]

    async def _lines(self, lines: Lines[Answer]) -> AsyncIterator[Answer]:
        call = lines.call
        request = _request(self._http, self.place, call, answer_s_max=lines.silence_s_max)
        with _translated(self.place.url):
            answer = await self._http.send(request, stream=True)
            try:
                if answer.is_error:
                    _read(call, answer, await answer.aread())
                async for line in answer.aiter_lines():
                    if line:
                        yield _line(call, line)
            finally:
                await answer.aclose()

    async def _pages(self, pages: Pages[Answer]) -> AsyncIterator[Answer]:
        values, following = await self._send(pages.call)
        for value in values:
            yield value
        while following is not None:
            values, following = await self._send(replace(pages.call, path=following))
            for value in values:
                yield value


# --- what both do with a request and an answer ----------------------------------------------------


def _settings(place: Place) -> dict[str, Any]:
    """A proxy from the environment is not asked for a server of this machine. Loading the system's
    authorities takes a tenth of a second, which plain http does not need."""
    return {
        "base_url": place.url,
        "verify": place.tls() if place.url.startswith("https:") else False,
        "trust_env": not place.is_loopback,
    }


def _request(
    http: httpx.Client | httpx.AsyncClient,
    place: Place,
    call: Call[Answer],
    *,
    answer_s_max: float | None = None,
) -> httpx.Request:
    bound = answer_s_max or call.answer_s_max or ANSWER_S_MAX
    headers = dict(call.headers)
    if call.has_token and place.token is not None:
        headers["Authorization"] = f"Bearer {place.token}"
    read_s_max = None if bound == UNBOUNDED else bound
    timeout = httpx.Timeout(ANSWER_S_MAX, connect=CONNECT_S_MAX, read=read_s_max)
    return http.build_request(
        call.method, call.path, content=call.body, headers=headers, timeout=timeout
    )


def _read(call: Call[Answer], answer: httpx.Response, body: bytes) -> Answer:
    """The answer read as the call says. Raises what an error answer tells of."""
    if answer.is_error or answer.is_redirect:
        raise problems.error_of(answer.status_code, body, answer.headers.get("retry-after"))
    try:
        return call.read(body)
    except msgspec.MsgspecError:
        raise problems.error_of(answer.status_code, body, None) from None


def _line(call: Call[Answer], line: str) -> Answer:
    """One line of a stream. Raises the error that a last line tells of."""
    if line.startswith('{"problem":'):
        raise problems.from_problem(msgspec.json.decode(line, type=_LastLine).problem)
    return call.read(line.encode())


class _LastLine(msgspec.Struct):
    problem: Problem


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """httpx's transport errors as ours, with what to do."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise problems.unreachable(url, "it did not answer in time") from error
    except httpx.TransportError as error:
        raise problems.unreachable(url, str(error) or type(error).__name__) from error
