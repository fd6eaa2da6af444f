"""Faults between us and SQS, at a real server: what is told of them, and what came of messages."""

from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import pytest

from eventpost.core.outcomes import DELIVERED, Failed
from eventpost.credentials.aws_settings import CONNECT_S_MAX, REQUEST_S_MAX
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Address, Message, Received, Settled
from eventpost.queues.kinds import Services, open_queue
from eventpost.queues.sqs import SqsQueue
from eventpost.testing.fault_proxy import (
    HANG,
    HANG_AFTER,
    RESET_AFTER,
    RESET_BEFORE,
    FaultProxy,
    Reaction,
    Slow,
)
from eventpost.testing.service_refusals import SQS_BUSY, SQS_FORBIDDEN
from tests.queues.sqs.answering import REGION, connection
from tests.services.elasticmq import ElasticMQ
from tests.services.moto import ACCESS_KEY_ID, SECRET_ACCESS_KEY
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow

DELETE = "DeleteMessageBatch"
SEND = "SendMessageBatch"
REQUEST_S = 1.0


@pytest.fixture
def proxy(elasticmq: ElasticMQ) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", elasticmq.ports["http"]) as made:
        yield made


@pytest.fixture
def client(elasticmq: ElasticMQ) -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=elasticmq.url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
    )


def opened(
    proxy: FaultProxy,
    client: Any,
    *,
    suffix: str = "",
    attributes: Mapping[str, str] = {},
    **settings: Any,
) -> SqsQueue:
    attributes = {"FifoQueue": "true"} if suffix else attributes
    name = fresh_name("faults") + suffix
    client.create_queue(QueueName=name, Attributes=attributes)
    known: dict[str, Any] = {"request_timeout_s": REQUEST_S, "attempts_max": 0}
    queue = open_queue(
        "sqs",
        connection(f"http://{proxy.host}:{proxy.port}", **known | settings),
        Address(name=name),
        Services(),
    )
    assert isinstance(queue, SqsQueue)
    assert queue.receive(1, 0, 30) == []  # the queue's URL is known from here on
    return queue


def received(queue: SqsQueue, count_max: int = 10) -> list[Received]:
    page = queue.receive(count_max, 1, 30)
    assert isinstance(page, list)
    return page


def test_deletes_alone_are_refused(proxy: FaultProxy, client: Any) -> None:
    """While deletes are refused everything else goes on; each message is told as not deleted, and
    is deleted once deletes are allowed again."""
    queue = opened(proxy, client)
    queue.send([Message(body=b"1"), Message(body=b"2")])
    held = received(queue)
    rule = proxy.when(DELETE, SQS_FORBIDDEN)

    verdicts = queue.settle(held)
    assert all(isinstance(one, Failed) and not one.final for one in verdicts)
    assert {classify(one.evidence) for one in verdicts if isinstance(one, Failed)} == {"EP4101"}
    assert queue.extend(held, 40) == [Settled.DONE] * 2
    assert list(queue.send([Message(body=b"3")])) == [DELIVERED]

    proxy.mend(rule)
    assert queue.settle(held) == [Settled.DONE] * 2
    assert [one.body for one in received(queue)] == [b"3"]


@pytest.mark.parametrize("reaction", [RESET_BEFORE, RESET_AFTER], ids=["before", "after"])
def test_a_delete_whose_connection_breaks(
    proxy: FaultProxy, client: Any, reaction: Reaction
) -> None:
    """A delete whose connection breaks is tried once more, and the message is gone, whether or not
    the first one had been done. SQS answers a second delete as the first; ElasticMQ says that the
    receipt is not good any more."""
    queue = opened(proxy, client)
    queue.send([Message(body=b"1")])
    held = received(queue)
    proxy.when(DELETE, reaction, times=1)

    (verdict,) = queue.settle(held)

    assert isinstance(verdict, Settled)
    assert len(proxy.asked_for(DELETE)) == 2
    queue.release(held, 0)
    assert received(queue) == []


def test_an_answer_that_is_lost_may_send_twice(proxy: FaultProxy, client: Any) -> None:
    """A send whose answer is lost is tried once more: a standard queue may then hold it twice, and
    never not at all; a FIFO queue holds it once."""
    standard, fifo = opened(proxy, client), opened(proxy, client, suffix=".fifo")
    proxy.when(SEND, RESET_AFTER, times=1)
    assert list(standard.send([Message(body=b"1")])) == [DELIVERED]
    proxy.mend()
    proxy.when(SEND, RESET_AFTER, times=1)
    message = Message(body=b"1", group="g", deduplication_id="d")
    assert list(fifo.send([message])) == [DELIVERED]

    assert [one.body for one in received(standard)] == [b"1", b"1"]
    assert [one.body for one in received(fifo)] == [b"1"]


