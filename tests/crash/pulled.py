"""A queue that the program pulls from: who sends to it, and what must hold when all is calm."""

import itertools
import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from eventpost.core.outcomes import Delivered
from eventpost.queues.interfaces import Message
from eventpost.registry.declarations import (
    ConnectionDeclaration,
    SourceDeclaration,
    SubscriptionDeclaration,
)
from eventpost.registry.models.sources import SourceCounts
from tests.conftest import Say
from tests.crash.outside import TOPIC, Outside
from tests.crash.program import Program, until
from tests.crash.station import is_calm, report
from tests.queues.leases.places import Place

SOURCE, SUBSCRIPTION = "letters", "each"
LEASE_S = 2
PREFETCH = 50
BATCH = 10
PAUSE_S = 0.1
REQUEST_S_MAX = 120.0
"""So that nothing is sent twice because the machine was busy."""
SETTINGS = {
    "EVENTPOST_SOURCES_FORGET_S": "0.1",
    "EVENTPOST_LEASES_IDLE_S_MAX": "0.5",
    "EVENTPOST_LEASES_PENDING_LEASE_S": str(LEASE_S),
    "EVENTPOST_LEASES_RECEIVE_DELAY_S_MAX": "0.5",
}


class Sender:
    """Sends events to a queue on a thread of its own, each until the queue has it."""

    def __init__(self, place: Place, outside: Outside) -> None:
        self._place = patient(place)
        self._outside = outside
        self._is_over = threading.Event()
        self._sendings = itertools.count()
        self.sent_again = 0
        """Messages whose sending failed, so that the queue may have them twice."""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Sender":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        queue = self._place.open()
        first = len(self._outside.acknowledged)
        while not self._is_over.wait(PAUSE_S):
            waiting = list(range(first, first + BATCH))
            first += BATCH
            while waiting:
                sent = [_message(number, sending=next(self._sendings)) for number in waiting]
                done = [isinstance(each, Delivered) for each in queue.send(sent)]
                for message, is_done in zip(sent, done, strict=True):
                    if is_done:
                        self._outside.acknowledged[message.message_id] = "letter"
                waiting = [one for one, is_done in zip(waiting, done, strict=True) if not is_done]
                self.sent_again += len(waiting)
                if waiting:
                    time.sleep(PAUSE_S)
        queue.close()


def patient(place: Place) -> Place:
    """The same place for who waits long, and who sends nothing again by himself: SQS's client would
    send a batch once more whose answer is late, and the queue would hold one sending twice."""
    own: dict[str, object] = {}
    if "request_timeout_s" in place.connection:
        own["request_timeout_s"] = REQUEST_S_MAX
    if place.kind == "sqs":
        own["attempts_max"] = 1
    return replace(place, connection=place.connection | own)


def _message(number: int, *, sending: int) -> Message:
    """Whoever sees one event twice can tell by `sending` whether it was sent twice."""
    event = {
        "id": f"letter-{number}",
        "subject": "letter",
        "eventType": "Radio.LetterReceived",
        "eventTime": "2026-01-01T00:00:00Z",
        "dataVersion": "1",
        "data": {"text": "x" * 200, "sending": str(sending)},
    }
    return Message(body=json.dumps(event).encode(), message_id=f"letter-{number}")


def prepare(program: Program, outside: Outside, place: Place) -> None:
    """A topic that is fed from the queue, and one subscription of all of it."""
    with program.client() as client:
        client.create_topic(TOPIC)
        client.create_subscription(
            SubscriptionDeclaration(
                topic=TOPIC, name=SUBSCRIPTION, endpoint=f"{outside.url}/{SUBSCRIPTION}"
            )
        )
        client.create_connection(
            ConnectionDeclaration(
                name="home", kind=place.connection_kind, settings=place.connection
            )
        )
        client.create_source(
            SourceDeclaration(
                name=SOURCE,
                topic=TOPIC,
                kind=place.kind,
                connection="home",
                queue=place.name,
                options=place.options,
                lease=f"{LEASE_S}s",
                prefetch=PREFETCH,
                receives_max=1_000,  # each kill is a receive of what was held
            )
        )


