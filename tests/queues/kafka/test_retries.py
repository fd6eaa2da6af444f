"""What is released: appended to a retry topic and served when due, or kept in memory."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from eventpost.core.outcomes import Failed
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message, Queue, Received, Settled
from eventpost.queues.kafka.copies import PREFIX, TIERS_MAX, WAIT_S_MIN
from eventpost.queues.kafka.settings import RETRY_DELAY_S_MAX
from eventpost.queues.kinds import Services
from eventpost.queues.leases import Lease, LeaseLimits, Leases
from tests.conftest import Say
from tests.queues.kafka.groups import Group, Process, again_count, eventually
from tests.services.kafka import Kafka
from tests.services.kafka_clients import CALL_S_MAX, plain_settings
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow

HOUR_S = 3_600.0


class Wall:
    """UTC that passes with the machine's, and jumps when a test says so."""

    def __init__(self) -> None:
        self.jump_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.jump_s


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def services(wall: Wall) -> Services:
    return replace(Services(), now_s=wall)


@pytest.fixture
def group(kafka: Kafka) -> Iterator[Group]:
    with Group(kafka, partitions=1, retry=True, create=True) as group:
        yield group


def retry_topic(group: Group) -> str:
    return f"{group.topic}.{group.group}.retry"


def take(queue: Queue, count: int) -> list[Received]:
    found: list[Received] = []
    end_s = time.monotonic() + 60
    while len(found) < count:
        page = queue.receive(count - len(found), 1.0, 60.0)
        assert isinstance(page, list), page
        found += page
        assert time.monotonic() < end_s, f"only {len(found)} of {count} came"
    return found


def nothing_comes(queue: Queue, seconds: float = 1.5) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        assert queue.receive(1, 0.2, 60.0) == []


def settle(queue: Queue, held: Sequence[Received]) -> None:
    assert list(queue.settle(held)) == [Settled.DONE] * len(held)


def release(queue: Queue, held: Sequence[Received], delay_s: float) -> None:
    assert list(queue.release(held, delay_s)) == [Settled.DONE] * len(held)


def copies(group: Group, topic: str = "") -> list[Any]:
    """All records of the retry topic, or of another one."""
    topic = topic or retry_topic(group)
    wanted = sum(group.ends(topic).values())
    consumer = Consumer(plain_settings(group.kafka) | {"group.id": fresh_name("group")})
    consumer.assign([TopicPartition(topic, one, 0) for one in range(len(group.ends(topic)))])
    try:
        found = consumer.consume(wanted, CALL_S_MAX)
    finally:
        consumer.close()
    assert len(found) == wanted
    return found


def said(copy: Any) -> dict[str, bytes]:
    """What a copy says of itself."""
    headers = [one for one in copy.headers() if one[0].startswith(PREFIX)]
    return {name.removeprefix(PREFIX): value for name, value in headers}


# --- one release ----------------------------------------------------------------------------------


def test_a_release_appends_and_settles(group: Group) -> None:
    """What is released is on the retry topic when the call returns, byte for byte and with where it
    came from, and its original is committed as finished; the topic is made as it was asked for."""
    producer = Producer(plain_settings(group.kafka))
    producer.produce(
        group.topic,
        value=b"\xff\0",
        key=b"\xfe",
        headers=[("a", b"\xfd"), ("a", b"2"), ("b", None)],
    )
    producer.flush()
    queue = group.queue()
    [held] = take(queue, 1)

    release(queue, [held], HOUR_S)

    [copy] = copies(group)
    fields = said(copy)
    assert (copy.value(), copy.key()) == (b"\xff\0", b"\xfe")
    assert copy.headers()[:3] == [("a", b"\xfd"), ("a", b"2"), ("b", None)]
    assert fields["topic"] == group.topic.encode()
    assert (fields["partition"], fields["offset"], fields["count"]) == (b"0", b"0", b"1")
    assert fields["group"] == group.group.encode()
    assert abs(int(fields["due-ms"]) / 1000 - time.time() - HOUR_S) < 60
    assert len(group.ends(retry_topic(group))) == TIERS_MAX
    eventually(lambda: group.committed().get(0, (0, set()))[0] == 1)
    nothing_comes(queue)


def test_a_tombstone_stays_one(group: Group) -> None:
    """A record without a value is copied as one."""
    producer = Producer(plain_settings(group.kafka))
    producer.produce(group.topic, value=None, key=b"k")
    producer.flush()
    queue = group.queue()

    release(queue, take(queue, 1), 0.0)
    [again] = take(queue, 1)

    assert again.system_attributes["tombstone"] == "true"
    assert [one.value() for one in copies(group)] == [None]


