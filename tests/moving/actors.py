"""Dramatiq as its users have it: the real broker for RabbitMQ, an actor, messages, a worker."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
from dramatiq.broker import Broker
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.message import Message
from dramatiq.worker import Worker

from tests.services.rabbitmq import RabbitMQ

PLAYED_S_MAX = 120.0


class Studio:
    """One broker with one actor on a queue of its own."""

    def __init__(self, broker: Broker, queue: str) -> None:
        self.queue = queue
        self.broker: Any = broker
        self.played: dict[str, tuple[tuple[Any, ...], dict[str, Any], float]] = {}
        """By message id: the arguments, and when it was."""
        self._changed = threading.Condition()
        self.counts: dict[str, int] = {}
        declare = dramatiq.actor(actor_name="play", queue_name=queue, broker=self.broker)
        self.actor: Any = declare(self._play)

    def _play(self, song_id: str, *arguments: Any, **options: Any) -> None:
        with self._changed:
            self.played[song_id] = arguments, options, time.time() * 1000
            self.counts[song_id] = self.counts.get(song_id, 0) + 1
            self._changed.notify_all()

    def message(self, song_id: str, *arguments: Any, **options: Any) -> Message[Any]:
        made: Message[Any] = self.actor.message(song_id, *arguments, **options)
        return made

    def enqueue(self, message: Message[Any], delay_ms: int | None = None) -> Message[Any]:
        """As the broker put it into the queue: with its time, if it has one."""
        sent: Message[Any] = self.broker.enqueue(message, delay=delay_ms)
        return sent

    def message_counts(self) -> tuple[int, int, int]:
        """In the queue, in that of delayed, in that of dead messages."""
        found: tuple[int, int, int] = self.broker.get_queue_message_counts(self.queue)
        return found

    @contextmanager
    def working(self) -> Iterator[None]:
        worker = Worker(self.broker, worker_threads=2, worker_timeout=100)
        worker.start()
        try:
            yield
        finally:
            worker.stop()

    def wait_for(self, *song_ids: str) -> None:
        with self._changed:
            is_there = self._changed.wait_for(
                lambda: all(each in self.played for each in song_ids), PLAYED_S_MAX
            )
        assert is_there, (song_ids, self.played)

    def close(self) -> None:
        if isinstance(self.broker, RabbitmqBroker):
            for name in (self.queue, f"{self.queue}.DQ", f"{self.queue}.XQ"):
                self.broker.channel.queue_delete(name)
        self.broker.close()


def on_rabbitmq(server: RabbitMQ, queue: str) -> Studio:
    return Studio(RabbitmqBroker(url=server.url, confirm_delivery=True, middleware=[]), queue)
