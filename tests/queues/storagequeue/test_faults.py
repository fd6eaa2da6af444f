"""What goes wrong between Azure Storage and us, by a proxy in front of Azurite."""

from collections.abc import Iterator

import pytest

from eventpost.core.outcomes import Delivered, Failed, Fault, Stage
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message, Settled
from eventpost.queues.storagequeue import StorageQueue
from eventpost.testing.fault_proxy import HANG_AFTER, RESET_AFTER, RESET_BEFORE, FaultProxy
from eventpost.testing.proxied_http import Asked
from eventpost.testing.queue_conformance import nothing_comes, send, settle, take
from eventpost.testing.service_refusals import AZURE_BUSY, AZURE_FORBIDDEN, AZURE_NO_ROLE
from tests.queues.storagequeue.azure import AzureHarness, session_on
from tests.services.azurite import Azurite

pytestmark = pytest.mark.slow
LARGE = b"a long song " * 10_000


@pytest.fixture
def proxy(azurite: Azurite) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", azurite.ports["queue"]) as proxy:
        yield proxy


@pytest.fixture
def harness(azurite: Azurite) -> Iterator[AzureHarness]:
    with AzureHarness(azurite, claim_check="claims-behind-a-proxy", create="auto") as harness:
        yield harness


@pytest.fixture
def queue(harness: AzureHarness, proxy: FaultProxy) -> StorageQueue:
    """A client whose requests for the queue go through the proxy."""
    url = f"http://127.0.0.1:{proxy.port}/{harness.azurite.account}"
    return harness.at(session_on(harness.azurite, queue_url=url))


def fresh(harness: AzureHarness, proxy: FaultProxy) -> StorageQueue:
    """Another one, whose first request goes over a fresh connection."""
    url = f"http://127.0.0.1:{proxy.port}/{harness.azurite.account}"
    return harness.at(session_on(harness.azurite, queue_url=url))


def test_deletes_are_refused_while_receives_work(
    harness: AzureHarness, proxy: FaultProxy, queue: StorageQueue
) -> None:
    """A firewall that refuses deletes alone: each says so, names the firewall and what was served a
    moment ago; leases can be extended meanwhile, and once the rule is mended everything settles."""
    send(queue, *(Message(body=str(number).encode()) for number in range(3)))
    held = take(harness, queue, 3)
    rule = proxy.when("DeleteMessage", AZURE_FORBIDDEN)

    refused = queue.settle(held)

    for one in refused:
        assert isinstance(one, Failed)
        assert (one.evidence.code, classify(one.evidence)) == ("AuthorizationFailure", "EP4201")
        assert "The same credential was served: " in one.evidence.detail
        assert "receive 0 s ago" in one.evidence.detail
    assert list(queue.extend(held, 60.0)) == [Settled.DONE] * 3
    send(queue, Message(body=b"meanwhile"))
    [other] = take(harness, queue, 1)
    proxy.mend(rule)
    settle(queue, [*held, other])
    nothing_comes(harness, queue)


def test_each_entry_is_judged(
    harness: AzureHarness, proxy: FaultProxy, queue: StorageQueue
) -> None:
    """When some deletes of one call are refused, the others are done, each verdict in its place."""
    send(queue, *(Message(body=str(number).encode()) for number in range(8)))
    held = take(harness, queue, 8)
    unlucky = {held[1].id, held[6].id}

    def is_unlucky(asked: Asked) -> bool:
        return asked.operation == "DeleteMessage" and any(one in asked.target for one in unlucky)

    proxy.when(is_unlucky, AZURE_BUSY)

    verdicts = queue.settle(held)

    failed = [index for index, one in enumerate(verdicts) if isinstance(one, Failed)]
    assert failed == [1, 6]
    assert [one for one in verdicts if isinstance(one, Settled)] == [Settled.DONE] * 6
    assert all(classify(one.evidence) == "EP4240" for one in verdicts if isinstance(one, Failed))


def test_a_page_is_one_request(
    harness: AzureHarness, proxy: FaultProxy, queue: StorageQueue
) -> None:
    """Receiving 32 messages takes one request, and an empty queue takes one too."""
    send(queue, *[Message(body=b"x")] * 32)
    before = len(proxy.asked_for("GetMessages"))

    page = queue.receive(32, 0.0, 60.0)
    assert isinstance(page, list)
    assert len(page) == 32
    assert queue.receive(32, 0.0, 60.0) == []

    assert len(proxy.asked_for("GetMessages")) == before + 2