def test_it_comes_when_it_is_due(group: Group) -> None:
    """A short delay is written down to the millisecond, what is due earlier comes earlier, and what
    comes is what was released: body, attributes, key and time, with where it stood first, and
    counted."""
    queue = group.queue()
    message = Message(
        body=b"song", attributes={"genre": "blues"}, content_type="text/plain", group="joni"
    )
    queue.send([replace_id(message, "m-1"), Message(body=b"later", group="joni")])
    first, later = take(queue, 2)
    release(queue, [later], 3.0)
    began_ms = int(time.time() * 1000)

    release(queue, [first], 2.0)
    released_ms = int(time.time() * 1000)
    came = [(take(queue, 1)[0], int(time.time() * 1000)) for _ in range(2)]

    dues_ms = {one.value(): int(said(one)["due-ms"]) for one in copies(group)}
    assert began_ms + 2_000 <= dues_ms[b"song"] <= released_ms + 2_000
    # A release that took a second has made the other one due first.
    assert [one.body for one, _ in came] == sorted(dues_ms, key=lambda body: dues_ms[body])
    assert all(came_ms >= dues_ms[one.body] for one, came_ms in came)
    [again] = [one for one, _ in came if one.body == b"song"]
    assert (again.body, again.attributes, again.group) == (b"song", {"genre": "blues"}, "joni")
    assert (again.content_type, again.sent_ms) == ("text/plain", first.sent_ms)
    assert again.id != first.id
    for name in ("topic", "partition", "offset", "message-id"):
        assert again.system_attributes[name] == first.system_attributes[name]
    assert (first.receive_count, again.receive_count) == (0, 2)
    settle(queue, [one for one, _ in came])
    eventually(lambda: group.is_finished(retry_topic(group)))


def replace_id(message: Message, message_id: str) -> Message:
    return Message(
        body=message.body,
        attributes=message.attributes,
        content_type=message.content_type,
        group=message.group,
        message_id=message_id,
    )


def test_counts_survive(group: Group) -> None:
    """Each release counts once, also when another process has the record in between."""
    queue = group.queue()
    group.send(1)
    counts = []
    for _ in range(3):
        [one] = take(queue, 1)
        counts.append(one.receive_count)
        release(queue, [one], 0.0)
    queue.close()

    [last] = take(group.queue(), 1)

    assert [*counts, last.receive_count] == [0, 2, 3, 4]


# --- long delays ----------------------------------------------------------------------------------


def test_long_delays(group: Group, services: Services, wall: Wall) -> None:
    """A delay of hours passes on a virtual clock: nothing comes before it is over, everything soon
    after it, and a long delay holds no short one up."""
    queue = group.queue(services=services)
    group.send(100, 3, 30, 7)
    held = {int(one.body): one for one in take(queue, 4)}
    for minutes, one in held.items():
        release(queue, [one], minutes * 60.0)

    for minutes in (3, 7, 30, 100):
        assert queue.receive(1, 0.0, 60.0) == []
        end_s = minutes * 60.0
        while wall.jump_s < end_s - 20:
            wall.jump_s = min(wall.jump_s + 20, end_s - 20)
            nothing_comes(queue, 0.2 if end_s - wall.jump_s < 60 else 0.0)
        wall.jump_s = end_s + 1
        [came] = take(queue, 1)
        assert int(came.body) == minutes
        settle(queue, [came])
    eventually(lambda: group.is_finished(retry_topic(group)))


def test_a_long_delay_over_at_once(group: Group, services: Services, wall: Wall) -> None:
    """Who comes late serves what is due, whatever wait it stands in."""
    queue = group.queue(services=services)
    group.send(1, 2)
    held = take(queue, 2)
    release(queue, held[:1], 10 * HOUR_S)
    release(queue, held[1:], 100.0)
    queue.close()
    wall.jump_s = 20 * HOUR_S

    came = take(group.queue(services=services), 2)

    assert sorted(one.body for one in came) == [b"1", b"2"]


def test_the_longest_delay(group: Group) -> None:
    """A delay up to the bound is kept; `Traits` say so."""
    queue = group.queue()
    assert queue.traits.release_delay_s_max == RETRY_DELAY_S_MAX
    group.send(1)

    release(queue, take(queue, 1), RETRY_DELAY_S_MAX)

    [copy] = copies(group)
    assert copy.partition() == TIERS_MAX - 1


def test_one_partition_only(kafka: Kafka, wall: Wall, services: Services) -> None:
    """A retry topic with a single partition serves all the same, in steps of the shortest wait."""
    with Group(kafka, partitions=1, retry=True, create=True, retry_partitions=1) as group:
        queue = group.queue(services=services)
        group.send(1, 2)
        first, second = take(queue, 2)
        release(queue, [first], 60.0)
        release(queue, [second], 1.0)
        nothing_comes(queue, 0.3)
        wall.jump_s = WAIT_S_MIN + 1
        assert [one.body for one in take(queue, 1)] == [b"2"]
        for _ in range(2):
            wall.jump_s += WAIT_S_MIN + 1
            nothing_comes(queue, 0.3)
        wall.jump_s += WAIT_S_MIN + 1

        assert [one.body for one in take(queue, 1)] == [b"1"]


# --- others ---------------------------------------------------------------------------------------


