"""What brokers promise beside what the public suite tries: the same words, no end of life, every
hook, and an acknowledgement that waits for no network."""

import inspect
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dramatiq
import pytest
from dramatiq.broker import MessageProxy
from dramatiq.brokers.stub import StubBroker

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.queues.leases import Listener, LostReason
from eventpost.queues.tasks import KEPT
from eventpost.testing.fault_proxy import HANG
from eventpost.workers.broker import LeaseBroker
from eventpost.workers.consumer import LeaseConsumer
from eventpost.workers.hooks import Hooks, WorkerHooks
from eventpost.workers.kafka import KafkaBroker, KafkaTransport
from eventpost.workers.sqs import SQSBroker
from eventpost.workers.storagequeue import StorageQueueBroker
from eventpost.workers.telling import Telling
from tests.services.azurite import Azurite
from tests.services.elasticmq import ElasticMQ
from tests.workers.harnesses import SqsHarness, StorageQueueHarness

BROKERS = (SQSBroker, StorageQueueBroker, KafkaBroker)
FAILED = Failed(Evidence(stage=Stage.ANSWER, fault=Fault.CODE, code="AccessDenied"))
RETENTION_S = "1209600"
"""14 days, the most that SQS keeps anything."""


@pytest.mark.parametrize("kind", BROKERS)
def test_all_brokers_take_the_same_words(kind: type[LeaseBroker]) -> None:
    """Each takes the words that all share, with the same defaults, and `create`."""
    shared = dict(inspect.signature(LeaseBroker.__init__).parameters)
    for name in ("self", "transport"):
        shared.pop(name)
    own = inspect.signature(kind.__init__).parameters

    assert len(shared) == 6
    assert {name: own[name].default for name in shared} == {
        name: one.default for name, one in shared.items()
    }
    assert own["create"].default == "auto"
    assert all(one.kind is one.KEYWORD_ONLY for name, one in own.items() if name != "self")


# --- hooks ----------------------------------------------------------------------------------------

LEASE: Any = SimpleNamespace(id="7")
TOLD: dict[str, tuple[Callable[[Listener], object], tuple[object, ...]]] = {
    "on_redelivered_finished": (lambda told: told.redelivered_finished(LEASE), ("7",)),
    "on_lease_lost": (
        lambda told: told.lease_lost(LEASE, LostReason.EXPIRED),
        ("7", LostReason.EXPIRED.value),
    ),
    "on_receive_error": (lambda told: told.receive_failed(FAILED, 3, 1.5), (FAILED, 3, 1.5)),
    "on_receive_recovered": (lambda told: told.receive_recovered(9.0), (9.0,)),
    "on_extend_error": (lambda told: told.extend_failed(FAILED, 2), (FAILED, 2)),
    "on_extend_forbidden": (lambda told: told.extend_forbidden(FAILED, 600.0), (FAILED, 600.0)),
    "on_extend_allowed": (lambda told: told.extend_allowed(), ()),
    "on_ack_error": (lambda told: told.settle_failed(FAILED, 2, 5), (FAILED, 2)),
    "on_ack_pending": (lambda told: told.settle_failed(FAILED, 2, 5), (5,)),
    "on_ack_recovered": (lambda told: told.settle_recovered(9.0, 4), (9.0, 4)),
    "on_ack_abandoned": (lambda told: told.settle_abandoned(LEASE), ("7",)),
    "on_release_error": (lambda told: told.release_failed(FAILED, 1), (FAILED, 1)),
}
"""What the lease engine says, and what a middleware hears of it after broker and queue."""
TOLD_ELSEWHERE = {
    "on_enqueue_error",
    "on_held_back",
    "on_dead_letter",
    "on_ledger_error",
    "on_ledger_recovered",
}
"""By broker and reception: tests of retries, dead letters and ledgers hear them."""


class Ear:
    """Hears one hook, or fails in it."""

    def __init__(self, name: str, *, fails: bool = False) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.fails = fails
        setattr(self, name, self._hear)

    def _hear(self, *arguments: object) -> None:
        self.heard.append(arguments)
        if self.fails:
            raise ZeroDivisionError


