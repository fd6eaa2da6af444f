"""Brokers that die, hang and come back; lines that are silent; a reader that stalls."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from msgspec.structs import replace as replace_struct

from eventpost.core.outcomes import Delivered, Failed
from eventpost.diagnosis import codes
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message, Queue, Received, Settled
from eventpost.queues.kafka import KafkaConnection
from eventpost.queues.kinds import Services
from tests.conftest import Say
from tests.queues.kafka.groups import (
    REQUEST_MS_MAX,
    SESSION_MS,
    Group,
    Members,
    Sending,
    again_count,
    eventually,
)
from tests.queues.kafka.lines import Line, opened
from tests.services.fixtures import OwnServices
from tests.services.kafka import Kafka
from tests.services.running import Running

pytestmark = pytest.mark.slow


@pytest.mark.crash
def test_a_broker_is_killed_in_mid_stream(own_kafka: Running[Kafka], say: Say) -> None:
    """A broker that is killed and comes back costs time: what was confirmed is received, what was
    said to be settled is not received again, and both sides go on by themselves."""
    with Group(own_kafka.service) as group, Members(group) as members:
        with Sending(group) as sending:
            member = members.join()
            eventually(lambda: len(member.done) > 100)
            own_kafka.kill()
            count = len(sending.confirmed)
            eventually(lambda: len(member.failures) > 0)
            own_kafka.start()
            eventually(lambda: len(sending.confirmed) > count + 200)
        eventually(lambda: set(member.numbers()) >= set(sending.confirmed))
        eventually(group.is_finished)

    found = Counter(member.numbers())
    say(
        f"{len(sending.confirmed)} confirmed, {again_count(found)} received again, "
        f"{len(sending.failures)} sends and {len(member.failures)} calls failed"
    )
    # What timed out may have been stored, and was sent once more; what was in hand comes again.
    assert again_count(found) <= len(sending.failures) + member.lost_count + 20
    assert {classify(one.evidence) for one in member.failures} <= {
        "EP2004",
        "EP2203",
        "EP4400",
        "EP4401",
    }


def test_a_broker_hangs(own_kafka: Running[Kafka]) -> None:
    """A broker that hangs costs each call its timeout and no more; when it goes on, so do we."""
    with Group(own_kafka.service, partitions=1, session_timeout_ms=REQUEST_MS_MAX) as group:
        queue = group.queue(connection=short_of_time(group.connection))
        group.send(0, 1)
        page = first_page(queue)
        own_kafka.pause()

        [verdict] = queue.settle(page[:1])
        [outcome] = queue.send([Message(body=b"2")])

        # While it hangs nothing but their own time ends them: no socket's, and no session's.
        assert isinstance(verdict, Failed)
        assert isinstance(outcome, Failed)
        own_kafka.resume()
        eventually(lambda: queue.settle(page)[0] in (Settled.DONE, Settled.LOST))
        eventually(lambda: isinstance(queue.send([Message(body=b"3")])[0], Delivered))
        with Members(group) as members:
            members.join(queue)
            eventually(lambda: b"3" in {one.body for one in members.joined[0].taken})


def first_page(queue: Queue) -> list[Received]:
    """What comes first. A call that is short of time may fail before it does."""
    found: list[Received] = []

    def comes() -> bool:
        page = queue.receive(5, 5.0, 60.0)
        found.extend(page if isinstance(page, list) else ())
        return bool(found)

    eventually(comes)
    return found


def short_of_time(connection: KafkaConnection) -> KafkaConnection:
    return KafkaConnection(
        bootstrap=connection.bootstrap,
        request_timeout_ms=1_500,
        connect_timeout_ms=1_500,
        config={"socket.timeout.ms": REQUEST_MS_MAX},
    )


def test_closing_while_the_broker_is_away(own_kafka: Running[Kafka]) -> None:
    """A queue closes within bounds though its broker is away; what was not settled comes again."""
    with Group(own_kafka.service, partitions=1) as group:
        queue = group.queue(
            connection=replace_struct(group.connection, request_timeout_ms=REQUEST_MS_MAX)
        )
        group.send(0)
        first_page(queue)
        own_kafka.kill()

        queue.close()  # waits for no answer: any would take longer than a test may

        own_kafka.start()
        with Members(group) as members:
            member = members.join()
            eventually(lambda: member.numbers() == [0])


def test_closing_while_the_broker_hangs(own_kafka: Running[Kafka]) -> None:
    """A queue closes for good though its broker owes it the answer to a commit: no thread waits for
    that, and the group goes on without it."""
    with Group(own_kafka.service, partitions=1) as group:
        queue = group.queue(connection=short_of_time(group.connection))
        group.send(0)
        page = first_page(queue)
        own_kafka.pause()
        [verdict] = queue.settle(page)

        queue.close()

        eventually(lambda: not is_read(group.topic))
        own_kafka.resume()
        group.send(1)
        with Members(group) as members:
            member = members.join()
            eventually(lambda: 1 in member.numbers())
    assert isinstance(verdict, Failed)


def is_read(topic: str) -> bool:
    """Whether a thread of ours polls it."""
    return any(one.name == f"eventpost-kafka-{topic}" for one in threading.enumerate())


def test_what_nobody_foresaw_is_told_and_passes(kafka: Kafka) -> None:
    """An exception on the thread that polls is a failure to receive, and the next consumer goes on
    from what was committed."""
    mistakes = [ArithmeticError("no time")]

    def clock() -> float:
        if mistakes and threading.current_thread().name.startswith("eventpost-kafka"):
            raise mistakes.pop()
        return time.monotonic()

    with Group(kafka, partitions=1) as group:
        queue = group.queue(services=replace(Services(), monotonic_s=clock))
        group.send(0)
        failures: list[Failed] = []
        taken: list[bytes] = []

        def comes() -> bool:
            page = queue.receive(1, 0.2, 60.0)
            if isinstance(page, Failed):
                failures.append(page)
            else:
                taken.extend(one.body for one in page)
            return bool(taken)

        eventually(comes)
    assert not mistakes
    assert {one.evidence.detail for one in failures} == {"ArithmeticError: no time"}
    assert {classify(one.evidence) for one in failures} == {codes.UNEXPECTED}
    assert taken == [b"0"]


# --- lines ----------------------------------------------------------------------------------------


@pytest.fixture
def line(own_service: OwnServices) -> Iterator[Line]:
    with opened(own_service) as line:
        yield line


def test_a_line_goes_dead(line: Line) -> None:
    """On a half-open line a send and a settle fail within their time, a settle is never said to be
    done that is not, and all goes on when the line is replaced."""
    with Group(line.kafka, partitions=1) as group:
        group.send(*range(10))
        queue = group.queue(connection=short_of_time(line.connection))
        page = first_page(queue)
        line.proxy.freeze()

        [outcome] = queue.send([Message(body=b"11")])
        verdicts = queue.settle(page)

        assert isinstance(outcome, Failed)
        assert classify(outcome.evidence) in ("EP4400", "EP4401", "EP2203", "EP2003")
        assert Settled.DONE not in verdicts
        line.proxy.cut()  # what was on its way is lost
        line.proxy.thaw()
        eventually(lambda: isinstance(queue.send([Message(body=b"12")])[0], Delivered))
        with Members(group) as members:
            member = members.join(queue)
            eventually(lambda: 12 in member.numbers())
            wanted = set(range(10)) | {12}
            eventually(lambda: wanted <= set(member.numbers()) | {int(one.body) for one in page})
            eventually(group.is_finished)


def test_a_line_is_cut_again_and_again(line: Line, say: Say) -> None:
    """What was confirmed is received through any number of cuts, in both directions."""
    with Group(line.kafka, partitions=2) as group, Members(group) as members:
        group.connection = line.connection
        with Sending(group) as sending:
            member = members.join()
            for _ in range(6):
                count = len(member.done)
                eventually(lambda count=count: len(member.done) > count + 40)  # type: ignore[misc]  # a lambda's default
                line.proxy.cut()
        eventually(lambda: set(member.numbers()) >= set(sending.confirmed))
        eventually(group.is_finished)

    found = Counter(member.numbers())
    say(f"{len(sending.confirmed)} confirmed, {again_count(found)} received again")
    assert again_count(found) <= len(sending.failures) + member.lost_count + 20


# --- a reader that stalls -------------------------------------------------------------------------


class StallingClock:
    """A clock on which the polling thread stands still when it is told to."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.goes_on.set()

    def __call__(self) -> float:
        if threading.current_thread().name.startswith("eventpost-kafka"):
            self.goes_on.wait()
        return time.monotonic()


