"""SQS keeps the rules of every queue system: on the moto server, and on ElasticMQ."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from eventpost.queues.sqs import SqsQueue
from eventpost.testing.queue_conformance import QueueConformance, QueueHarness
from tests.queues.sqs.answering import REGION, queue
from tests.services.elasticmq import ElasticMQ
from tests.services.moto import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Moto
from tests.services.service import fresh_name


class SqsHarness(QueueHarness):
    """A queue on an emulator at `url`."""

    voids_old_receipts = False
    keeps_content_type = True
    bodies = (
        b"plain",
        b"{}",
        b" blank\tat both ends\n",
        "Ünïcödé \U0001f3b8 \u0416 \u4e2d".encode(),
        b"<&>\"'",
    )

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: list[SqsQueue] = []
        self._client: Any = boto3.client(
            "sqs",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
        )
        self._name = fresh_name("conformance")
        self._queue_url = self._client.create_queue(QueueName=self._name)["QueueUrl"]

    def new_queue(self) -> SqsQueue:
        opened = queue(self._url, self._name)
        self._opened.append(opened)
        return opened

    def missing_queue(self) -> SqsQueue:
        opened = queue(self._url, fresh_name("missing"))
        self._opened.append(opened)
        return opened

    def stop(self) -> None:
        for each in self._opened:
            each.close()
        self._client.delete_queue(QueueUrl=self._queue_url)
        self._client.close()


@pytest.mark.slow
class TestMoto(QueueConformance):
    @pytest.fixture
    def harness(self, moto: Moto) -> Iterator[QueueHarness]:
        with SqsHarness(moto.url) as harness:
            harness.hands_out_once = False
            yield harness


@pytest.mark.slow
class TestElasticMQ(QueueConformance):
    @pytest.fixture
    def harness(self, elasticmq: ElasticMQ) -> Iterator[QueueHarness]:
        with SqsHarness(elasticmq.url) as harness:
            yield harness
