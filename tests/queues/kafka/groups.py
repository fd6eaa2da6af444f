"""Members of a group on the tests' Kafka: opened, watched from outside, and killed."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from eventpost.core.outcomes import Delivered, Failed
from eventpost.queues.interfaces import Address, Message, Queue, Received, Settled
from eventpost.queues.kafka import KafkaConnection, KafkaQueue, new_queue
from eventpost.queues.kafka.offsets import finished_of
from eventpost.queues.kinds import Services
from tests.documentation import ROOT
from tests.patience import PATIENCE_S
from tests.services.kafka import Kafka
from tests.services.kafka_clients import CALL_S_MAX, make_topic, plain_settings
from tests.services.service import fresh_name

SESSION_MS = 6_000
"""The shortest that brokers allow."""
REQUEST_MS_MAX = 300_000
"""The longest that a call may be allowed: longer than a test may take, so none waits it out."""


class Group:
    """A fresh topic, and a group that reads it."""

    def __init__(self, kafka: Kafka, *, partitions: int = 4, **options: Any) -> None:
        self.kafka = kafka
        self.topic = make_topic(kafka, partitions=partitions)
        self.partitions = partitions
        self.options = {"group": fresh_name("group"), "session_timeout_ms": SESSION_MS} | options
        self.connection = KafkaConnection(bootstrap=(kafka.address("plain"),))
        self._opened = ExitStack()
        self._sender: KafkaQueue | None = None

    @property
    def group(self) -> str:
        return str(self.options["group"])

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def queue(
        self,
        *,
        services: Services | None = None,
        connection: KafkaConnection | None = None,
        **options: Any,
    ) -> KafkaQueue:
        """Another member, closed in the end."""
        address = Address(name=self.topic, options=self.options | options)
        queue = new_queue(connection or self.connection, address, services or Services())
        self._opened.callback(queue.close)
        return queue

    def send(self, *numbers: int) -> None:
        """One record of each number, over all partitions."""
        messages = [Message(body=str(one).encode(), group=str(one)) for one in numbers]
        if self._sender is None:
            self._sender = self.queue()
        outcomes = self._sender.send(messages)
        failed = [one for one in outcomes if not isinstance(one, Delivered)]
        assert not failed, failed

    def committed(self, topic: str = "") -> dict[int, tuple[int, set[int]]]:
        """By partition, what the brokers keep: the offset, and what is finished above it."""
        consumer = Consumer(plain_settings(self.kafka) | {"group.id": self.group})
        topic = topic or self.topic
        count = len(consumer.list_topics(topic, CALL_S_MAX).topics[topic].partitions)
        places = [TopicPartition(topic, partition) for partition in range(count)]
        try:
            found = consumer.committed(places, CALL_S_MAX)
        finally:
            consumer.close()
        return {
            one.partition: (one.offset, finished_of(one.offset, one.metadata))
            for one in found
            if one.offset >= 0
        }

    def ends(self, topic: str = "") -> dict[int, int]:
        """By partition, the offset after the last record."""
        consumer = Consumer(plain_settings(self.kafka) | {"group.id": fresh_name("outside")})
        topic = topic or self.topic
        count = len(consumer.list_topics(topic, CALL_S_MAX).topics[topic].partitions)
        try:
            return {
                one: consumer.get_watermark_offsets(TopicPartition(topic, one), CALL_S_MAX)[1]
                for one in range(count)
            }
        finally:
            consumer.close()

    def is_finished(self, topic: str = "") -> bool:
        """Whether everything that was written is committed."""
        committed = {one: offset for one, (offset, _) in self.committed(topic).items()}
        return {one: end for one, end in self.ends(topic).items() if end} == committed


class Member:
    """Receives on a thread of its own, and settles what `work` says is done."""

    def __init__(self, queue: Queue, work: Callable[[Received], bool] = lambda _: True) -> None:
        self.queue = queue
        self.taken: list[Received] = []
        """In the order in which they came."""
        self.done: set[tuple[str, int]] = set()
        """The places of those that the queue has said to have settled."""
        self.lost_count = 0
        self.failures: list[Failed] = []
        self._work = work
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def numbers(self) -> list[int]:
        return [int(one.body) for one in list(self.taken)]

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._is_over.is_set():
            page = self.queue.receive(20, 0.2, 60.0)
            if isinstance(page, Failed):
                self.failures.append(page)
                self._is_over.wait(0.1)
                continue
            self.taken += page
            finished = self._settled([one for one in page if self._work(one)])
            while finished and not self._is_over.is_set():
                finished = self._settled(finished)

    def _settled(self, finished: Sequence[Received]) -> list[Received]:
        """Settle them; those that are to be settled again."""
        verdicts = self.queue.settle(finished)
        left = []
        for one, verdict in zip(finished, verdicts, strict=True):
            if isinstance(verdict, Failed):
                self.failures.append(verdict)
                left.append(one)
            elif verdict is Settled.DONE:
                self.done.add(place_of(one))
            else:
                self.lost_count += 1
        return left


class Members:
    """Lets members join a group; all leave in the end."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self.joined: list[Member] = []

    def join(
        self, queue: Queue | None = None, work: Callable[[Received], bool] = lambda _: True
    ) -> Member:
        self.joined.append(Member(queue or self._group.queue(), work))
        return self.joined[-1]

    def taken(self) -> Counter[int]:
        return Counter(number for one in self.joined for number in one.numbers())

    def __enter__(self) -> "Members":
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.joined:
            one.stop()


