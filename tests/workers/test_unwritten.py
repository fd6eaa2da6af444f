"""Finished messages that wait for their ledger: all are written, in pages, and none is dropped."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from eventpost.queues.ledger import LedgerError
from eventpost.workers.limits import WorkerLimits
from eventpost.workers.unwritten import Unwritten
from tests.patience import PATIENCE_S

NEVER_S = 1e6


class Desk:
    """A ledger that can be away, and what became of messages."""

    def __init__(self, pause_s: tuple[float, float] = (0.001, 0.002)) -> None:
        self.is_back = threading.Event()
        self.has_tried = threading.Semaphore(0)
        self.is_over = threading.Event()
        self.written: list[str] = []
        self.released: list[str] = []
        self.errors: list[str] = []
        self.recovered: list[int] = []
        self.unforeseen = 0
        self.unwritten = Unwritten(
            self._write,
            lambda lease: self.released.append(lease.id),
            lambda error: self.errors.append(error.code),
            self._recovered,
            pause_s,
        )

    def add(self, *ids: str) -> None:
        for one in ids:
            lease: Any = SimpleNamespace(id=one)
            self.unwritten.add(lease)

    def tried(self, count: int) -> None:
        for _ in range(count):
            assert self.has_tried.acquire(timeout=PATIENCE_S)

    def _write(self, ids: object) -> None:
        self.has_tried.release()
        if self.unforeseen:
            self.unforeseen -= 1
            raise ZeroDivisionError
        if not self.is_back.is_set():
            raise LedgerError("EP5060", "away")
        assert isinstance(ids, list)
        self.written += ids

    def _recovered(self, outage_s: float, count: int) -> None:
        assert outage_s > 0
        self.recovered.append(count)
        self.is_over.set()


def test_all_that_wait_are_written_together() -> None:
    """It is tried until it works; then what waits is one page, and each message is released after
    it was written, in its order."""
    desk = Desk()
    desk.add("1", "2")
    desk.tried(3)
    desk.add("3")
    assert len(desk.unwritten) == 3
    assert desk.released == []
    desk.is_back.set()
    assert desk.is_over.wait(PATIENCE_S)

    assert desk.written == desk.released == ["1", "2", "3"]
    assert desk.recovered == [3]
    assert set(desk.errors) == {"EP5060"}
    assert not desk.unwritten


def test_another_outage() -> None:
    """What waits after everything was written begins anew."""
    desk = Desk()
    desk.is_back.set()
    for one in ("1", "2"):
        desk.is_over.clear()
        desk.add(one)
        assert desk.is_over.wait(PATIENCE_S)

    assert desk.written == ["1", "2"]
    assert desk.recovered == [1, 1]


def test_what_nobody_foresaw(caplog: pytest.LogCaptureFixture) -> None:
    """Another exception than the ledger's is logged, and what waits is tried again."""
    desk = Desk()
    desk.unforeseen = 1
    desk.is_back.set()
    desk.add("1")
    assert desk.is_over.wait(PATIENCE_S)

    assert desk.written == ["1"]
    assert "ZeroDivisionError" in caplog.text


def test_a_worker_that_ends_tries_at_once() -> None:
    """Who closes does not wait for a long pause; what is left then is counted, and stays."""
    desk = Desk(pause_s=(NEVER_S, NEVER_S))
    desk.add("1", "2")
    desk.unwritten.hurry()
    desk.tried(1)

    assert desk.unwritten.close() == 2
    desk.add("3")
    assert desk.unwritten.close() == 3
    assert desk.written == desk.released == []


@pytest.mark.parametrize("name", ["ledger_pause_s_min", "ledger_pause_s_max"])
def test_pauses_that_cannot_be(name: str) -> None:
    """A pause that is none is refused by its name."""
    with pytest.raises(ValueError, match=name):
        WorkerLimits(**{name: 0.0})  # type: ignore[arg-type]  # these are seconds


def test_a_hook_that_fails() -> None:
    """What is told of a ledger that is back may fail: one thread goes on and writes the rest."""
    desk = Desk()
    others = len(writers())
    told = desk._recovered
    failures = [ZeroDivisionError()]

    def recovered(outage_s: float, count: int) -> None:
        if failures:
            raise failures.pop()
        told(outage_s, count)

    desk.unwritten._recovered = recovered
    desk.is_back.set()
    desk.add("a")
    assert desk.is_over.wait(PATIENCE_S)
    desk.add("b")

    while "b" not in desk.released:
        assert len(writers()) <= others + 1
    assert desk.released == ["a", "b"]


def writers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "eventpost-workers-ledger"]
