"""Copies of held messages: whatever one of them runs into, the others are answered."""

import queue as queues
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from eventpost.core.outcomes import DELIVERED, Evidence, Failed, Fault, Outcome, Stage
from eventpost.queues.interfaces import Message
from eventpost.queues.sqs.settings import TRAITS
from eventpost.workers.forwarding import Forwarder, Job
from eventpost.workers.outbox import Outbox
from eventpost.workers.transport import WorkQueue
from tests.patience import PATIENCE_S


class Broken:
    """A queue of a kind that no real one is: it raises instead of answering."""

    traits = TRAITS

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        raise RuntimeError("broken")


class Good(Broken):
    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        return [DELIVERED] * len(messages)


def outbox_of(queue: Broken) -> Outbox:
    return Outbox(cast("WorkQueue", queue), 1)


def refused(error: Exception) -> Failed:
    return Failed(Evidence(stage=Stage.SETTINGS, fault=Fault.UNEXPECTED, detail=str(error)))


def job(outbox: Callable[[], Outbox], done: Callable[[Outcome], None]) -> Job:
    return Job(outbox, Message(body=b"song"), done, refused)


def missing() -> Outbox:
    raise OSError("missing")


@pytest.mark.parametrize(
    ("outbox", "said"), [(missing, "missing"), (lambda: outbox_of(Broken()), "broken")]
)
def test_a_queue_that_raises_holds_up_nobody(outbox: Callable[[], Outbox], said: str) -> None:
    """Whoever sent to it is told why, and what is added later goes."""
    told: queues.Queue[Outcome] = queues.Queue()
    forwarder = Forwarder()
    forwarder.add(job(outbox, told.put))
    failed = told.get(timeout=PATIENCE_S)
    assert isinstance(failed, Failed)
    assert failed.evidence.detail == said

    forwarder.add(job(lambda: outbox_of(Good()), told.put))
    assert told.get(timeout=PATIENCE_S) == DELIVERED


def test_an_answer_that_fails_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """What is done with one outcome may raise: it is logged, and the next is told its own."""
    told: queues.Queue[Outcome] = queues.Queue()

    def fails(outcome: Outcome) -> None:
        told.put(outcome)
        raise RuntimeError("no")

    good = outbox_of(Good())
    forwarder = Forwarder()
    for done in (fails, told.put):
        forwarder.add(job(lambda: good, done))
        assert told.get(timeout=PATIENCE_S) == DELIVERED
    assert "What follows a copy failed" in caplog.text
