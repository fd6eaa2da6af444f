"""Delays of any length, and retries.

Layer: testing.
"""

import time
from collections import Counter

import dramatiq
from dramatiq import Message

from eventpost.testing.brokers.harness import BrokerHarness, Log

EARLY_S = 0.002
"""Times of messages are cut to milliseconds."""


class Times:
    def test_a_delay_is_kept(self, harness: BrokerHarness) -> None:
        """Milliseconds and seconds, none early; a delay of 0 is none."""
        broker, log = harness.new_broker(), Log()

        @dramatiq.actor(broker=broker)
        def note(delay_ms: int) -> None:
            log.add(delay_ms)

        delays = [0, 120, 900, 1_600, 3_300]
        with harness.working(broker):
            note.send(-1)
            harness.join(broker)  # a group of Kafka takes seconds to come together
            began_s = time.time()
            for delay in delays:
                note.send_with_options(args=(delay,), delay=delay)
            harness.join(broker)

        assert Counter(log.entries) == Counter([-1, *delays])
        for delay in delays:
            at_s = log.time_of(delay)
            assert at_s >= began_s + delay / 1000 - EARLY_S, delay

    def test_a_long_delay_waits_in_the_queue(self, harness: BrokerHarness) -> None:
        """Of any length: it is neither refused, nor held by a worker, nor does it run."""
        broker, log = harness.new_broker(), Log()

        @dramatiq.actor(broker=broker)
        def note(text: str) -> None:
            log.add(text)

        with harness.working(broker):
            for hours in (1, 24, 24 * 30, 24 * 365):
                note.send_with_options(args=("late",), delay=hours * 3_600_000)
            note.send("now")
            harness.until(lambda: "now" in log.entries)
            reception = broker._channels.receiving("default")
            assert reception is not None
            harness.until(lambda: reception.leases.stats().held == 0)
        assert log.entries == ["now"]

    def test_a_delay_that_others_wrote_is_kept(self, harness: BrokerHarness) -> None:
        """A message that comes with a time ahead of it runs at that time."""
        broker, log = harness.new_broker(), Log()

        @dramatiq.actor(broker=broker)
        def note() -> None:
            log.add("ran")

        due_s = time.time() + 3.5
        message: Message[None] = note.message().copy(options={"eta": int(due_s * 1000)})
        harness.put(broker, "default", bytes(message.encode()))
        with harness.working(broker):
            harness.join(broker)
        assert log.time_of("ran") >= due_s - EARLY_S

    def test_a_failed_job_is_tried_again(self, harness: BrokerHarness) -> None:
        """With the stock Retries middleware: after its back-off, until it works."""
        broker, log = harness.new_broker(), Log()

        @dramatiq.actor(broker=broker, min_backoff=50, max_backoff=100, max_retries=5)
        def unsure() -> None:
            log.add("tried")
            if len(log.entries) < 3:
                raise ValueError("not yet")

        unsure.send()
        with harness.working(broker):
            harness.join(broker)
        assert log.entries == ["tried"] * 3

    def test_a_retry_may_say_its_delay(self, harness: BrokerHarness) -> None:
        """What an actor raises as `Retry` names the delay of its next run."""
        broker, log = harness.new_broker(), Log()

        @dramatiq.actor(broker=broker)
        def later() -> None:
            log.add(len(log.entries))
            if len(log.entries) == 1:
                raise dramatiq.Retry("later", delay=1_200)

        later.send()
        with harness.working(broker):
            harness.join(broker)
        assert log.entries == [0, 1]
        assert log.time_of(1) - log.time_of(0) >= 1.2 - EARLY_S
