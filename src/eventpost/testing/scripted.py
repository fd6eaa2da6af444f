"""A service of somebody else's, for tests: it answers by its protocol, unless told otherwise."""

import ssl
from abc import ABC, abstractmethod
from collections import deque
from types import TracebackType
from typing import Self

from eventpost.testing.receiver import Reaction, Received, Receiver


class ScriptedService(ABC):
    """A real HTTP server on a thread of its own, from when it is made until `close`.

    Its methods are for the test's thread; `answer` is called on the server's.
    """

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._script: deque[Reaction] = deque()
        self._receiver = Receiver(path="", host=host, port=port, tls=tls)
        self._receiver.choose = self._choose

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def answer(self, request: Received) -> Reaction:
        """What the service answers when nothing else was scripted."""

    def script(self, *reactions: Reaction) -> None:
        """React so to the next requests, whatever they are; adds to what is scripted."""
        self._script += reactions

    def release(self, reaction: Reaction = 200) -> int:
        """React so to everything that hangs; returns how many these were."""
        return self._receiver.release(reaction)

    def refuse(self) -> None:
        """Close the port and every connection: connecting is refused until `listen`."""
        self._receiver.refuse()

    def listen(self) -> None:
        """Listen, again on the same port after `refuse`."""
        self._receiver.listen()

    def close(self) -> None:
        """End the server and its thread. Idempotent."""
        self._receiver.close()

    @property
    def url(self) -> str:
        return self._receiver.url

    @property
    def port(self) -> int:
        return self._receiver.port

    @property
    def asked(self) -> list[Received]:
        """Every request so far."""
        return self._receiver.requests

    @property
    def held_count(self) -> int:
        """Requests that hang now."""
        return self._receiver.held_count

    def wait_for(self, count: int) -> list[Received]:
        """Wait until so many requests have come; returns the first `count`."""
        return self._receiver.wait_for(count)

    def _choose(self, request: Received) -> Reaction:
        return self._script.popleft() if self._script else self.answer(request)