def test_a_send_that_is_tried_once_only(proxy: FaultProxy, client: Any) -> None:
    """With one attempt the failure is told, and whoever sent decides."""
    queue = opened(proxy, client, attempts_max=1)
    proxy.when(SEND, RESET_AFTER, times=1)

    (outcome,) = queue.send([Message(body=b"1")])

    assert isinstance(outcome, Failed)
    assert classify(outcome.evidence) == "EP2204"
    assert [one.body for one in received(queue)] == [b"1"]


@pytest.mark.parametrize("reaction", [HANG, HANG_AFTER], ids=["before", "after"])
def test_a_server_that_does_not_answer(proxy: FaultProxy, client: Any, reaction: Reaction) -> None:
    """A call that is never answered ends by itself after two attempts, with a failure."""
    queue = opened(proxy, client)
    proxy.when(SEND, reaction)

    (outcome,) = queue.send([Message(body=b"1")])

    assert isinstance(outcome, Failed)
    assert classify(outcome.evidence) == "EP2203"
    assert len(proxy.wait_for(SEND, 2)) == 2


def test_a_line_that_goes_silent(proxy: FaultProxy, client: Any) -> None:
    """A poll on a connection that is half open ends by its own time, while nothing else does. What
    the server handed out on it comes again when its lease is over: the queue's own would last
    longer than a test may."""
    queue = opened(proxy, client, attributes={"VisibilityTimeout": "600"})
    proxy.freeze()

    page = queue.receive(1, 1, 2)
    assert isinstance(page, Failed)
    assert classify(page.evidence) == "EP2203"

    proxy.thaw()
    queue.send([Message(body=b"1")])
    held: list[Received] = []
    while not held:
        held = received(queue)
    assert [one.body for one in held] == [b"1"]


def test_a_slow_line(proxy: FaultProxy, client: Any) -> None:
    """Latency below the bounds costs time and nothing else."""
    queue = opened(proxy, client, request_timeout_s=15.0)
    proxy.when(lambda _: True, Slow(before_s=0.2, after_s=0.2))

    assert list(queue.send([Message(body=b"1")])) == [DELIVERED]
    held = received(queue)
    assert queue.settle(held) == [Settled.DONE]


def test_a_service_that_is_busy_for_a_moment(proxy: FaultProxy, client: Any) -> None:
    """A 503 is tried again at once; a second one is told."""
    queue = opened(proxy, client)
    proxy.when(SEND, SQS_BUSY, times=1)
    assert list(queue.send([Message(body=b"1")])) == [DELIVERED]

    proxy.when(SEND, SQS_BUSY, times=2)
    (outcome,) = queue.send([Message(body=b"2")])

    assert isinstance(outcome, Failed)
    assert classify(outcome.evidence) == "EP4119"


def test_a_port_that_is_closed_for_a_while(proxy: FaultProxy, client: Any) -> None:
    """While nobody listens calls fail at once, not after their time; when the server is back the
    same queue object goes on."""
    queue = opened(proxy, client, connect_timeout_s=CONNECT_S_MAX, request_timeout_s=REQUEST_S_MAX)
    proxy.refuse()
    page = queue.receive(1, 0, 30)
    assert isinstance(page, Failed)
    assert classify(page.evidence) == "EP2004"

    proxy.listen()

    assert list(queue.send([Message(body=b"1")])) == [DELIVERED]


def test_volume(proxy: FaultProxy, client: Any) -> None:
    """A thousand messages take as many requests as batches of ten need: none more."""
    queue = opened(proxy, client, request_timeout_s=15.0)
    proxy.requests.clear()

    outcomes = queue.send([Message(body=b"%d" % number) for number in range(1_000)])
    bodies: list[bytes] = []
    while len(bodies) < 1_000:
        held = received(queue)
        assert queue.settle(held) == [Settled.DONE] * len(held)
        bodies += [one.body for one in held]

    assert all(one is DELIVERED for one in outcomes)
    assert len(set(bodies)) == 1_000
    assert len(proxy.asked_for(SEND)) == 100
    assert len(proxy.asked_for(DELETE)) == len(proxy.asked_for("ReceiveMessage")) <= 110
