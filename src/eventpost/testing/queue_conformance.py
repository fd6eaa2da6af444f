"""What every queue system must do on its real server, as a test suite.

Subclass it, and give it a fixture `harness`, which makes a fresh queue for each test:

    @pytest.mark.slow
    class TestPigeons(QueueConformance):
        @pytest.fixture
        def harness(self, loft: Loft) -> Iterator[QueueHarness]:
            with PigeonHarness(loft) as harness:
                yield harness

Layer: testing. The contract is `queues.interfaces`, and the tests stand in the order of its words.
Servers count in real seconds: leases are as short as the harness says, and whatever comes is waited
for, not slept for. A test that a system's `Traits` make void passes at once.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from eventpost.core.outcomes import Delivered, Evidence, Failed, Fault, Outcome, Stage
from eventpost.queues.interfaces import (
    AttributeValue,
    Depth,
    Measurable,
    Message,
    Queue,
    Received,
    Settled,
    Verdict,
)


class QueueHarness(ABC):
    """One fresh queue on a real server, and what is particular about its system."""

    lease_s = 2.0
    """The shortest lease that survives the slowness of a test machine."""
    delay_s = 2.0
    """A delay well above the time that one request takes."""
    quiet_s = 1.5
    """How long what must not come is waited for."""
    patience_s = 60.0
    """Longer than anything takes that is waited for."""
    voids_old_receipts = True
    """Whether the server refuses the receipt of a message that was received anew. Emulators that do
    not are the reason for False; then only the message's fate is looked at, not the verdict."""
    hands_out_once = True
    """Whether two receives at the same time never get the same message. Emulators that look and
    then hide, in two steps, are the reason for False."""
    bodies: Sequence[bytes] = (
        b"plain",
        b"{}",
        b"",
        b" blank\tat both ends\n",
        "Ünïcödé \U0001f3b8 \u0416 \u4e2d".encode(),
        b"<&>\"'",
        bytes(range(256)),
    )
    """Bodies that go through unchanged."""
    keeps_content_type = False
    attributes: Mapping[str, AttributeValue] = {
        "genre": "blues",
        "city": "K\u00f6ln",
        "key": b"\0\xff",
    }
    """Attributes that come back under their names; numbers come back as text."""

    @abstractmethod
    def new_queue(self) -> Queue:
        """Another client of the one queue of this harness, with connections of its own. The harness
        closes it when it stops."""

    @abstractmethod
    def missing_queue(self) -> Queue:
        """A client of a queue that does not exist and is not made by using it."""

    @abstractmethod
    def stop(self) -> None:
        """Close all clients, and remove the queue."""

    def body_of_size(self, size: int) -> bytes:
        """A body with which a message counts `size` bytes by `Traits.message_bytes_max`."""
        return b"x" * size

    def monotonic_s(self) -> float:
        return time.monotonic()

    def pass_time(self, seconds: float) -> None:
        """Let the server's time pass."""
        time.sleep(max(0.0, seconds))

    def __enter__(self) -> "QueueHarness":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class QueueConformance:
    """Inherit, and define the fixture `harness`."""

    @pytest.fixture
    def harness(self) -> Iterator[QueueHarness]:
        raise NotImplementedError("define the fixture `harness`")

    @pytest.fixture
    def queue(self, harness: QueueHarness) -> Queue:
        return harness.new_queue()

    # --- traits -----------------------------------------------------------------------------------

    def test_traits(self, harness: QueueHarness, queue: Queue) -> None:
        """The traits are bounds that make sense; the identity is the queue's, not its client's."""
        traits = queue.traits
        counts = (traits.send_count_max, traits.receive_count_max, traits.batch_count_max)

        assert all(count >= 1 for count in counts)
        assert traits.message_bytes_max >= 1
        assert min(traits.wait_s_max, traits.delay_s_max, traits.release_delay_s_max) >= 0
        assert traits.lease_s_max > 0 or not traits.can_extend
        assert queue.identity.startswith(f"{traits.system}:")
        assert harness.new_queue().identity == queue.identity
        assert harness.missing_queue().identity != queue.identity

    def test_nothing_to_do(self, queue: Queue) -> None:
        """Calls without entries do nothing, and answer with nothing."""
        assert list(queue.send([])) == []
        assert list(queue.settle([])) == []
        assert list(queue.release([], 0.0)) == []
        if queue.traits.can_extend:
            assert list(queue.extend([], 10.0)) == []

    # --- send and receive -------------------------------------------------------------------------

    def test_round_trip(self, harness: QueueHarness, queue: Queue) -> None:
        """What was sent is received, with what the system says of it and a lease that holds."""
        send(queue, Message(body=b"Cross Road Blues"))

        [received] = take(harness, queue, 1)

        assert received.body == b"Cross Road Blues"
        assert bool(received.id) or not queue.traits.has_ids
        assert received.receive_count == (1 if queue.traits.has_receive_count else 0)
        assert not received.sent_ms or abs(received.sent_ms / 1000 - time.time()) < 600
        if queue.traits.lease_s_max:
            assert 0 < received.lease_until_s - harness.monotonic_s() <= LONG_S
        else:
            assert received.lease_until_s == float("inf")

    def test_bodies(self, harness: QueueHarness, queue: Queue) -> None:
        """Empty, binary and Unicode bodies go through byte for byte."""
        send(queue, *(Message(body=body) for body in harness.bodies))

        received = take(harness, queue, len(harness.bodies))

        assert sorted(one.body for one in received) == sorted(harness.bodies)

    def test_attributes(self, harness: QueueHarness, queue: Queue) -> None:
        """Attributes come back under their names, with their values, also beside an empty body."""
        send(queue, Message(body=b"{}", attributes=harness.attributes))

        [received] = take(harness, queue, 1)

        assert received.attributes.items() >= dict(harness.attributes).items()

    def test_content_type(self, harness: QueueHarness, queue: Queue) -> None:
        """A content type comes back, where the system has a place for it."""
        send(queue, Message(body=b"{}", content_type="application/cloudevents+json"))

        [received] = take(harness, queue, 1)

        kept = ["application/cloudevents+json"]
        assert received.content_type in (kept if harness.keeps_content_type else [*kept, ""])

    def test_many(self, harness: QueueHarness, queue: Queue) -> None:
        """More messages than travel as one request are sent and received, each once."""
        count = min(2 * queue.traits.send_count_max + 3, 50)
        send(queue, *(Message(body=str(number).encode()) for number in range(count)))

        received = take(harness, queue, count)

        assert sorted(int(one.body) for one in received) == list(range(count))
        settle(queue, received)
        nothing_comes(harness, queue)

    def test_a_page_is_bounded(self, harness: QueueHarness, queue: Queue) -> None:
        """No more messages come than were asked for."""
        send(queue, *(Message(body=str(number).encode()) for number in range(5)))

        sizes = [len(take_page(harness, queue, 2)) for _ in range(2)]

        assert all(1 <= size <= 2 for size in sizes)

    def test_an_empty_queue(self, harness: QueueHarness, queue: Queue) -> None:
        """From an empty queue nothing comes, after about the time that was asked for."""
        wait_s = min(1.0, queue.traits.wait_s_max)
        take_none(harness, queue, wait_s=wait_s)
        begin_s = harness.monotonic_s()

        take_none(harness, queue, wait_s=wait_s)

        waited_s = harness.monotonic_s() - begin_s
        assert wait_s * 0.5 <= waited_s <= wait_s + harness.patience_s / 2

    def test_a_wait_ends_with_a_message(self, harness: QueueHarness, queue: Queue) -> None:
        """A receive that waits returns when a message comes, not when its time is over."""
        wait_s = min(queue.traits.wait_s_max, harness.patience_s)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(take, harness, queue, 1, wait_s=wait_s)
            send(harness.new_queue(), Message(body=b"at last"))

            [received] = waiting.result(harness.patience_s)
        assert received.body == b"at last"

    # --- bounds -----------------------------------------------------------------------------------

    def test_the_largest_message(self, harness: QueueHarness, queue: Queue) -> None:
        """A message of exactly the bound goes; one byte more fails finally and is not sent."""
        size = queue.traits.message_bytes_max
        bodies = [harness.body_of_size(size + more) for more in (-1, 0, 1)]

        *small, large = queue.send([Message(body=body) for body in bodies])

        assert all(isinstance(one, Delivered) for one in small), small
        assert isinstance(large, Failed)
        assert large.final
        assert large.evidence.fault is Fault.TOO_LARGE
        check_evidence(large.evidence, queue, "send")
        received = take(harness, queue, 2)
        assert {len(one.body) for one in received} == {len(body) for body in bodies[:2]}
        settle(queue, received)
        nothing_comes(harness, queue)

    def test_a_batch_of_large_messages(self, harness: QueueHarness, queue: Queue) -> None:
        """Messages that are too large together are sent all the same, in several requests."""
        bodies = [harness.body_of_size(queue.traits.message_bytes_max // 2)] * 4

        send(queue, *(Message(body=body) for body in bodies))

        assert [one.body for one in take(harness, queue, 4)] == bodies

    def test_one_bad_message_of_many(self, harness: QueueHarness, queue: Queue) -> None:
        """One message that cannot go fails alone: the others of the call are sent."""
        large = harness.body_of_size(queue.traits.message_bytes_max + 1)
        bodies = [b"first", large, b"second"]

        first, bad, second = queue.send([Message(body=body) for body in bodies])

        assert isinstance(first, Delivered)
        assert isinstance(bad, Failed)
        assert isinstance(second, Delivered)
        assert sorted(one.body for one in take(harness, queue, 2)) == [b"first", b"second"]

    # --- delays -----------------------------------------------------------------------------------

    def test_a_delayed_send(self, harness: QueueHarness, queue: Queue) -> None:
        """A delayed message comes after its delay, and not before."""
        if not queue.traits.delay_s_max:
            return
        begin_s = harness.monotonic_s()
        send(queue, Message(body=b"later", delay_s=harness.delay_s), Message(body=b"now"))

        bodies = [one.body for one in take(harness, queue, 2)]

        assert bodies == [b"now", b"later"]
        assert harness.monotonic_s() - begin_s >= harness.delay_s / 2

    def test_too_long_a_delay(self, harness: QueueHarness, queue: Queue) -> None:
        """A delay beyond the bound is refused finally: nothing comes earlier than was asked."""
        delay_s = queue.traits.delay_s_max + 1

        [outcome] = queue.send([Message(body=b"never", delay_s=delay_s)])

        assert isinstance(outcome, Failed)
        assert outcome.final
        check_evidence(outcome.evidence, queue, "send")
        nothing_comes(harness, queue)

    # --- settle -----------------------------------------------------------------------------------

    def test_settled(self, harness: QueueHarness, queue: Queue) -> None:
        """What is settled never comes again, not after its lease and not to another client."""
        send(queue, Message(body=b"done"))
        received = take(harness, queue, 1, lease_s=harness.lease_s)

        settle(queue, received)

        nothing_comes(harness, let_go(harness, queue, received))

    def test_settled_without_its_body(self, harness: QueueHarness, queue: Queue) -> None:
        """A copy that lost its body settles as the message itself does."""
        send(queue, Message(body=b"done", attributes=harness.attributes))
        received = take(harness, queue, 1, lease_s=harness.lease_s)

        settle(queue, [bare(one) for one in received])

        nothing_comes(harness, let_go(harness, queue, received))

    def test_settled_twice(self, harness: QueueHarness, queue: Queue) -> None:
        """Settling once more is no failure."""
        send(queue, Message(body=b"done"))
        received = take(harness, queue, 1)
        settle(queue, received)

        [verdict] = queue.settle(received)

        assert isinstance(verdict, Settled), verdict

    def test_what_is_not_settled_comes_again(self, harness: QueueHarness, queue: Queue) -> None:
        """When its lease has ended a message comes again: the same id, and counted once more."""
        send(queue, Message(body=b"again", attributes=harness.attributes))
        [first] = take(harness, queue, 1, lease_s=harness.lease_s)

        queue = let_go(harness, queue, [first])
        [second] = take(harness, queue, 1)

        assert second.body == b"again"
        assert second.attributes.items() >= dict(harness.attributes).items()
        assert second.id == first.id or not queue.traits.has_ids
        assert second.receive_count == (2 if queue.traits.has_receive_count else 0)
        settle(queue, [second])

    def test_settling_others_settles_only_them(self, harness: QueueHarness, queue: Queue) -> None:
        """What was not settled comes again, whatever was settled before and after it."""
        send(queue, *(Message(body=body) for body in (b"0", b"1", b"2")))
        received = take(harness, queue, 3, lease_s=harness.lease_s)
        received.sort(key=lambda one: one.body)
        kept = received.pop(1)
        settle(queue, received)

        queue = let_go(harness, queue, [kept])

        again = take(harness, queue, 1)
        assert [one.body for one in again] == [b"1"]

    def test_hidden_while_it_is_held(self, harness: QueueHarness, queue: Queue) -> None:
        """Nobody else gets a message while its lease holds."""
        send(queue, Message(body=b"mine"))
        take(harness, queue, 1)

        nothing_comes(harness, harness.new_queue())

    # --- extend -----------------------------------------------------------------------------------

    def test_extended(self, harness: QueueHarness, queue: Queue) -> None:
        """A lease that is extended again and again holds, and its message settles in the end."""
        if not queue.traits.can_extend:
            return
        send(queue, *(Message(body=str(number).encode()) for number in range(3)))
        held = take(harness, queue, 3, lease_s=harness.lease_s)
        other = harness.new_queue()
        for _ in range(4):
            harness.pass_time(harness.lease_s / 2)
            before_s = [one.lease_until_s for one in held]

            verdicts = queue.extend(held, harness.lease_s)

            assert list(verdicts) == [Settled.DONE] * 3
            after_s = [one.lease_until_s for one in held]
            assert all(after > before for after, before in zip(after_s, before_s, strict=True))
            take_none(harness, other, wait_s=0.0)
        settle(queue, held)
        harness.pass_time(harness.lease_s)
        nothing_comes(harness, other)

    def test_extended_without_its_body(self, harness: QueueHarness, queue: Queue) -> None:
        """A copy that lost its body is extended as the message itself, and then settles."""
        if not queue.traits.can_extend:
            return
        send(queue, Message(body=b"mine"))
        held = [bare(one) for one in take(harness, queue, 1)]

        assert list(queue.extend(held, LONG_S)) == [Settled.DONE]
        settle(queue, held)

    def test_extending_what_is_gone(self, harness: QueueHarness, queue: Queue) -> None:
        """Extending a settled message is no failure: there is nothing left to hold."""
        if not queue.traits.can_extend:
            return
        send(queue, Message(body=b"gone"))
        held = take(harness, queue, 1)
        settle(queue, held)

        [verdict] = queue.extend(held, LONG_S)

        assert isinstance(verdict, Settled), verdict

    # --- leases that were lost --------------------------------------------------------------------

    def test_an_old_receipt(self, harness: QueueHarness, queue: Queue) -> None:
        """Once somebody else has the message, an old receipt neither holds nor settles it."""
        if not queue.traits.lease_s_max:
            return
        lost, other, fresh = self.lose(harness, queue)

        verdicts = list(queue.settle([lost]))
        if queue.traits.can_extend:
            verdicts += queue.extend([lost], LONG_S)

        assert all(isinstance(verdict, Settled) for verdict in verdicts), verdicts
        if harness.voids_old_receipts:
            assert Settled.LOST in verdicts
            assert list(other.extend([fresh], LONG_S)) == [Settled.DONE]
        settle(other, [fresh])

    def test_one_lost_lease_of_many(self, harness: QueueHarness, queue: Queue) -> None:
        """One entry that is lost fails alone: the others of the call are settled."""
        if not queue.traits.lease_s_max:
            return
        lost, other, fresh = self.lose(harness, queue)
        send(queue, Message(body=b"1"), Message(body=b"2"))
        first, second = take(harness, queue, 2, lease_s=harness.lease_s)

        verdicts = list(queue.settle([first, lost, second]))

        assert verdicts[0] is verdicts[2] is Settled.DONE
        assert isinstance(verdicts[1], Settled)
        settle(other, [fresh])
        nothing_comes(harness, let_go(harness, queue, [first, second]))

    def lose(self, harness: QueueHarness, queue: Queue) -> tuple[Received, Queue, Received]:
        """A message whose lease ran out, and how another client received it."""
        send(queue, Message(body=b"lost"))
        [lost] = take(harness, queue, 1, lease_s=harness.lease_s)
        let_go(harness, queue, [lost])
        other = harness.new_queue()
        [fresh] = take(harness, other, 1)
        return lost, other, fresh

    # --- release ----------------------------------------------------------------------------------

    def test_released(self, harness: QueueHarness, queue: Queue) -> None:
        """What is released comes again at once, long before its lease has ended."""
        send(queue, *(Message(body=str(number).encode()) for number in range(3)))
        held = take(harness, queue, 3)

        assert list(queue.release(held, 0.0)) == [Settled.DONE] * 3

        again = take(harness, queue, 3)
        assert sorted(one.body for one in again) == [b"0", b"1", b"2"]
        if queue.traits.has_ids and not queue.traits.is_log:
            assert {one.id for one in again} == {one.id for one in held}
        if queue.traits.has_receive_count:
            assert {one.receive_count for one in again} == {2}
        settle(queue, again)
        nothing_comes(harness, queue)

    def test_released_with_a_delay(self, harness: QueueHarness, queue: Queue) -> None:
        """What is released with a delay comes after it, and not before."""
        if not queue.traits.release_delay_s_max:
            return
        send(queue, Message(body=b"later", attributes=harness.attributes))
        held = take(harness, queue, 1)
        begin_s = harness.monotonic_s()

        assert list(queue.release(held, harness.delay_s)) == [Settled.DONE]

        [again] = take(harness, queue, 1)
        assert harness.monotonic_s() - begin_s >= harness.delay_s / 2
        assert again.body == b"later"
        assert again.attributes.items() >= dict(harness.attributes).items()
        settle(queue, [again])

    def test_released_for_too_long(self, harness: QueueHarness, queue: Queue) -> None:
        """A release beyond the longest delay is cut to it: the message is not lost."""
        if not queue.traits.release_delay_s_max:
            return
        send(queue, Message(body=b"much later"))
        held = take(harness, queue, 1)

        delay_s = queue.traits.release_delay_s_max + 1000

        assert list(queue.release(held, delay_s)) == [Settled.DONE]

    # --- wake, close, threads ---------------------------------------------------------------------

    def test_wake(self, harness: QueueHarness, queue: Queue) -> None:
        """A waiting receive returns when it is woken, and the queue works on."""
        self.end_a_wait(harness, queue, queue.wake)

        send(queue, Message(body=b"still here"))
        assert [one.body for one in take(harness, queue, 1)] == [b"still here"]

    def test_close_while_waiting(self, harness: QueueHarness, queue: Queue) -> None:
        """A waiting receive returns when its queue is closed."""
        self.end_a_wait(harness, queue, queue.close)

    def end_a_wait(self, harness: QueueHarness, queue: Queue, end: Callable[[], None]) -> None:
        is_asked = threading.Event()

        def wait() -> list[Received] | Failed:
            is_asked.set()
            return queue.receive(1, harness.patience_s, LONG_S)

        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(wait)
            is_asked.wait()
            begin_s = harness.monotonic_s()
            while not waiting.done():  # a call that comes before the wait has begun is forgotten
                end()
                harness.pass_time(0.05)
            assert harness.monotonic_s() - begin_s < harness.patience_s / 2
            page = waiting.result()
        assert page == [] or isinstance(page, Failed)

    def test_closed(self, harness: QueueHarness, queue: Queue) -> None:
        """After `close`, which may be called twice, every call fails and none raises or hangs."""
        send(queue, Message(body=b"1"))
        held = take(harness, queue, 1)
        queue.close()
        queue.close()

        [outcome] = queue.send([Message(body=b"2")])
        verdicts = [*queue.settle(held), *queue.release(held, 0.0)]
        if queue.traits.can_extend:
            verdicts += queue.extend(held, LONG_S)

        assert isinstance(outcome, Failed)
        assert isinstance(queue.receive(1, 0.0, LONG_S), Failed)
        assert all(verdict is not Settled.DONE for verdict in verdicts)
        queue.wake()

    def test_many_threads(self, harness: QueueHarness, queue: Queue) -> None:
        """Many threads send, receive and settle at once: every message is taken exactly once."""
        bodies = [str(number).encode() for number in range(100)]
        taken: list[bytes] = []
        end_s = harness.monotonic_s() + harness.patience_s

        def receive(_: int) -> None:
            while len(taken) < len(bodies):
                assert harness.monotonic_s() < end_s, f"only {len(taken)} came"
                page = queue.receive(7, min(0.2, queue.traits.wait_s_max), LONG_S)
                assert isinstance(page, list), page
                taken.extend(one.body for one in page)
                settle(queue, page)

        with ThreadPoolExecutor(8) as pool:
            parts = [bodies[start::4] for start in range(4)]
            sending = [
                pool.submit(send, queue, *(Message(body=body) for body in part)) for part in parts
            ]
            receiving = [pool.submit(receive, number) for number in range(4)]
            for future in [*sending, *receiving]:
                future.result()

        assert set(taken) == set(bodies)
        if harness.hands_out_once:
            assert Counter(taken) == Counter(bodies)

    # --- probe ------------------------------------------------------------------------------------

    def test_a_good_probe(self, harness: QueueHarness, queue: Queue) -> None:
        """A probe finds every rung good, and leaves the messages as they were."""
        send(queue, Message(body=b"untouched"))

        rungs = queue.probe()

        assert rungs
        assert [rung for rung in rungs if rung.failed] == []
        [received] = take(harness, queue, 1)
        assert received.receive_count == (1 if queue.traits.has_receive_count else 0)

    def test_a_probe_of_nothing(self, harness: QueueHarness) -> None:
        """A probe of a queue that is not there stops at a rung that fails, with evidence."""
        queue = harness.missing_queue()

        *good, bad = queue.probe()

        assert [rung for rung in good if rung.failed] == []
        assert bad.failed is not None
        check_evidence(bad.failed.evidence, queue, None)

    def test_its_depth(self, harness: QueueHarness, queue: Queue) -> None:
        """A queue that can say how much it holds says so: what was sent, less what is settled or,
        where it does not count them, held."""
        if not isinstance(queue, Measurable):
            return
        send(queue, *(Message(body=b"%d" % n) for n in range(3)))
        wait_for_depth(harness, queue, 3)

        held = take(harness, queue, 3)
        depth = queue.depth()
        assert isinstance(depth, Depth)
        wait_for_depth(harness, queue, 3 if depth.includes_held else 0)
        settle(queue, held)

        wait_for_depth(harness, queue, 0)
        missing = harness.missing_queue()
        assert isinstance(missing, Measurable)
        unknown = missing.depth()
        assert isinstance(unknown, Failed)
        check_evidence(unknown.evidence, queue, None)

    def test_a_missing_queue(self, harness: QueueHarness) -> None:
        """Calls to a queue that is not there fail in seconds, and say why."""
        queue = harness.missing_queue()
        end_s = harness.monotonic_s() + harness.patience_s

        [outcome] = queue.send([Message(body=b"lost?")])
        page = queue.receive(1, 0.0, LONG_S)
        while page == []:
            page = queue.receive(1, 0.5, LONG_S)
            assert harness.monotonic_s() < end_s, "receiving never failed"

        assert isinstance(outcome, Failed)
        assert isinstance(page, Failed)
        check_evidence(outcome.evidence, queue, "send")
        check_evidence(page.evidence, queue, "receive")
        assert harness.monotonic_s() < end_s


DEPTH_S = 0.1
LONG_S = 60.0
"""A lease that outlives a test."""


def send(queue: Queue, *messages: Message) -> None:
    """Send, and see that all were taken."""
    outcomes: Sequence[Outcome] = queue.send(messages)
    assert len(outcomes) == len(messages)
    assert [one for one in outcomes if not isinstance(one, Delivered)] == []


def settle(queue: Queue, held: Sequence[Received]) -> None:
    """Settle, and see that it was done."""
    verdicts: Sequence[Verdict] = queue.settle(held)
    assert list(verdicts) == [Settled.DONE] * len(held)


def take(
    harness: QueueHarness,
    queue: Queue,
    count: int,
    *,
    lease_s: float = LONG_S,
    wait_s: float = 1.0,
) -> list[Received]:
    """Receive until `count` messages have come."""
    end_s = harness.monotonic_s() + harness.patience_s
    taken: list[Received] = []
    while len(taken) < count:
        page = queue.receive(count - len(taken), min(wait_s, queue.traits.wait_s_max), lease_s)
        assert isinstance(page, list), page
        assert len(page) <= count - len(taken)
        taken += page
        assert page or harness.monotonic_s() < end_s, f"only {len(taken)} of {count} came"
        if not page:
            harness.pass_time(0.02)
    return taken


def take_page(harness: QueueHarness, queue: Queue, count_max: int) -> list[Received]:
    """The next page that is not empty."""
    end_s = harness.monotonic_s() + harness.patience_s
    while True:
        page = queue.receive(count_max, min(1.0, queue.traits.wait_s_max), LONG_S)
        assert isinstance(page, list), page
        if page:
            return page
        assert harness.monotonic_s() < end_s, "nothing came"
        harness.pass_time(0.02)


def take_none(harness: QueueHarness, queue: Queue, *, wait_s: float) -> None:
    """Ask once, and see that nothing comes."""
    page = queue.receive(1, wait_s, harness.lease_s)
    assert page == [], page


def nothing_comes(harness: QueueHarness, queue: Queue) -> None:
    """Ask for a while, and see that nothing comes."""
    end_s = harness.monotonic_s() + harness.quiet_s
    while harness.monotonic_s() < end_s:
        take_none(harness, queue, wait_s=min(harness.quiet_s / 2, queue.traits.wait_s_max))
        harness.pass_time(0.05)


def wait_for_depth(harness: QueueHarness, queue: Measurable, total: int) -> None:
    """Services count in their own time, and may not be able to at first."""
    end_s = harness.monotonic_s() + harness.patience_s
    while True:
        depth = queue.depth()
        if isinstance(depth, Depth) and depth.total == total:
            return
        assert harness.monotonic_s() < end_s, f"{depth} instead of {total}"
        harness.pass_time(DEPTH_S)


def let_go(harness: QueueHarness, queue: Queue, held: Sequence[Received]) -> Queue:
    """Let end whatever holds them; a client that can receive them again."""
    if queue.traits.lease_s_max:
        harness.pass_time(max(one.lease_until_s for one in held) - harness.monotonic_s())
        return queue
    queue.close()
    return harness.new_queue()


def bare(one: Received) -> Received:
    """A copy as the lease engine keeps it of what is finished."""
    return msgspec.structs.replace(one, body=b"", attributes={}, system_attributes={})


def check_evidence(evidence: Evidence, queue: Queue, operation: str | None) -> None:
    """What every failure of a service says."""
    assert evidence.system == queue.traits.system
    assert operation is None or evidence.operation == operation
    assert evidence.fault is not Fault.UNEXPECTED, evidence
    assert evidence.stage is not Stage.ANSWER or evidence.code or evidence.status, evidence
