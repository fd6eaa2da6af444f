"""Moves that are killed at every point, and go on: nothing is lost, little is repeated."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelNotFoundEntity

from tests.conftest import Say
from tests.moving import ends
from tests.moving.conftest import NewStudio
from tests.moving.killed import PAGE_MAX, POINTS
from tests.patience import PATIENCE_S
from tests.queues.rabbitmq.brokers import administer
from tests.services.azurite import Azurite
from tests.services.elasticmq import ElasticMQ
from tests.services.kafka import Kafka
from tests.services.rabbitmq import RabbitMQ
from tests.services.service import fresh_name

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(600)]

FRESH = 60
"""Messages that are sent before each run: three pages."""
RUN_S_MAX = 300.0
QUICK_SESSION = {"session_timeout_ms": 6_000}
"""So that the group of a killed process is free again soon."""


@dataclass(frozen=True, slots=True)
class Killed:
    """Moves of one pair of queues, each in a process of its own."""

    source: dict[str, Any]
    target: dict[str, Any]
    format: str
    state: Path
    consumer_count: Callable[[], int] = lambda: 0
    """Of the source, as far as it is known."""

    def run(self, point: str = "", nth: int = 0) -> "subprocess.CompletedProcess[bytes]":
        """What a killed process had in hand is hidden until RabbitMQ has noticed that its
        connection is gone: a run that ended before would rightly find the queue empty."""
        eventually(lambda: self.consumer_count() == 0)
        order = {
            "source": self.source,
            "target": self.target,
            "format": self.format,
            "point": point,
            "nth": nth,
        }
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "tests.moving.killed"],
            input=json.dumps(order).encode(),
            capture_output=True,
            env=os.environ | {"XDG_STATE_HOME": str(self.state)},
            timeout=RUN_S_MAX,
            check=False,
        )

    def through_all(self, send: Callable[[], None], figures: Say) -> int:
        """Die at each point, early and late, with something to do each time, then run to the end.
        How often it died."""
        deaths = 0
        for point in POINTS:
            for nth in (1, 3):
                send()
                died = self.run(point, nth)
                said = (point, nth, died.stdout, died.stderr)
                # The last messages may be moved before a point is passed so often.
                assert died.returncode in (-signal.SIGKILL, 0), said
                assert died.returncode or nth == 3, said
                deaths += died.returncode != 0
        last = self.run()
        assert last.returncode == 0, last.stderr
        found: dict[str, Any] = json.loads(last.stdout)
        figures(f"killed {deaths} times; the last run: {found['account']}")
        assert found["complete"], found
        assert found["inHand"] == 0
        return deaths


def eventually(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.05)


def consumers(server: RabbitMQ, name: str) -> Callable[[], int]:
    """Counts those of a queue, if there is one."""

    async def counted(channel: AbstractChannel) -> int:
        try:
            found = await channel.declare_queue(name, passive=True)
        except ChannelNotFoundEntity:
            return 0
        return found.declaration_result.consumer_count or 0

    return lambda: administer(server, counted)


class Songs:
    """Messages for a source, each body as often as it is `alike`, and what came of them."""

    def __init__(self, source: dict[str, Any], alike: int = 1) -> None:
        self.sent: Counter[bytes] = Counter()
        self._source = source
        self._alike = alike

    def send(self) -> None:
        first = self.sent.total()
        bodies = [b"song-%d" % (n // self._alike) for n in range(first, first + FRESH)]
        ends.send(ends.end(**self._source), bodies)
        self.sent.update(bodies)

    def arrived(self, target: dict[str, Any]) -> Counter[bytes]:
        received = ends.drained(ends.end(**target), self.sent.total(), at_least=True)
        return Counter(each.body for each in received)


# Whatever the point, the page that is being sent may be in the target and not in the journal yet:
# each kill repeats at most one page.
def checked(arrived: Counter[bytes], sent: Counter[bytes], figures: Say, *, at_most: int) -> None:
    """None is lost, and those that came more often than they were sent are bounded."""
    lost, extra = sent - arrived, arrived - sent
    figures(f"lost {lost.total()}, twice {extra.total()} of {sent.total()} (at most {at_most})")
    assert not lost
    assert extra.total() <= at_most
    assert set(extra) <= set(sent)


def test_rabbitmq_to_storage_queue_with_dramatiq(
    tmp_path: Path, new_studio: NewStudio, rabbitmq: RabbitMQ, azurite: Azurite, figures: Say
) -> None:
    """RabbitMQ gives no ids; a message of Dramatiq is known by its content, also a delayed one."""
    studio = new_studio()
    sent: Counter[bytes] = Counter()

    def send() -> None:
        for n in range(FRESH):
            delay_ms = 1 if n % 10 == 0 else None
            message = studio.enqueue(studio.message(f"song-{n}"), delay_ms)
            sent[message.message_id.encode()] += 1

    target: dict[str, Any] = {
        "settings": ends.azure(azurite),
        "queue": fresh_name("songs"),
        "name": "target",
    }
    source: dict[str, Any] = {
        "settings": ends.rabbitmq(rabbitmq),
        "queue": studio.queue,
        "create": False,
    }
    killed = Killed(source, target, "dramatiq", tmp_path, consumers(rabbitmq, studio.queue))

    deaths = killed.through_all(send, figures)

    assert studio.message_counts() == (0, 0, 0)
    received = ends.drained(ends.end(**target), sent.total(), at_least=True)
    found = Counter(json.loads(each.body)["message_id"].encode() for each in received)
    checked(found, sent, figures, at_most=deaths * PAGE_MAX)


def test_rabbitmq_to_sqs(
    tmp_path: Path, rabbitmq: RabbitMQ, elasticmq: ElasticMQ, figures: Say
) -> None:
    """Messages without any id, of which some are alike to the last byte, are never lost; what is
    repeated is what was sent and not deleted at each kill."""
    source: dict[str, Any] = {"settings": ends.rabbitmq(rabbitmq), "queue": fresh_name("songs")}
    target: dict[str, Any] = {
        "settings": ends.sqs(elasticmq),
        "queue": fresh_name("songs"),
        "name": "target",
    }
    songs = Songs(source, alike=2)

    killed = Killed(source, target, "raw", tmp_path, consumers(rabbitmq, source["queue"]))
    deaths = killed.through_all(songs.send, figures)

    assert ends.counted(ends.end(**source)) == 0
    found = songs.arrived(target)
    checked(found, songs.sent, figures, at_most=2 * deaths * PAGE_MAX)


def test_sqs_to_kafka(tmp_path: Path, elasticmq: ElasticMQ, kafka: Kafka, figures: Say) -> None:
    """Messages with ids are sent again only when the journal could not be told any more."""
    source: dict[str, Any] = {"settings": ends.sqs(elasticmq), "queue": fresh_name("songs")}
    target: dict[str, Any] = {
        "settings": ends.kafka(kafka),
        "queue": fresh_name("songs"),
        "name": "target",
    }
    songs = Songs(source)

    deaths = Killed(source, target, "raw", tmp_path).through_all(songs.send, figures)

    assert ends.counted(ends.end(**source)) == 0
    found = songs.arrived(target)
    checked(found, songs.sent, figures, at_most=deaths * PAGE_MAX)


def test_kafka_to_rabbitmq(tmp_path: Path, kafka: Kafka, rabbitmq: RabbitMQ, figures: Say) -> None:
    """Records are known by their offset, and a dead consumer's partition is waited for."""
    source: dict[str, Any] = {
        "settings": ends.kafka(kafka),
        "queue": fresh_name("songs"),
        **QUICK_SESSION,
    }
    target: dict[str, Any] = {
        "settings": ends.rabbitmq(rabbitmq),
        "queue": fresh_name("songs"),
        "name": "target",
    }
    songs = Songs(source)

    deaths = Killed(source, target, "raw", tmp_path).through_all(songs.send, figures)

    assert ends.counted(ends.end(**source)) == 0
    found = songs.arrived(target)
    checked(found, songs.sent, figures, at_most=deaths * PAGE_MAX)
