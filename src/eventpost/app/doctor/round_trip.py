"""A scratch message through a queue and back: sent, received, settled. Only when it is asked for.

Layer: app. It writes, and it holds for a moment what it receives besides, and gives that back at
once. The message is a CloudEvent of a type of its own, so that a consumer which is faster reads it
as it reads any event.
"""

import json
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from eventpost.core.outcomes import Failed
from eventpost.diagnosis.doctor.climbing import Step
from eventpost.diagnosis.doctor.ladder import Seen, Unknown
from eventpost.queues.interfaces import Message, Queue, Received, Settled

NAME = "round trip"
EVENT_TYPE = "Eventpost.Doctor.RoundTrip"
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
WAIT_S = 3.0
"""For the message to come back."""
POLL_S = 1.0
LEASE_S = 30.0
COUNT_MAX = 10
"""Messages of a look; those that are not ours are given back."""


def step(open_queue: Callable[[], Queue], *, is_fifo: bool, is_source: bool) -> tuple[str, Step]:
    """The rung of a queue whose messages are under lease, one by one."""

    def look() -> Seen:
        queue = open_queue()
        try:
            return _there_and_back(queue, is_fifo=is_fifo, is_source=is_source)
        finally:
            queue.close()

    return NAME, look


def scratch(mark: str) -> bytes:
    """The body of the scratch message."""
    event = {
        "specversion": "1.0",
        "id": mark,
        "source": "/eventpost/doctor",
        "type": EVENT_TYPE,
        "time": datetime.now(UTC).isoformat(),
        "data": {"purpose": "eventpost doctor --round-trip; may be thrown away"},
    }
    return json.dumps(event).encode()


def _there_and_back(queue: Queue, *, is_fifo: bool, is_source: bool) -> Seen:
    mark = str(uuid.uuid4())
    message = Message(
        body=scratch(mark),
        content_type=CONTENT_TYPE,
        group="eventpost-doctor" if is_fifo else "",
        deduplication_id=mark if is_fifo else "",
    )
    [sent] = queue.send([message])
    if isinstance(sent, Failed):
        return Unknown(f"we may not send to it: {_told(sent)}") if is_source else sent
    found = _awaited(queue, mark)
    if isinstance(found, Failed):
        return found if is_source else f"stored, and left there: {_told(found)}"
    if found is None:
        return f"stored; it did not come back within {WAIT_S:g} s: others wait, or consume, there"
    [verdict] = queue.settle([found])
    if verdict is Settled.DONE:
        return "a message was stored, came back and is gone"
    if isinstance(verdict, Failed) and is_source:
        return verdict
    return "a message was stored and came back; it could not be removed"


def _awaited(queue: Queue, mark: str) -> Received | Failed | None:
    """Ours, or why there is none; whatever else came is given back."""
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        page = queue.receive(COUNT_MAX, POLL_S, LEASE_S)
        if isinstance(page, Failed):
            return page
        ours = [each for each in page if mark.encode() in each.body]
        _give_back(queue, [each for each in page if each not in ours])
        if ours:
            return ours[0]
    return None


def _give_back(queue: Queue, others: Sequence[Received]) -> None:
    if others:
        queue.release(others, 0.0)


def _told(failed: Failed) -> str:
    evidence = failed.evidence
    return evidence.detail or str(evidence.code or evidence.fault)
