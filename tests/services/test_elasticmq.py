"""ElasticMQ behaves as tests of SQS at volume need it."""

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.services.aws_clients import client
from tests.services.elasticmq import ElasticMQ, ElasticMQWithStorage
from tests.services.fixtures import OwnServices
from tests.services.running import Running
from tests.services.service import fresh_name

BATCHES = 100
BATCH = 10


@pytest.mark.slow
def test_many_messages_go_through_a_queue(elasticmq: ElasticMQ) -> None:
    """A queue with a long backlog gives back all that was sent to it."""
    sqs = client(elasticmq.url, "sqs")
    queue = sqs.create_queue(QueueName=fresh_name("queue"))["QueueUrl"]
    for batch in range(BATCHES):
        entries = [{"Id": str(n), "MessageBody": f"{batch}.{n}"} for n in range(BATCH)]
        sqs.send_message_batch(QueueUrl=queue, Entries=entries)

    received: set[str] = set()
    while messages := receive(sqs, queue):
        received |= {message["Body"] for message in messages}
        sqs.delete_message_batch(QueueUrl=queue, Entries=[entry(message) for message in messages])

    assert len(received) == BATCHES * BATCH


def receive(sqs: Any, queue: str) -> Any:
    return sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=BATCH).get("Messages", [])


def entry(message: dict[str, str]) -> dict[str, str]:
    return {"Id": message["MessageId"], "ReceiptHandle": message["ReceiptHandle"]}


@pytest.mark.slow
def test_it_can_be_stopped(own_elasticmq: Running[ElasticMQ]) -> None:
    """One of one's own answers until it is stopped, and then nobody does."""
    sqs = client(own_elasticmq.service.url, "sqs")
    sqs.create_queue(QueueName="songs")
    sqs.get_queue_url(QueueName="songs")
    own_elasticmq.stop()

    with pytest.raises(EndpointConnectionError):
        sqs.get_queue_url(QueueName="songs")


@pytest.mark.slow
@pytest.mark.crash
def test_one_with_storage_keeps_its_messages(own_service: OwnServices) -> None:
    """Killed and started again it has its queue, what was sent and not deleted, and nothing
    else."""
    running = own_service(ElasticMQWithStorage)
    sqs = client(running.service.url, "sqs")
    queue = sqs.create_queue(QueueName="songs")["QueueUrl"]
    for body in ("gone", "there"):
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    [first] = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=1)["Messages"]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=first["ReceiptHandle"])

    running.kill()
    running.start()

    [left] = receive(sqs, queue)
    assert {first["Body"], left["Body"]} == {"gone", "there"}
    assert receive(sqs, queue) == []
