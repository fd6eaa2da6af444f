"""Members of a group that come and go, in order or killed, while records flow."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from eventpost.queues.interfaces import Received
from tests.conftest import Say
from tests.queues.kafka.groups import (
    Group,
    Members,
    Process,
    again_count,
    eventually,
    place_of,
)
from tests.services.kafka import Kafka

pytestmark = pytest.mark.slow


@pytest.fixture
def group(kafka: Kafka) -> Iterator[Group]:
    with Group(kafka, partitions=6) as group:
        yield group


class Flow:
    """Numbers that are sent one after the other, while it is open."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> "Flow":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            self._group.send(*range(self.sent, self.sent + 20))
            self.sent += 20
            self._is_over.wait(0.05)


def test_two_and_three_members_come_and_go(group: Group, say: Say) -> None:
    """While members join and leave, every record is taken, and taken again at most as often as
    members had records in hand when they lost a partition; in the end all is committed."""
    with Members(group) as members, Flow(group) as flow:
        first = members.join()
        eventually(lambda: len(first.taken) > 100)
        second = members.join()
        eventually(lambda: len(second.taken) > 50)
        third = members.join()
        eventually(lambda: len(third.taken) > 50)
        second.stop()
        second.queue.close()
        at_leaving = len(first.taken) + len(third.taken)
        eventually(lambda: len(first.taken) + len(third.taken) > at_leaving + 200)
        first.stop()
        first.queue.close()
        alone = len(third.taken)
        eventually(lambda: len(third.taken) > alone + 100)
        flow.__exit__()
        eventually(group.is_finished)

    found = members.taken()
    assert set(found) == set(range(flow.sent))
    lost_count = sum(one.lost_count for one in (first, second, third))
    say(f"{flow.sent} sent, {again_count(found)} taken again, {lost_count} lost while at work")
    assert again_count(found) <= lost_count
    assert not [one for member in (first, second, third) for one in member.failures]


def test_what_stays_is_not_disturbed(group: Group) -> None:
    """A member keeps the partitions that a newcomer does not get, and what it holds of them."""
    group.send(*range(60))
    with Members(group) as members:
        holding = members.join(work=lambda _: False)
        eventually(lambda: len(holding.taken) == 60)
        newcomer = members.join(work=lambda _: False)
        eventually(lambda: len(newcomer.taken) > 0)
        theirs = {place_of(one)[0] for one in newcomer.taken}
        kept = [one for one in holding.taken if place_of(one)[0] not in theirs]

        assert kept
        settled = holding.queue.settle(kept)
        assert [verdict.value for verdict in settled if not hasattr(verdict, "evidence")] == [
            "done"
        ] * len(kept)
        ends = group.ends()
        for partition, (offset, _) in group.committed().items():
            assert offset == ends[partition]


def test_only_a_finished_prefix_is_committed(group: Group) -> None:
    """At every moment the committed offset lies at or below the first record that is not finished,
    and what is said to be finished above it is."""
    random = Random(7)
    held: list[Received] = []

    def work(one: Received) -> bool:
        if random.random() < 0.1:
            held.append(one)
            return False
        return True

    with Members(group) as members, Flow(group) as flow:
        member = members.join(work=work)
        seen = 0
        while seen < 20:
            before = {place_of(one) for one in list(member.taken)}
            committed = group.committed()
            unfinished = {place_of(one) for one in list(held)}
            for partition, (offset, above) in committed.items():
                name = f"{group.topic}/{partition}"
                missed = {at for place, at in before & unfinished if place == name and at < offset}
                assert not missed, (offset, missed)
                assert not {(name, one) for one in above} & unfinished
            seen += 1
            time.sleep(0.05)
        flow.__exit__()
        member.stop()
        member.queue.close()

        members.join()
        eventually(group.is_finished)
    assert set(members.taken()) == set(range(flow.sent))


def test_the_gap_is_bounded(kafka: Kafka) -> None:
    """At `unfinished_max` records above the first unfinished one the partition pauses, not before,
    and goes on when that one is finished."""
    with Group(kafka, partitions=1, unfinished_max=50, prefetch=10) as group:
        group.send(*range(200))
        first: list[Received] = []

        def work(one: Received) -> bool:
            if one.body == b"0":
                first.append(one)
                return False
            return True

        with Members(group) as members:
            member = members.join(work=work)
            eventually(lambda: len(member.done) >= 49)
            quiet_until_s = time.monotonic() + 1.0
            while time.monotonic() < quiet_until_s:
                # A poll that was under way brings what librdkafka had in hand.
                assert len(member.taken) <= 50 + 10
                time.sleep(0.05)
            assert group.committed()[0][0] == 0
            assert len(member.taken) >= 50

            member.queue.settle(first)
            eventually(lambda: len(member.done) == 199)
        assert group.committed()[0][0] == 200


@pytest.mark.crash
def test_a_member_is_killed(group: Group, say: Say) -> None:
    """When one of three members is killed in mid-work the others take over: nothing is lost, and
    only what the dead one had taken and not settled is taken again."""
    with Process(group, work_s=0.05) as process, Members(group) as members, Flow(group) as flow:
        process.wait(lambda: len(process.taken) > 50)
        for _ in range(2):
            one = members.join()
            eventually(lambda one=one: len(one.taken) > 50)  # type: ignore[misc]  # a lambda's default
        at_kill = len(process.taken)
        process.wait(lambda: len(process.taken) > at_kill + 20)
        process.kill()
        sent = flow.sent
        eventually(lambda: flow.sent > sent + 100)
        flow.__exit__()
        eventually(group.is_finished)

    dead = Counter(int(number) for number in process.taken)
    found = members.taken() + dead
    lost_count = sum(one.lost_count for one in members.joined)
    in_flight = len(process.taken) - len(process.done)
    say(f"{flow.sent} sent, {again_count(found)} taken again, {in_flight} in flight at the kill")
    assert set(found) == set(range(flow.sent))
    assert again_count(found) <= in_flight + lost_count


@pytest.mark.crash
def test_killed_before_the_commit(group: Group) -> None:
    """What a process had finished and not committed when it was killed comes again, and no more."""
    group.send(*range(30))
    with Process(group, page=10, stop_at="commit") as process:
        process.wait(lambda: "committing\n" in process.lines)
        process.kill()

    with Members(group) as members:
        members.join()
        eventually(group.is_finished)

    assert members.taken() == Counter(range(30))
    assert len(process.taken) <= 10
    assert process.done == []