def test_a_busy_service_is_asked_once(proxy: FaultProxy, queue: StorageQueue) -> None:
    """A 503 comes back at once: when to try again is not the SDK's to decide."""
    rule = proxy.when("PutMessage", AZURE_BUSY)

    [outcome] = queue.send([Message(body=b"")])

    assert isinstance(outcome, Failed)
    assert not outcome.final
    assert classify(outcome.evidence) == "EP4240"
    assert len(rule.hits) == 1


# --- answers that are lost ------------------------------------------------------------------------


def test_a_send_whose_answer_is_lost(
    harness: AzureHarness, proxy: FaultProxy, queue: StorageQueue
) -> None:
    """The service has the message, and we do not know: it is a failure, sent once only."""
    proxy.when("PutMessage", RESET_AFTER)

    [outcome] = queue.send([Message(body=b"perhaps")])

    assert isinstance(outcome, Failed)
    assert (outcome.evidence.stage, outcome.evidence.fault) == (Stage.WAIT, Fault.RESET)
    assert len(proxy.asked_for("PutMessage")) == 1
    assert [one.body for one in take(harness, harness.new_queue(), 1)] == [b"perhaps"]


def test_a_large_send_whose_answer_is_lost(
    harness: AzureHarness, proxy: FaultProxy, queue: StorageQueue
) -> None:
    """The message may be there, so its blob is kept, and whoever receives it gets the body."""
    proxy.when("PutMessage", RESET_AFTER)

    assert isinstance(queue.send([Message(body=LARGE)])[0], Failed)

    assert [one.body for one in take(harness, harness.new_queue(), 1)] == [LARGE]


def test_a_receive_whose_answer_is_lost(
    harness: AzureHarness, proxy: FaultProxy, queue: StorageQueue
) -> None:
    """Messages that were taken without our hearing of it come again when their lease has ended."""
    send(harness.new_queue(), Message(body=b"unheard"))
    proxy.when("GetMessages", RESET_AFTER, times=1)

    assert isinstance(queue.receive(1, 0.0, harness.lease_s), Failed)

    [again] = take(harness, queue, 1)
    assert again.receive_count == 2


def test_an_extension_whose_answer_is_lost(
    harness: AzureHarness, proxy: FaultProxy, queue: StorageQueue
) -> None:
    """The service gave a new receipt that never came: the old one is void, which is told as a lost
    lease, and the message comes again."""
    send(harness.new_queue(), Message(body=b"mine"))
    [held] = take(harness, queue, 1)
    proxy.when("UpdateMessage", RESET_AFTER, times=1)
    again = fresh(harness, proxy)

    [verdict] = again.extend([held], harness.lease_s)

    assert isinstance(verdict, Failed)
    assert list(again.settle([held])) == [Settled.LOST]
    assert [one.body for one in take(harness, again, 1)] == [b"mine"]


def test_a_delete_whose_answer_is_lost(
    harness: AzureHarness, proxy: FaultProxy, queue: StorageQueue
) -> None:
    """The message is gone and we do not know: the next try finds it gone, which is done; and the
    blob of its body goes then."""
    send(harness.new_queue(), Message(body=LARGE))
    [held] = take(harness, queue, 1)
    before = harness.blobs("claims-behind-a-proxy")
    proxy.when("DeleteMessage", RESET_AFTER, times=1)
    other = fresh(harness, proxy)

    [verdict] = other.settle([held])
    assert isinstance(verdict, Failed)
    assert classify(verdict.evidence) == "EP2204"
    settle(other, [held])

    gone = [name for name in before if name.startswith(f"{harness.name}/")]
    assert gone
    assert not set(gone) & set(harness.blobs("claims-behind-a-proxy"))
    nothing_comes(harness, queue)


def test_a_delete_that_is_repeated_on_a_fresh_connection(
    harness: AzureHarness, proxy: FaultProxy, queue: StorageQueue
) -> None:
    """A kept connection that ends after the service acted: the repetition finds the message gone,
    which is done."""
    send(queue, Message(body=b"done"))
    held = take(harness, queue, 1)
    proxy.when("DeleteMessage", RESET_AFTER, times=1)

    settle(queue, held)

    assert len(proxy.asked_for("DeleteMessage")) == 2
    nothing_comes(harness, queue)


def test_a_send_over_a_kept_connection(
    harness: AzureHarness, proxy: FaultProxy, queue: StorageQueue
) -> None:
    """A kept connection that ends before an answer is no failure: the message goes once more. It is
    there once when the service had not acted, and at most twice when it had."""
    for reaction, count in ((RESET_BEFORE, 1), (RESET_AFTER, 2)):
        send(queue, Message(body=b"first"))
        proxy.when("PutMessage", reaction, times=1)

        [outcome] = queue.send([Message(body=b"second")])

        assert isinstance(outcome, Delivered)
        bodies = [one.body for one in take(harness, queue, 1 + count)]
        assert sorted(bodies) == [b"first", *[b"second"] * count]
        nothing_comes(harness, queue)