def test_groups_share_a_retry_topic(kafka: Kafka) -> None:
    """Two groups with one retry topic each get what they released, and not the other's."""
    with (
        Group(kafka, partitions=1, retry=True, create=True) as one,
        Group(kafka, partitions=1, retry=True, create=True) as two,
    ):
        name = fresh_name("retry")
        first, second = one.queue(retry_topic=name), two.queue(retry_topic=name)
        one.send(1)
        two.send(2)
        held, theirs = take(first, 1), take(second, 1)

        release(first, held, 0.0)
        release(second, theirs, 0.0)

        assert [each.body for each in take(first, 1)] == [b"1"]
        assert [each.body for each in take(second, 1)] == [b"2"]
        nothing_comes(first)


def test_what_somebody_else_wrote_there(group: Group) -> None:
    """A record in the retry topic that is no copy is taken as it is."""
    queue = group.queue()
    group.send(1)
    release(queue, take(queue, 1), 0.0)
    settle(queue, take(queue, 1))
    producer = Producer(plain_settings(group.kafka))
    producer.produce(retry_topic(group), value=b"2", headers=[(f"{PREFIX}due-ms", b"never")])
    producer.flush()

    [came] = take(queue, 1)

    assert came.body == b"2"
    settle(queue, [came])


def test_a_retry_topic_that_is_not_there(kafka: Kafka) -> None:
    """Without `create` a missing retry topic is told, by what receives and by the probe."""
    with Group(kafka, partitions=1, retry=True) as group:
        queue = group.queue()
        group.send(1)

        page = queue.receive(1, 5.0, 60.0)
        *good, rung = queue.probe()

        assert isinstance(page, Failed)
        assert classify(page.evidence) == "EP4408"
        assert [one.name for one in good if not one.failed][-1] == "topic"
        assert rung.name == "retry topic"
        assert rung.failed is not None


# --- through the engine ---------------------------------------------------------------------------


@pytest.mark.parametrize("retry", [True, False])
@pytest.mark.parametrize("delay_s", [0.0, 1.0])
def test_released_by_the_engine(kafka: Kafka, delay_s: float, *, retry: bool) -> None:
    """What a worker releases comes to it again, with a retry topic and without, and is done once it
    is finished."""
    with Group(kafka, partitions=1, retry=retry, create=True) as group:
        group.send(1, 2)
        is_ready = threading.Event()
        engine = Leases(group.queue, limits=LeaseLimits(), on_ready=is_ready.set)
        engine.start()
        try:
            first = given(engine, is_ready, 2)
            bodies = sorted(lease.message.body for lease in first)
            for lease in first:
                engine.release(lease, delay_s)
            again = given(engine, is_ready, 2)
            bodies += sorted(lease.message.body for lease in again)
            finished = [engine.finish(lease, wait_s=10) for lease in again]
        finally:
            engine.close(5.0)

        assert finished == [True, True]
        assert bodies == [b"1", b"2", b"1", b"2"]
        eventually(group.is_finished)
        if retry:
            eventually(lambda: group.is_finished(retry_topic(group)))


def given(engine: Leases, is_ready: threading.Event, count: int) -> list[Lease]:
    """So many leases."""
    found: list[Lease] = []
    end_s = time.monotonic() + 60
    while len(found) < count:
        is_ready.wait(0.2)
        is_ready.clear()
        found += engine.take_many(count - len(found))
        assert time.monotonic() < end_s, f"only {len(found)} of {count} came"
    return found


# --- kills ----------------------------------------------------------------------------------------


@pytest.mark.crash
def test_killed_between_append_and_commit(group: Group) -> None:
    """A process that dies when the copy is there and its original is not committed leaves both:
    the record comes twice, and not never."""
    group.send(*range(5))
    with Process(group, release_s=0.0, stop_at="append", page=5) as process:
        process.wait(lambda: any(line.startswith("appended") for line in process.lines))
        process.kill()
    appended = [int(one) for line in process.lines[-1:] for one in line.split()[1:]]

    queue = group.queue()
    came = Counter(int(one.body) for one in take(queue, 5 + len(appended)))

    assert came == Counter(range(5)) + Counter(appended)
    nothing_comes(queue)


@pytest.mark.crash
def test_killed_while_it_releases(group: Group, say: Say) -> None:
    """Processes that release everything once are killed again and again: nothing is lost, and
    nothing comes more often than the kills explain."""
    count = 300
    group.send(*range(count))
    done: set[int] = set()
    times = Counter[int]()
    in_flight = 0
    for _ in range(3):
        with Process(group, release_s=0.2, work_s=0.02) as process:
            before = len(done)
            process.wait(lambda: len(process.done) > 40)
            process.kill()
        done |= {int(one) for one in process.done}
        times.update(int(one) for one in process.taken)
        in_flight += 2 * len(process.taken) - len(process.done)
        assert len(done) > before
    with Process(group, release_s=0.2) as process:
        process.wait(lambda: done | {int(one) for one in process.done} == set(range(count)))
        eventually(lambda: group.is_finished() and group.is_finished(retry_topic(group)))
        times.update(int(one) for one in process.taken)

    say(f"{count} sent, {again_count(times) - count} taken beyond the two times each")
    assert set(times) == set(range(count))
    assert again_count(times) - count <= in_flight
