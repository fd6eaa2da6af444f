"""ElasticMQ behaves as tests of SQS at volume need it."""

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.services.aws_clients import client
from tests.services.elasticmq import ElasticMQ
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
