"""Long polls that can be left: nobody waits for the server, and nothing that it brings is lost."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.queues.interfaces import Received
from eventpost.queues.sqs.polls import Page, Polls
from tests.patience import PATIENCE_S

FAILED = Failed(Evidence(stage=Stage.WAIT, fault=Fault.RESET))


def message(name: str, lease_until_s: float = float("inf")) -> Received:
    return Received(id=name, body=b"", lease_until_s=lease_until_s)


class Server:
    """Polls that are answered when the test says so."""

    def __init__(self) -> None:
        self.polls: list[Page | None] = []
        self._turn = threading.Condition()

    def poll(self) -> Page:
        with self._turn:
            number = len(self.polls)
            self.polls.append(None)
            self._turn.notify_all()
            while self.polls[number] is None:
                assert self._turn.wait(PATIENCE_S)
            page = self.polls[number]
            assert page is not None
            return page

    def answer(self, number: int, page: Page) -> None:
        with self._turn:
            self.polls[number] = page
            self._turn.notify_all()

    def until_polls(self, count: int) -> None:
        with self._turn:
            assert self._turn.wait_for(lambda: len(self.polls) >= count, PATIENCE_S)


class Waiting(threading.Thread):
    """Somebody who waits for a poll."""

    def __init__(self, polls: Polls, server: Server, count_max: int = 10) -> None:
        super().__init__(daemon=True)
        self.page: Page | None = None
        self._wait: Callable[[], Page] = lambda: polls.wait(server.poll, count_max)
        self.start()

    def run(self) -> None:
        self.page = self._wait()

    def result(self) -> list[str] | Failed:
        self.join(PATIENCE_S)
        assert self.page is not None
        return self.page if isinstance(self.page, Failed) else [one.id for one in self.page]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    for number, page in enumerate(made.polls):
        if page is None:
            made.answer(number, [])


def new_polls(released: list[str] | None = None) -> Polls:
    def release(held: Sequence[Received]) -> None:
        if released is not None:
            released.extend(one.id for one in held)

    return Polls(time.monotonic, release)


def until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.001)


def test_a_page_is_handed_over(server: Server) -> None:
    """Whoever waits gets what the server answers, a failure too."""
    polls = new_polls()
    first = Waiting(polls, server)
    server.until_polls(1)
    server.answer(0, [message("a")])
    assert first.result() == ["a"]

    second = Waiting(polls, server)
    server.until_polls(2)
    server.answer(1, FAILED)
    assert second.result() is FAILED


def test_a_wait_ends_when_woken(server: Server) -> None:
    """A call to wake ends every wait at once, with nothing, whatever the server does."""
    polls = new_polls()
    waiting = [Waiting(polls, server), Waiting(polls, server)]
    server.until_polls(2)

    polls.wake()

    assert [one.result() for one in waiting] == [[], []]


def test_a_wake_without_a_wait_is_forgotten(server: Server) -> None:
    """A call to wake when nobody waits does not end the next wait."""
    polls = new_polls()
    polls.wake()
    waiting = Waiting(polls, server)
    server.until_polls(1)

    server.answer(0, [message("a")])

    assert waiting.result() == ["a"]


def test_a_poll_that_was_left_is_waited_for_again(server: Server) -> None:
    """After a wake the next wait takes up the poll that is under way, and starts no other."""
    polls = new_polls()
    first = Waiting(polls, server)
    server.until_polls(1)
    polls.wake()
    assert first.result() == []

    second = Waiting(polls, server)
    until(lambda: not polls._left)
    server.answer(0, [message("a")])

    assert second.result() == ["a"]
    assert len(server.polls) == 1


def test_what_a_left_poll_brings_is_kept(server: Server) -> None:
    """Messages that arrive while nobody waits are there for the next receive, in order."""
    polls = new_polls()
    first = Waiting(polls, server)
    server.until_polls(1)
    polls.wake()
    assert first.result() == []

    server.answer(0, [message("a"), message("b"), message("c")])
    until(lambda: not polls._left)

    assert [one.id for one in polls.late(2)] == ["a", "b"]
    assert [one.id for one in polls.late(2)] == ["c"]
    assert polls.late(2) == []


def test_a_page_larger_than_wanted(server: Server) -> None:
    """Who takes up a poll that asked for more gets as many as are wanted; the rest is kept."""
    polls = new_polls()
    waiting = Waiting(polls, server, count_max=1)
    server.until_polls(1)
    server.answer(0, [message("a"), message("b")])

    assert waiting.result() == ["a"]
    assert [one.id for one in polls.late(1)] == ["b"]


def test_what_is_not_ours_any_more_is_left_out(server: Server) -> None:
    """A message whose lease is over when it is asked for is somebody else's by now."""
    polls = new_polls()
    waiting = Waiting(polls, server, count_max=0)
    server.until_polls(1)
    server.answer(0, [message("old", lease_until_s=time.monotonic() - 1), message("a")])
    assert waiting.result() == []

    assert [one.id for one in polls.late(10)] == ["a"]


def test_after_close_everything_is_given_back(server: Server) -> None:
    """At the end nobody waits any more, and what was not taken is given back: what had come, and
    what comes later."""
    released: list[str] = []
    polls = new_polls(released)
    first = Waiting(polls, server, count_max=0)
    server.until_polls(1)
    server.answer(0, [message("a")])
    assert first.result() == []
    second = Waiting(polls, server)
    server.until_polls(2)

    polls.close()
    polls.close()

    assert second.result() == []
    until(lambda: released == ["a"])
    server.answer(1, [message("b")])
    until(lambda: released == ["a", "b"])