@pytest.mark.parametrize("name", TOLD)
def test_every_hook_of_the_engine_is_called(name: str) -> None:
    """A middleware hears what it defines, with broker and queue first; one that fails holds up
    neither the engine nor who hears it after."""
    broker = StubBroker(middleware=[])
    failing, hearing = Ear(name, fails=True), Ear(name)
    broker.middleware = [failing, hearing]  # type: ignore[list-item]  # by their hooks alone
    say, expected = TOLD[name]

    say(Telling("songs", Hooks(broker), lambda _: None, lambda _: None))

    assert hearing.heard == failing.heard == [(broker, "songs", *expected)]


def test_no_hook_is_forgotten() -> None:
    """Every hook that is documented is one that is called."""
    documented = {name for name in vars(WorkerHooks) if name.startswith("on_")}
    assert documented == TOLD.keys() | TOLD_ELSEWHERE


# --- acknowledgements -----------------------------------------------------------------------------


def test_an_acknowledgement_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever fails in it is logged: Dramatiq's worker would sleep, or take it for a bug of its
    own."""

    class Broken:
        def ack(self, _: object) -> None:
            raise ZeroDivisionError

        nack = ack

    broken: Any = Broken()
    message: MessageProxy = SimpleNamespace(reception=broken)  # type: ignore[assignment]
    consumer = LeaseConsumer(broken, 1.0)
    consumer.ack(message)
    consumer.nack(message)

    errors = [each.exc_info[0] for each in caplog.records if each.exc_info]
    assert errors == [ZeroDivisionError, ZeroDivisionError]


@pytest.fixture
def sqs(elasticmq: ElasticMQ, tmp_path: Path) -> Iterator[SqsHarness]:
    with SqsHarness(tmp_path, elasticmq) as harness:
        yield harness


@pytest.mark.slow
def test_an_acknowledgement_waits_for_no_network(sqs: SqsHarness) -> None:
    """One worker thread does job after job while the service answers no delete at all."""
    broker = sqs.new_broker()
    done: list[int] = []
    all_done = threading.Event()

    @dramatiq.actor(broker=broker)
    def work(number: int) -> None:
        done.append(number)
        if len(done) == 12:
            all_done.set()

    for number in range(12):
        work.send(number)
    hanging = sqs.proxy.when("DeleteMessageBatch", HANG)
    with sqs.working(broker, threads=1):
        assert all_done.wait(120.0)
        assert [stats.settled for _, stats, _ in broker.books()] == [0]
        sqs.proxy.mend(hanging)
        sqs.join(broker)
    assert sorted(done) == list(range(12))


# --- nothing expires ------------------------------------------------------------------------------


def send_one(broker: LeaseBroker) -> None:
    @dramatiq.actor(broker=broker)
    def show(_song: str) -> None: ...

    show.send("a song")


@pytest.mark.slow
def test_nothing_expires_on_azure(azurite: Azurite, tmp_path: Path) -> None:
    """A task is sent without an end of life: the service's own would be seven days."""
    with StorageQueueHarness(tmp_path, azurite) as harness:
        broker = harness.new_broker()
        send_one(broker)
        sent = harness.proxy.asked_for("PutMessage")
    assert sent
    assert all("messagettl=-1" in asked.target for asked in sent)


@pytest.mark.slow
def test_what_is_made_on_sqs_keeps_longest(sqs: SqsHarness) -> None:
    """A queue that is made keeps its messages for as long as SQS keeps anything."""
    broker = sqs.new_broker()
    send_one(broker)
    made = sqs.proxy.asked_for("CreateQueue")
    assert made
    assert all(RETENTION_S.encode() in asked.body for asked in made)


def test_what_is_made_on_kafka_is_kept() -> None:
    """A topic that is made keeps its records until they are removed."""
    transport = KafkaBroker(bootstrap=["127.0.0.1:9"], ledger="unused")._transport
    assert isinstance(transport, KafkaTransport)
    assert transport._options.topic_config == KEPT == {"retention.ms": "-1"}
