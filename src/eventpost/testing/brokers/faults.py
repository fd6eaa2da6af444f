"""What the service refuses, loses or forgets: nothing is lost, wedged, or run twice.

Layer: testing.
"""

import os
import threading
import time
from collections import Counter
from typing import Any

import dramatiq

from eventpost.testing.brokers.harness import BrokerHarness, Log
from eventpost.workers.broker import LeaseBroker
from eventpost.workers.limits import WorkerLimits

JOBS = range(30)
"""More than are fetched ahead, several times."""


class Hearing:
    """A middleware that takes down what the broker tells."""

    actor_options: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.told: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("on_"):
            return lambda _broker, *args: self.told.append((name, args))
        if name.startswith(("before_", "after_")):
            return lambda *_args, **_kwargs: None
        raise AttributeError(name)

    def names(self) -> set[str]:
        return {name for name, _ in self.told}


class Faults:
    def test_work_longer_than_the_lease_runs_once(self, harness: BrokerHarness) -> None:
        """Leases of what runs and of what waits are extended: a second worker gets none of it."""
        broker, log = harness.new_broker(), Log()
        other = harness.new_broker(ledger=harness.ledger.with_name("another"))
        for each in (broker, other):
            _noting(each, log, seconds=harness.lease_s * 1.8)

        note = broker.get_actor("note")
        for number in range(4):
            note.send(number)
        with harness.working(broker, threads=2):
            harness.until(lambda: len(log.entries) >= 2)
            if harness.holds_for_good:
                with harness.working(other, threads=2):
                    harness.join(broker)
            harness.join(broker)
        assert Counter(_ended(log)) == Counter(range(4))
        assert Counter(_begun(log)) == Counter(range(4))

    def test_refused_deletes_repeat_nothing(self, harness: BrokerHarness) -> None:
        """While deletes are refused every job runs, once; then all are deleted."""
        hearing = Hearing()
        broker, log = harness.new_broker(), Log()
        broker.add_middleware(hearing)  # type: ignore[arg-type]  # by its hooks alone
        _noting(broker, log)
        refusing = harness.refusing("settle")
        if refusing is None:
            return
        note = broker.get_actor("note")
        with harness.working(broker):
            with refusing:
                for number in JOBS:
                    note.send(number)
                harness.until(lambda: len(_ended(log)) >= len(JOBS))
                _pass(3 * harness.lease_s)
                assert Counter(_begun(log)) == Counter(JOBS)
            harness.join(broker)
        assert Counter(_begun(log)) == Counter(JOBS)
        assert {"on_ack_error", "on_ack_pending", "on_ack_recovered"} <= hearing.names()

    def test_finished_is_known_to_the_next_process(self, harness: BrokerHarness) -> None:
        """What finished and was never deleted does not run on the same ledger, and is deleted with
        its fresh receipt; on another ledger it would."""
        # What waits to be deleted is to come again soon, also where its lease is extended before
        # the broker is closed.
        limits = WorkerLimits(drain_s=0.2, pending_lease_s=harness.lease_s)
        broker, log = harness.new_broker(limits=limits), Log()
        _noting(broker, log)
        refusing = harness.refusing("settle")
        if refusing is None:
            return
        note = broker.get_actor("note")
        with refusing:
            for number in range(5):
                note.send(number)
            with harness.working(broker):
                harness.until(lambda: len(_ended(log)) >= 5)
            broker.close()

        hearing = Hearing()
        heir = harness.new_broker()
        heir.add_middleware(hearing)  # type: ignore[arg-type]  # by its hooks alone
        _noting(heir, log)
        with harness.working(heir):
            harness.join(heir)
        assert Counter(_begun(log)) == Counter(range(5))
        again = [args for name, args in hearing.told if name == "on_redelivered_finished"]
        assert len(again) == 5

    def test_a_refused_retry_is_not_lost(self, harness: BrokerHarness) -> None:
        """When a retry cannot be sent, the message itself comes again after the back-off."""
        hearing = Hearing()
        broker, log = harness.new_broker(), Log()
        broker.add_middleware(hearing)  # type: ignore[arg-type]  # by its hooks alone
        refusing = harness.refusing("send")
        if refusing is None:
            return

        @dramatiq.actor(broker=broker, min_backoff=1_000, max_backoff=1_000)
        def unsure() -> None:
            log.add("tried")
            if len(log.entries) < 3:
                raise ValueError("not yet")

        unsure.send()
        with harness.working(broker), refusing:
            harness.join(broker)
        assert log.entries == ["tried"] * 3
        assert {"on_enqueue_error", "on_held_back"} <= hearing.names()

    def test_a_refused_continuation_is_not_lost(self, harness: BrokerHarness) -> None:
        """When the next step of a pipeline cannot be sent, the step before is not finished."""
        limits = WorkerLimits(guard_delay_s=1.0)
        broker, log = harness.new_broker(limits=limits), Log()
        refusing = harness.refusing("send")
        if refusing is None:
            return

        @dramatiq.actor(broker=broker)
        def step(number: int) -> int:
            log.add(number)
            return number + 1

        rest: dramatiq.Message[int] = step.message_with_options(args=())
        pipe = dramatiq.pipeline([step.message(1), rest], broker=broker)
        pipe.run()
        with harness.working(broker):
            with refusing:
                harness.until(lambda: len(log.entries) >= 2)
            harness.until(lambda: 2 in log.entries)
            harness.join(broker)
        assert set(log.entries) == {1, 2}

    def test_a_refused_dead_letter_is_not_lost(self, harness: BrokerHarness) -> None:
        """When its copy cannot be sent, the message stays, does not run again, and is moved as soon
        as that works."""
        broker, log = harness.new_broker(limits=WorkerLimits(bury_delay_s=1.0)), Log()
        refusing = harness.refusing("send", broker.dead_letters("default"))
        if refusing is None:
            return

        @dramatiq.actor(broker=broker, max_retries=0)
        def fails() -> None:
            log.add("ran")
            raise ValueError("no")

        hearing = Hearing()
        broker.add_middleware(hearing)  # type: ignore[arg-type]  # by its hooks alone
        fails.send()
        with harness.working(broker):
            with refusing:
                harness.until(lambda: _count(hearing, "on_held_back") >= 2)
            harness.join(broker)
        assert log.entries == ["ran"]
        harness.buried(broker, "default")

    def test_refused_receives_pass(self, harness: BrokerHarness) -> None:
        """While nothing can be received the worker lives on, tells it, and goes on by itself."""
        hearing = Hearing()
        broker, log = harness.new_broker(), Log()
        broker.add_middleware(hearing)  # type: ignore[arg-type]  # by its hooks alone
        _noting(broker, log)
        refusing = harness.refusing("receive")
        if refusing is None:
            return
        with harness.working(broker) as worker:
            with refusing:
                broker.get_actor("note").send(1)
                harness.until(lambda: "on_receive_error" in hearing.names())
            harness.join(broker)
            assert worker.consumers["default"].is_alive()
        assert _ended(log) == [1]
        assert "on_receive_recovered" in hearing.names()

    def test_forbidden_extensions_are_told_once(self, harness: BrokerHarness) -> None:
        """Who may not extend is told so once, and short work is done all the same."""
        hearing = Hearing()
        broker, log = harness.new_broker(), Log()
        broker.add_middleware(hearing)  # type: ignore[arg-type]  # by its hooks alone
        _noting(broker, log, seconds=harness.lease_s * 0.6)
        refusing = harness.refusing("extend")
        if refusing is None:
            return
        note = broker.get_actor("note")
        with refusing, harness.working(broker, threads=1):
            for number in range(3):
                note.send(number)
            harness.until(lambda: len(set(_ended(log))) >= 3)
        assert _count(hearing, "on_extend_forbidden") == 1

    def test_a_forked_child_opens_its_own(self, harness: BrokerHarness) -> None:
        """A process that forks after it used its broker keeps working, and so does its child."""
        broker, log = harness.new_broker(), Log()
        _noting(broker, log)
        note = broker.get_actor("note")
        note.send(1)

        child = os.fork()
        if child == 0:
            _in_child(broker, 2)
        _, status = os.waitpid(child, 0)
        assert status == 0
        note.send(3)
        with harness.working(broker):
            harness.join(broker)
        assert Counter(_ended(log)) == Counter([1, 2, 3])


def _in_child(broker: LeaseBroker, number: int) -> None:
    """Send, and leave without running what the parent would run at its end."""
    status = 1
    try:
        broker.get_actor("note").send(number)
        broker.close()
        status = 0
    finally:
        os._exit(status)


def _noting(broker: LeaseBroker, log: Log, seconds: float = 0.0) -> None:
    @dramatiq.actor(broker=broker)
    def note(number: int) -> None:
        log.add(("begun", number))
        time.sleep(seconds)
        log.add(("ended", number))


def _begun(log: Log) -> list[int]:
    return [number for what, number in log.entries if what == "begun"]


def _ended(log: Log) -> list[int]:
    return [number for what, number in log.entries if what == "ended"]


def _count(hearing: Hearing, name: str) -> int:
    return [told for told, _ in hearing.told].count(name)


def _pass(seconds: float) -> None:
    """Let the service's leases run out, if nobody extends them."""
    threading.Event().wait(seconds)
