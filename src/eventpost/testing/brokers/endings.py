"""What does not end well: dead letters, and why each is one.

Layer: testing.
"""

import json

import dramatiq

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Received
from eventpost.testing.brokers.harness import BrokerHarness, Log
from eventpost.workers.broker import LeaseBroker
from eventpost.workers.deadletters import Reason, revived


class Endings:
    def test_used_up_retries_end_as_a_dead_letter(self, harness: BrokerHarness) -> None:
        """With its reason, its error and its counts; what was sent can be sent again."""
        broker, log = harness.new_broker(), Log()

        @dramatiq.actor(broker=broker, min_backoff=10, max_backoff=20, max_retries=2)
        def fails(number: int) -> None:
            log.add(number)
            raise ValueError("no such song")

        message = fails.send(7)
        with harness.working(broker):
            harness.join(broker)

        [letter] = harness.buried(broker, "default")
        assert letter.story is not None
        assert log.entries == [7, 7, 7]
        assert (letter.story.reason, letter.story.finding) == (Reason.FAILED, "EP5013")
        assert letter.story.error == "ValueError: no such song"
        assert (letter.story.retries, letter.story.queue) == (3, "default")
        assert (letter.actor, letter.message_id) == ("fails", message.message_id)
        again = json.loads(revived(letter))
        assert (again["args"], again["options"]) == ([7], {})

    def test_what_cannot_be_decoded_is_a_dead_letter(self, harness: BrokerHarness) -> None:
        """Poison stops nothing, and is kept byte for byte."""
        broker, log = harness.new_broker(), Log()

        @dramatiq.actor(broker=broker)
        def note() -> None:
            log.add("ran")

        harness.put(broker, "default", b"a song, not JSON")
        harness.put(broker, "default", b'{"queue_name": "default"}')
        note.send()
        with harness.working(broker):
            harness.join(broker)

        letters = harness.buried(broker, "default", 2)
        assert log.entries == ["ran"]
        assert {one.body for one in letters} == {b"a song, not JSON", b'{"queue_name": "default"}'}
        for letter in letters:
            assert letter.story is not None
            assert (letter.story.reason, letter.story.finding) == (Reason.UNDECODABLE, "EP5010")

    def test_an_unknown_actor_is_a_dead_letter(self, harness: BrokerHarness) -> None:
        """It names the actor that nobody declares."""
        broker = harness.new_broker()

        @dramatiq.actor(broker=broker)
        def known() -> None:
            pass

        broker.enqueue(known.message().copy(actor_name="unknown"))
        with harness.working(broker):
            harness.join(broker)

        [letter] = harness.buried(broker, "default")
        assert letter.story is not None
        assert (letter.story.reason, letter.story.finding) == (Reason.UNKNOWN_ACTOR, "EP5011")
        assert letter.actor == "unknown"

    def test_too_many_receives_end_as_a_dead_letter(self, harness: BrokerHarness) -> None:
        """A message that somebody took again and again, without finishing it, does not run."""
        broker, log = self._after_two_receives(harness, receives_max=2)
        if broker is None:
            return
        with harness.working(broker):
            harness.join(broker)

        [letter] = harness.buried(broker, "default")
        assert letter.story is not None
        assert (letter.story.reason, letter.story.finding) == (Reason.RECEIVED_TOO_OFTEN, "EP5012")
        assert letter.story.receives == 3
        assert log.entries == []

    def test_as_many_receives_as_allowed_are_none_too_many(self, harness: BrokerHarness) -> None:
        """At the bound itself a message still runs."""
        broker, log = self._after_two_receives(harness, receives_max=3)
        if broker is None:
            return
        with harness.working(broker):
            harness.join(broker)
        assert log.entries == ["ran"]

    def test_what_was_given_back_on_purpose_is_not_counted(self, harness: BrokerHarness) -> None:
        """Hops of a delay say nothing against a message."""
        broker, log = harness.new_broker(receives_max=1), Log()

        @dramatiq.actor(broker=broker)
        def note() -> None:
            log.add("ran")

        with harness.working(broker):
            note.send_with_options(delay=4_900)
            harness.join(broker)
        assert log.entries == ["ran"]

    def _after_two_receives(
        self, harness: BrokerHarness, *, receives_max: int
    ) -> tuple[LeaseBroker | None, Log]:
        """A broker whose one message was taken twice, as by processes that were killed; None where
        the system does not count."""
        broker, log = harness.new_broker(receives_max=receives_max), Log()

        @dramatiq.actor(broker=broker)
        def note() -> None:
            log.add("ran")

        note.send()
        queue = broker.open_queue("default")
        for _ in range(2 if queue.traits.has_receive_count else 0):
            page: list[Received] | Failed = []
            while not page:
                page = queue.receive(1, 1.0, 10.0)
            assert not isinstance(page, Failed), page
            queue.release(page, 0.0)
        queue.close()
        return (broker if queue.traits.has_receive_count else None), log