def test_a_reader_that_polls_too_seldom(kafka: Kafka) -> None:
    """A reader that does not poll for longer than `max.poll.interval.ms` loses its partitions to
    others, is told so, loses what it held, and comes back by itself."""
    clock = StallingClock()
    with Group(kafka, partitions=1) as group, Members(group) as members:
        group.connection = replace_config(group, {"max.poll.interval.ms": SESSION_MS})
        queue = group.queue(services=replace(Services(), monotonic_s=clock))
        group.send(*range(5))
        held: list[Received] = []
        while len(held) < 5:
            page = queue.receive(5, 5.0, 60.0)
            assert isinstance(page, list), page
            held += page
        clock.goes_on.clear()
        other = members.join()
        eventually(lambda: len(other.done) == 5)
        clock.goes_on.set()

        eventually(lambda: set(queue.settle(held)) == {Settled.LOST})
        eventually(lambda: isinstance(queue.receive(1, 0.1, 60.0), Failed))
        told = queue.receive(1, 0.0, 60.0)
        other.stop()
        other.queue.close()
        group.send(5)
        with Members(group) as again:
            member = again.join(queue)
            eventually(lambda: member.numbers() == [5])
        assert isinstance(told, Failed)
        assert classify(told.evidence) == "EP4470"


def replace_config(group: Group, config: dict[str, str | int | bool | float]) -> KafkaConnection:
    return KafkaConnection(bootstrap=group.connection.bootstrap, config=config)
