"""Findings of queue systems that are rare, brought about on the real services by real clients."""

import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from eventpost.core.outcomes import DELIVERED, Failed
from eventpost.diagnosis import explain
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message, Received, Settled
from eventpost.queues.sqs.forms import Receipt
from tests.queues.rabbitmq.brokers import opened
from tests.queues.rabbitmq.brokers import settings as administrator
from tests.queues.sqs.answering import REGION
from tests.queues.sqs.answering import queue as sqs_queue
from tests.services.moto import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Moto
from tests.services.rabbitmq import RabbitMQ
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow
HALF_A_DAY_S = 43_200


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQS_TEST_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("SQS_TEST_SECRET", SECRET_ACCESS_KEY)


@pytest.fixture
def sqs(moto: Moto) -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=moto.url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
    )


@pytest.fixture
def name(sqs: Any) -> str:
    made = fresh_name("jobs")
    sqs.create_queue(QueueName=made)
    return made


def found(outcome: object) -> str:
    assert isinstance(outcome, Failed), outcome
    return classify(outcome.evidence)


def test_a_lease_that_was_lost(sqs: Any, name: str) -> None:
    """What SQS says of a receipt that is none is explained to whoever asks it by himself."""
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]

    with pytest.raises(ClientError) as caught:
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle="none", VisibilityTimeout=5)

    assert explain(caught.value).code == "EP4109"


def test_attributes_that_sqs_does_not_take(moto: Moto, name: str) -> None:
    """A message with a name that SQS refuses fails by itself; what goes with it arrives."""
    queue = sqs_queue(moto.url, name)
    bad = Message(body=b"x", attributes={"AWS.x": "v"})

    refused, sent = queue.send([bad, Message(body=b"y")])
    queue.close()

    assert found(refused) == "EP4113"
    assert sent is DELIVERED


def test_a_lease_beyond_half_a_day(moto: Moto, name: str) -> None:
    """A message that we have had for as long as SQS lets anybody have it is told as such, and the
    others are extended."""
    queue = sqs_queue(moto.url, name)
    queue.send([Message(body=b"x"), Message(body=b"y")])
    received: list[Received] = []
    while len(received) < 2:
        some = queue.receive(2 - len(received), 20.0, 30.0)
        assert not isinstance(some, Failed), some
        received += some
    old, young = received
    began_s = time.monotonic() - HALF_A_DAY_S
    assert isinstance(old.receipt, Receipt)
    old.receipt = old.receipt._replace(since_s=began_s)

    refused, extended = queue.extend([old, young], 60)
    queue.close()

    assert found(refused) == "EP4116"
    assert extended is Settled.DONE


# --- RabbitMQ -------------------------------------------------------------------------------------


@pytest.fixture
def songs(rabbitmq: RabbitMQ) -> Iterator[Any]:
    queue = opened(administrator(rabbitmq), fresh_name("songs"), create=True, delays_s=[5])
    yield queue
    queue.close()


def test_what_amqp_has_no_place_for(songs: Any) -> None:
    """A message that AMQP cannot carry fails by itself; what goes with it is confirmed."""
    refused, sent = songs.send([Message(body=b"x", content_type="c" * 256), Message(body=b"y")])

    assert found(refused) == "EP4323"
    assert sent is DELIVERED


def test_a_delay_that_no_queue_holds(songs: Any) -> None:
    """A delay for which there is no queue fails by itself; one for which there is one does not."""
    refused, sent = songs.send([Message(body=b"x", delay_s=5.5), Message(body=b"y", delay_s=5)])

    assert found(refused) == "EP4324"
    assert sent is DELIVERED


def test_what_rabbitmq_refuses_in_words_of_its_own(rabbitmq: RabbitMQ) -> None:
    """A refusal without a finding of its own is told with RabbitMQ's sentence."""
    queue = opened(administrator(rabbitmq), "amq.rabbitmq.reply-to")
    answer = queue.receive(1, 5.0, 30.0)
    queue.close()

    assert found(answer) == "EP4300", answer
    assert isinstance(answer, Failed)
    assert "reply consumer cannot acknowledge" in answer.evidence.detail


@pytest.fixture
def blues(rabbitmq: RabbitMQ) -> str:
    """A queue with one message."""
    name = fresh_name("blues")
    queue = opened(administrator(rabbitmq), name, create=True)
    assert list(queue.send([Message(body=b"x")])) == [DELIVERED]
    queue.close()
    return name


def erlang(name: str, what: str) -> str:
    """Something done to the queue of that name, called `Queue`, in the server itself."""
    where = f'rabbit_misc:r(<<"/">>, queue, <<"{name}">>)'
    return f"Name = {where}, {{ok, Queue}} = rabbit_amqqueue:lookup(Name), {what}."


def test_rabbitmq_fails_inside(rabbitmq: RabbitMQ, blues: str) -> None:
    """A channel whose process dies in the server is told as a failure of the server's own."""
    queue = opened(administrator(rabbitmq), blues)
    received = queue.receive(1, 20.0, 30.0)
    assert not isinstance(received, Failed)
    assert len(received) == 1
    killed = "[exit(element(1, Each), kill) || Each <- rabbit_amqqueue:consumers(Queue)], ok"

    rabbitmq.control("eval", erlang(blues, killed))
    answers = (queue.receive(1, 5.0, 30.0) for _ in range(20))
    failed = next(each for each in answers if isinstance(each, Failed))
    queue.close()

    assert found(failed) == "EP4328", failed


def test_rabbitmq_gives_a_queue_up(rabbitmq: RabbitMQ) -> None:
    """A queue whose process died again and again, so that the server starts it no more, is told as
    one that is there and cannot be used; the server looks for the process for a minute first."""
    name = fresh_name("blues")
    patient = administrator(rabbitmq, request_timeout_s=120.0)
    queue = opened(patient, name, create=True, queue_type="classic")
    assert list(queue.send([Message(body=b"x")])) == [DELIVERED]
    dies = "{ok, Now} = rabbit_amqqueue:lookup(Name), exit(amqqueue:get_pid(Now), kill)"
    killed = f"[begin {dies}, timer:sleep(100) end || _ <- lists:seq(1, 10)], ok"

    rabbitmq.control("eval", erlang(name, killed))
    failed = queue.receive(1, 5.0, 30.0)
    queue.close()

    assert isinstance(failed, Failed)
    assert found(failed) == "EP4309", failed