def test_an_answer_that_never_comes(
    harness: AzureHarness, proxy: FaultProxy, queue: StorageQueue
) -> None:
    """A delete that hangs ends within the timeouts and says that the answer did not come; nothing
    else waits for it."""
    send(queue, Message(body=b"1"), Message(body=b"2"))
    first, second = take(harness, queue, 2)
    proxy.when(lambda asked: first.id in asked.target, HANG_AFTER)

    hung, done = queue.settle([first, second])

    assert isinstance(hung, Failed)
    assert (hung.evidence.stage, hung.evidence.fault) == (Stage.WAIT, Fault.TIMED_OUT)
    assert done is Settled.DONE


# --- connections ----------------------------------------------------------------------------------


def test_a_silent_line(harness: AzureHarness, proxy: FaultProxy, queue: StorageQueue) -> None:
    """A half-open connection ends a call within its timeouts, and afterwards all is well."""
    send(queue, Message(body=b"still there"))
    proxy.freeze()

    page = queue.receive(1, 0.0, 30.0)

    assert isinstance(page, Failed)
    assert page.evidence.fault is Fault.TIMED_OUT
    proxy.thaw()
    # What was asked for in silence may have been done: the message comes again after its lease.
    assert isinstance(queue.send([Message(body=b"after")])[0], Delivered)


def test_connections_that_are_cut(
    harness: AzureHarness, proxy: FaultProxy, queue: StorageQueue
) -> None:
    """When all connections are cut between two calls, the next call does not notice."""
    send(queue, *[Message(body=b"x")] * 20)
    proxy.cut()

    send(queue, *[Message(body=b"y")] * 20)

    assert len(take(harness, queue, 40)) == 40


def test_an_account_that_is_away_for_a_while(
    harness: AzureHarness, proxy: FaultProxy, queue: StorageQueue
) -> None:
    """While nobody listens every call fails at once; the same queue works when somebody does."""
    proxy.refuse()

    [outcome] = queue.send([Message(body=b"later")])
    assert isinstance(outcome, Failed)
    assert classify(outcome.evidence) == "EP2004"

    proxy.listen()
    send(queue, Message(body=b"later"))
    assert [one.body for one in take(harness, queue, 1)] == [b"later"]


# --- probes ---------------------------------------------------------------------------------------


def test_a_probe_as_message_processor(proxy: FaultProxy, queue: StorageQueue) -> None:
    """A role that may not read the queue's properties is enough to receive: the probe says so, and
    goes on to what matters."""
    proxy.when("GetQueueMetadata", AZURE_NO_ROLE)

    rungs = {rung.name: rung for rung in queue.probe()}

    assert [rung for rung in rungs.values() if rung.failed] == []
    assert "accepts" in rungs["authentication"].detail
    assert "not needed" in rungs["properties"].detail
    assert "peek" in rungs


def test_a_probe_without_the_right_to_receive(proxy: FaultProxy, queue: StorageQueue) -> None:
    """A role that may not peek is known to the service: the last rung names what is missing."""
    proxy.when("GetQueueMetadata", AZURE_NO_ROLE)
    proxy.when("PeekMessages", AZURE_NO_ROLE)

    *good, last = queue.probe()

    assert [rung.name for rung in good if rung.failed] == []
    assert last.name == "peek"
    assert last.failed is not None
    assert classify(last.failed.evidence) == "EP4202"
    assert "takes the role Storage Queue Data Reader" in last.failed.evidence.detail


def test_a_probe_behind_a_firewall(proxy: FaultProxy, queue: StorageQueue) -> None:
    """A firewall lets connect and speak TLS, and refuses every request: the probe stops there."""
    proxy.when(lambda asked: True, AZURE_FORBIDDEN)

    *good, last = queue.probe()

    assert [rung.name for rung in good] == ["credentials", "name", "connect"]
    assert last.name == "authentication"
    assert last.failed is not None
    assert classify(last.failed.evidence) == "EP4201"


def test_a_probe_in_silence(proxy: FaultProxy, queue: StorageQueue) -> None:
    """On a silent line a probe ends within the timeouts, too."""
    proxy.freeze()

    *_, last = queue.probe()

    assert last.failed is not None
    assert last.failed.evidence.fault is Fault.TIMED_OUT
