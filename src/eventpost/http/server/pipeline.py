"""Answers in the order of their requests, in as few writes as they allow.

Layer: http.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from eventpost.http.server.request import Request, fitted


class Owner(Protocol):
    """The connection, as its pipeline sees it."""

    @property
    def is_half_closed(self) -> bool:
        """Whether the client sends nothing more."""
        ...

    def is_last(self, request: Request) -> bool:
        """Whether no request after this one will be taken (draining)."""
        ...

    def ended(self, request: Request) -> None:
        """The answer that closes the connection has been written; it was this request's."""
        ...

    def answered(self) -> None:
        """There is room again. Called only while `Pipeline.is_watched`."""
        ...


class Pipeline:
    """The requests of one connection that wait for an answer.

    While `is_corked`, answers gather until `flush`; otherwise they leave at once, but for those
    that others wait behind: these leave together in the next turn of the loop.
    """

    __slots__ = (
        "_is_flush_due",
        "_loop",
        "_out",
        "_owner",
        "_write",
        "is_corked",
        "is_watched",
        "waiting",
    )

    def __init__(
        self, owner: Owner, write: Callable[[bytes], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._owner = owner
        self._write = write
        self._loop = loop
        self._out: list[bytes] = []
        self._is_flush_due = False
        self.waiting: deque[Request] = deque()
        self.is_corked = False
        self.is_watched = False

    def add(self, request: Request) -> None:
        """`request` is the next one to be answered. Its `start` is called when it is its turn."""
        self.waiting.append(request)
        if request.start is not None and self.waiting[0] is request:
            self._begin(request)

    def is_waiting(self, request: Request) -> bool:
        """Whether `request` has no answer yet."""
        return request.early is None and request in self.waiting

    def is_listening(self, request: Request) -> bool:
        return self.is_waiting(request) and not self._owner.is_half_closed

    def answer(self, request: Request, raw: bytes) -> None:
        """The whole answer to `request`, which goes out when it is its turn."""
        waiting = self.waiting
        if not waiting or waiting[0] is not request:
            if request.early is None:
                request.early = raw
            return
        waiting.popleft()
        if request.is_plain and not self.is_watched:
            if not (waiting or self.is_corked or self._out):
                self._write(raw)  # nearly every answer: nothing before it, nothing behind it
                return
            self._out.append(raw)
        else:
            self._emit(request, raw)
        if waiting or not self.is_corked:
            self._go_on()

    def write(self, data: bytes) -> None:
        """A part of the answer to the first request."""
        self._out.append(data)
        if not self.is_corked:
            self.flush()

    def finish(self, request: Request) -> None:
        """The answer to the first request was written in parts, and this was all of it."""
        assert self.waiting[0] is request, "answers are written in turn"
        self.waiting.popleft()
        if not request.is_keep_alive:
            self._end(request)
        self._go_on()

    def flush(self) -> None:
        """Write what has gathered."""
        out = self._out
        if not out:
            return
        if len(out) == 1:
            self._write(out.pop())
            return
        data = b"".join(out)
        out.clear()
        self._write(data)

    def clear(self) -> None:
        """Forget everything: the connection is gone. Later answers go nowhere."""
        self.waiting.clear()
        self._out.clear()

    def _emit(self, request: Request, raw: bytes) -> None:
        if self._owner.is_last(request):
            request.is_keep_alive = False
        self._out.append(fitted(raw, request, is_final=not request.is_keep_alive))
        if not request.is_keep_alive:
            self._end(request)

    def _end(self, request: Request) -> None:
        """What was pipelined behind the last answer is not answered any more."""
        self.waiting.clear()
        self.flush()
        self._owner.ended(request)

    def _go_on(self) -> None:
        if self.waiting:
            self._advance()
        if self.is_corked:
            return
        if self.waiting:
            self._flush_soon()
        else:
            self.flush()
        if self.is_watched:
            self._owner.answered()

    def _advance(self) -> None:
        while self.waiting:
            first = self.waiting[0]
            if first.early is None:
                self._begin(first)
                return
            self.waiting.popleft()
            self._emit(first, first.early)

    def _begin(self, first: Request) -> None:
        if first.start is not None:
            start, first.start = first.start, None
            start(first)

    def _flush_soon(self) -> None:
        """More answers are likely to follow in this very turn: one commit answers many requests."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush_due)

    def _flush_due(self) -> None:
        self._is_flush_due = False
        if not self.is_corked:
            self.flush()