class Sending:
    """Sends numbers until each is confirmed, as a destination does, while it is open."""

    def __init__(self, group: Group) -> None:
        self._queue = group.queue()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.confirmed: list[int] = []
        self.failures: list[Failed] = []

    def __enter__(self) -> "Sending":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        first = 0
        while not self._is_over.is_set():
            waiting = list(range(first, first + 10))
            while waiting:
                outcomes = self._queue.send(
                    [Message(body=str(one).encode(), group=str(one)) for one in waiting]
                )
                self.failures += [one for one in outcomes if isinstance(one, Failed)]
                pairs = list(zip(waiting, outcomes, strict=True))
                self.confirmed += [one for one, it in pairs if isinstance(it, Delivered)]
                waiting = [one for one, it in pairs if not isinstance(it, Delivered)]
            first += 10
            self._is_over.wait(0.02)


class Process:
    """A member in a process of its own: `member.py`. Killed in the end."""

    def __init__(self, group: Group, **more: Any) -> None:
        told = {
            "bootstrap": group.kafka.address("plain"),
            "topic": group.topic,
            "options": group.options,
        } | more
        self.taken: list[str] = []
        self.done: list[str] = []
        self.said = threading.Condition()
        self.lines: list[str] = []
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.queues.kafka.member", json.dumps(told)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    def kill(self) -> None:
        self._child.kill()
        self._child.wait()
        self._thread.join(PATIENCE_S)
        assert self._child.stdout is not None
        self._child.stdout.close()

    def wait(self, is_true: Callable[[], bool]) -> None:
        with self.said:
            assert self.said.wait_for(is_true, PATIENCE_S), self.lines[-5:]

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError, ValueError):
            self.kill()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if not line.endswith("\n"):
                return  # killed while it wrote
            what, _, rest = line.rstrip("\n").partition(" ")
            with self.said:
                self.lines.append(line)
                if what == "taken":
                    self.taken += rest.split()
                elif what == "done":
                    self.done += rest.split()
                self.said.notify_all()


def place_of(one: Received) -> tuple[str, int]:
    topic, partition, offset = one.id.rsplit("/", 2)
    return f"{topic}/{partition}", int(offset)


def eventually(condition: Callable[[], bool], seconds_max: float = PATIENCE_S) -> None:
    end_s = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.05)


def again_count(taken: Counter[int]) -> int:
    """How often anything was taken beyond the first time."""
    return sum(count - 1 for count in taken.values())
