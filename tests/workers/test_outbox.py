"""Sending from many threads: together where that saves requests, alone when alone."""

import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest

from eventpost.core.outcomes import DELIVERED, Failed, Outcome
from eventpost.queues.interfaces import Message
from eventpost.queues.sqs.settings import TRAITS
from eventpost.workers.outbox import Outbox
from eventpost.workers.transport import WorkQueue


class Desk:
    """Holds every request until it is let go, or fails as it is told."""

    traits = TRAITS

    def __init__(self) -> None:
        self.requests: list[list[bytes]] = []
        self.gate = threading.Semaphore(0)
        self.raises: BaseException | None = None
        self.arrived = threading.Condition()

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        with self.arrived:
            self.requests.append([one.body for one in messages])
            self.arrived.notify_all()
        self.gate.acquire()
        if self.raises is not None:
            raise self.raises
        return [DELIVERED] * len(messages)


def outbox_of(desk: Desk, calls_max: int = 1) -> Outbox:
    return Outbox(cast("WorkQueue", desk), calls_max)


def sending(outbox: Outbox, count: int, results: list[Any]) -> list[threading.Thread]:
    def run(number: int) -> None:
        try:
            results.append(outbox.send(Message(body=b"%d" % number)))
        except BaseException as error:  # noqa: BLE001 - to be looked at by the test
            results.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


def until_requests(desk: Desk, count: int) -> None:
    with desk.arrived:
        assert desk.arrived.wait_for(lambda: len(desk.requests) >= count, 60)


def test_who_comes_meanwhile_goes_together() -> None:
    """A message alone goes at once; those that come while it is under way share the next."""
    desk = Desk()
    results: list[Any] = []
    outbox = outbox_of(desk)
    first = sending(outbox, 1, results)
    until_requests(desk, 1)
    rest = sending(outbox, 12, results)
    while outbox.waiting_count < 12:
        threading.Event().wait(0.001)

    desk.gate.release(3)
    for thread in [*first, *rest]:
        thread.join(60)
    assert results == [DELIVERED] * 13
    assert [len(request) for request in desk.requests] == [1, 10, 2]


def test_an_interrupted_thread_leaves_nobody_waiting() -> None:
    """What is raised into the thread that sends for others goes no further than to it: the others
    are told that nobody knows."""
    desk = Desk()
    results: list[Any] = []
    outbox = outbox_of(desk)
    threads = sending(outbox, 1, results)
    until_requests(desk, 1)
    threads += sending(outbox, 3, results)
    while outbox.waiting_count < 3:
        threading.Event().wait(0.001)
    desk.gate.release()
    until_requests(desk, 2)
    desk.raises = KeyboardInterrupt()
    desk.gate.release()

    for thread in threads:
        thread.join(60)
    kinds = [type(one) for one in results]
    assert sorted(kind.__name__ for kind in kinds) == [
        "Delivered",
        "Failed",
        "Failed",
        "KeyboardInterrupt",
    ]
    failed = next(one for one in results if isinstance(one, Failed))
    assert "interrupted" in failed.evidence.detail


def test_as_many_requests_as_allowed() -> None:
    """Up to the bound, requests go side by side."""
    desk = Desk()
    results: list[Any] = []
    outbox = outbox_of(desk, calls_max=2)
    threads = sending(outbox, 3, results)
    until_requests(desk, 2)
    while outbox.waiting_count < 1:
        threading.Event().wait(0.001)
    assert len(desk.requests) == 2
    desk.gate.release(3)
    for thread in threads:
        thread.join(60)
    assert results == [DELIVERED] * 3


def test_nothing_to_send_is_no_request() -> None:
    """An empty list asks nobody."""
    desk = Desk()
    assert outbox_of(desk).send_all([]) == []
    assert desk.requests == []


@pytest.mark.parametrize("count", [10, 11])
def test_more_than_a_request_takes_is_cut(count: int) -> None:
    """Many messages of one caller go in as few requests as the system allows."""
    desk = Desk()
    desk.gate.release(2)
    assert len(outbox_of(desk).send_all([Message(body=b"x")] * count)) == count
    assert [len(request) for request in desk.requests] == ([10] if count == 10 else [10, 1])
