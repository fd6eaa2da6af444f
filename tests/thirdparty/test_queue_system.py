"""What a third party runs to know that its queue system is right: the public conformance suite."""

from collections.abc import Iterator
from importlib import import_module

import pytest

from eventpost.queues import kinds
from eventpost.queues.interfaces import Address, Queue
from eventpost.testing.queue_conformance import QueueConformance, QueueHarness
from tests.services.service import fresh_name


class PigeonHarness(QueueHarness):
    """One pigeon of a loft of its own, opened by the kind's name as eventpost opens it."""

    lease_s = 0.3
    delay_s = 0.3
    quiet_s = 0.2
    keeps_content_type = True

    def __init__(self) -> None:
        self.loft = fresh_name("loft")
        self.queues: list[Queue] = []

    def new_queue(self) -> Queue:
        return self._opened("grey")

    def missing_queue(self) -> Queue:
        server = import_module("eventpost_pigeon").LOFTS[self.loft]
        missing: Queue = server.queue("lost")
        return missing

    def stop(self) -> None:
        for queue in self.queues:
            queue.close()

    def _opened(self, name: str) -> Queue:
        connection = kinds.read_settings({"loft": self.loft}, kinds.connection_class("pigeon"))
        queue = kinds.open_queue("pigeon", connection, Address(name=name), kinds.Services())
        self.queues.append(queue)
        return queue


@pytest.mark.slow
@pytest.mark.usefixtures("pigeon")
class TestPigeon(QueueConformance):
    @pytest.fixture
    def harness(self) -> Iterator[QueueHarness]:
        with PigeonHarness() as harness:
            yield harness
