"""Dramatiq's own middleware, and what it promises.

Layer: testing.
"""

import dataclasses
import threading
import time
from collections import Counter
from typing import Any

import dramatiq
import pytest
from dramatiq.middleware import (
    AsyncIO,
    CurrentMessage,
    GroupCallbacks,
    default_middleware,
    prometheus,
)
from dramatiq.middleware.time_limit import TimeLimitExceeded
from dramatiq.rate_limits.backends import StubBackend as StubLimits
from dramatiq.results import Results
from dramatiq.results.backends import StubBackend as StubResults

from eventpost.testing.brokers.harness import BrokerHarness, Log
from eventpost.workers.deadletters import Reason


class StockMiddleware:
    def test_results_arrive(self, harness: BrokerHarness) -> None:
        """Of one message, of a pipeline, and of a group."""
        broker = harness.new_broker()
        broker.add_middleware(Results(backend=StubResults(), store_results=True))

        @dramatiq.actor(broker=broker)
        def add(left: int, right: int) -> int:
            return left + right

        with harness.working(broker):
            backend = broker.get_results_backend()
            message = add.send(1, 2)
            assert message.get_result(backend=backend, block=True) == 3
            steps = [add.message(1, 2), _message(add, 3), _message(add, 4)]
            pipe = dramatiq.pipeline(steps, broker=broker)
            assert pipe.run().get_result(block=True) == 10
            group = dramatiq.group([add.message(i, i) for i in range(5)], broker=broker).run()
            assert list(group.get_results(block=True)) == [0, 2, 4, 6, 8]
            harness.join(broker)

    def test_callbacks_are_called(self, harness: BrokerHarness) -> None:
        """On success, on failure, when retries are used up, and when a group is complete."""
        broker, log = harness.new_broker(), Log()
        broker.add_middleware(GroupCallbacks(StubLimits()))

        @dramatiq.actor(broker=broker)
        def told(*args: Any) -> None:
            log.add("told")

        @dramatiq.actor(broker=broker, on_success="told")
        def good() -> None:
            log.add("good")

        @dramatiq.actor(broker=broker, max_retries=0, on_failure="told", on_retry_exhausted="told")
        def bad() -> None:
            raise ValueError("bad")

        with harness.working(broker):
            good.send()
            bad.send()
            group = dramatiq.group([good.message(), good.message()], broker=broker)
            group.add_completion_callback(told.message())
            group.run()
            harness.join(broker)
        assert Counter(log.entries) == {"good": 3, "told": 3 + 2 + 1}

    def test_limits_of_age_and_time_hold(self, harness: BrokerHarness) -> None:
        """A job that runs too long is interrupted, and one that waited too long does not run."""
        broker, log = harness.new_broker(), Log()

        @dramatiq.actor(broker=broker, time_limit=300, max_retries=0)
        def slow() -> None:
            try:
                while True:
                    time.sleep(0.01)
            except TimeLimitExceeded:
                log.add("interrupted")
                raise

        @dramatiq.actor(broker=broker, max_age=50)
        def old() -> None:
            log.add("old")

        broker.emit_after("process_boot")  # a worker's process does so, and the limits begin
        sent = old.message()
        broker.enqueue(dataclasses.replace(sent, message_timestamp=sent.message_timestamp - 1_000))
        with harness.working(broker):
            slow.send()
            harness.join(broker)
        assert log.entries == ["interrupted"]
        stories = [one.story for one in harness.buried(broker, "default", 2)]
        assert [one.reason for one in stories if one is not None] == [Reason.FAILED] * 2

    def test_a_shutdown_is_told_to_actors(self, harness: BrokerHarness) -> None:
        """An actor that wants to know is interrupted, and its message comes again."""
        broker, log = harness.new_broker(), Log()
        is_begun = threading.Event()

        @dramatiq.actor(broker=broker, notify_shutdown=True, min_backoff=2_500)
        def patient() -> None:
            log.add("begun")
            is_begun.set()
            if len(log.entries) == 1:
                while True:
                    time.sleep(0.01)

        patient.send()
        with harness.working(broker):
            harness.until(is_begun.is_set)
        assert log.entries == ["begun"]
        with harness.working(broker):
            harness.join(broker)
        assert log.entries == ["begun", "begun"]

    def test_jobs_are_counted(
        self, harness: BrokerHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Dramatiq's Prometheus middleware counts jobs, errors, retries and dead letters."""
        for name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
            monkeypatch.setenv(name, prometheus.DB_PATH)  # as it sets them itself, and for good
        counting = prometheus.Prometheus()
        middleware = [one() for one in default_middleware]
        broker, log = harness.new_broker(middleware=[counting, *middleware]), Log()
        broker.emit_after("process_boot")  # a worker's process does so

        @dramatiq.actor(broker=broker, max_retries=1, min_backoff=100, max_backoff=100)
        def count(is_good: bool) -> None:
            log.add(is_good)
            if not is_good:
                raise ValueError("bad")

        with harness.working(broker):
            count.send(True)
            count.send(False)
            harness.join(broker)
        counters = ("messages", "errored_messages", "retried_messages", "rejected_messages")
        found = [getattr(counting, f"total_{name}").labels("default", "count") for name in counters]
        assert [one._value.get() for one in found] == [3, 2, 1, 1]
        harness.buried(broker, "default")

    def test_coroutines_run(self, harness: BrokerHarness) -> None:
        """With the AsyncIO middleware actors may be coroutines, and know their message."""
        middleware = [one() for one in default_middleware]
        broker, log = (
            harness.new_broker(middleware=[*middleware, AsyncIO(), CurrentMessage()]),
            Log(),
        )

        @dramatiq.actor(broker=broker)
        async def sing(text: str) -> None:
            log.add(text)

        @dramatiq.actor(broker=broker)
        def know() -> None:
            message = CurrentMessage.get_current_message()
            assert message is not None
            log.add(message.actor_name)

        with harness.working(broker):
            sing.send("blues")
            know.send()
            harness.join(broker)
        assert Counter(log.entries) == Counter(["blues", "know"])


def _message(actor: Any, *args: object) -> dramatiq.Message[Any]:
    """Of a step in a pipeline, to which the result of the step before is added."""
    message: dramatiq.Message[Any] = actor.message(*args)
    return message