@dataclass(frozen=True, slots=True)
class Account:
    """What became of what was sent, over all lives of the program."""

    sent: int
    lost: int
    sent_again: int
    """Messages that the queue may have got twice, because their sender was not told that it had."""
    sent_twice: int
    """Of these, those that it had got: events in the topic that are the sender's own repeats."""
    duplicates: int
    """Events in the topic beyond one for each time that a message was sent."""
    redelivered: int
    """In the last life: messages that came again and were only settled."""
    remembered: int
    """Ids that are kept though their messages are gone."""


def settled(
    programs: Sequence[Program], outside: Outside, place: Place, sender: Sender, say: Say
) -> Account:
    """Let all be pulled, delivered and settled, stop the programs that share the queue, and look at
    what is there."""
    seen = outside.seen(SUBSCRIPTION)
    wanted = outside.acknowledged
    until(lambda: not wanted.keys() - seen.times.keys(), "all that was sent is delivered")
    for program in programs:
        until(lambda program=program: is_calm(report(program)), "every delivery is settled")  # type: ignore[misc]
    _wait_for_silence(programs, returns_s(place))
    published = sum(_published(program) for program in programs)
    redelivered = sum(_counts(program).redelivered for program in programs)
    for program in programs:
        assert program.stop() == 0
        assert "EP9001" not in program.log
    nothing_is_left(place)
    account = Account(
        sent=len(wanted),
        lost=len(wanted.keys() - seen.times.keys()),
        sent_again=sender.sent_again,
        sent_twice=len(seen.sendings) - len(wanted),
        duplicates=published - len(seen.sendings),
        redelivered=redelivered,
        remembered=sum(_remembered(program) for program in programs),
    )
    say(
        f"{place.kind}: kills {sum(one.kills for one in programs)}, sent {account.sent}, "
        f"sent again {account.sent_again}, of these twice in the queue {account.sent_twice}, "
        f"lost {account.lost}, duplicates {account.duplicates}, "
        f"redelivered in the last life {account.redelivered}, ids left {account.remembered}"
    )
    return account


def is_failing(program: Program) -> bool:
    with program.client() as client:
        return client.show_source(SOURCE).state == "failing"


def _published(program: Program) -> int:
    return sum(topic.published for topic in report(program).topics if topic.topic == TOPIC)


def _counts(program: Program) -> SourceCounts:
    with program.client() as client:
        counts = client.show_source(SOURCE).counts
    assert counts is not None
    return counts


def returns_s(place: Place) -> float:
    """After how long at most what a killed program held is given to another one."""
    return float(str(place.options.get("session_timeout_ms", LEASE_S * 1_000))) / 1_000 + 1.0


def _wait_for_silence(programs: Sequence[Program], silence_s: float) -> None:
    """Until every message is settled, and nothing has come for so long."""
    last, since_s = -1, 0.0

    def is_silent() -> bool:
        nonlocal last, since_s
        found = [_counts(program) for program in programs]
        received = sum(counts.received for counts in found)
        if received != last or any(counts.held or counts.unsettled for counts in found):
            last, since_s = received, time.monotonic()
        return time.monotonic() - since_s > silence_s

    until(is_silent, "every message is settled")


def nothing_is_left(place: Place) -> None:
    """The queue gives nothing to somebody else, also when every lease is over."""
    queue = patient(place).open()
    end_s = time.monotonic() + returns_s(place)
    while time.monotonic() < end_s:
        page = queue.receive(10, 0.2, LEASE_S)
        assert page == [], page
        time.sleep(0.05)
    queue.close()


def _remembered(program: Program) -> int:
    connection = sqlite3.connect(f"file:{program.data / 'eventpost.db'}?mode=ro", uri=True)
    try:
        ((count,),) = connection.execute("SELECT count(*) FROM taken")
        return int(count)
    finally:
        connection.close()
