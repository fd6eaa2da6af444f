"""What an emulator gives at most: the plain client at full speed, beside the brokers of workers.

No tasks, no ledger, no leases: one thread sends one message after the other, and threads receive
pages and delete them, as many at once as one process of workers has.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from tests.services.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.services.azurite import ACCOUNT, KEY
from tests.services.service import fresh_name

BODY = '{"queue_name": "default", "actor_name": "work", "args": [1], "kwargs": {}, "options": {}}'
THREADS = 8
EMPTY_PAGES = 3
"""In a row: then a thread takes the queue for empty."""


class Plain(Protocol):
    """A queue, by its service's own client. From any thread."""

    def send(self) -> None: ...
    def take(self) -> int:
        """Receive a page and delete it; how many there were."""
        ...


class PlainSqs:
    def __init__(self, port: int) -> None:
        import boto3
        from botocore.config import Config

        self._client = boto3.client(
            "sqs",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
            config=Config(max_pool_connections=2 * THREADS),
        )
        self._url = self._client.create_queue(QueueName=fresh_name("plain"))["QueueUrl"]

    def send(self) -> None:
        self._client.send_message(QueueUrl=self._url, MessageBody=BODY)

    def take(self) -> int:
        page = self._client.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10)
        found = page.get("Messages", [])
        if found:
            entries = [
                {"Id": str(number), "ReceiptHandle": one["ReceiptHandle"]}
                for number, one in enumerate(found)
            ]
            self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
        return len(found)


class PlainStorageQueue:
    def __init__(self, port: int) -> None:
        from azure.storage.queue import QueueClient

        endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        self._client = QueueClient.from_connection_string(
            f"AccountName={ACCOUNT};AccountKey={KEY};QueueEndpoint={endpoint}", fresh_name("plain")
        )
        self._client.create_queue()

    def send(self) -> None:
        self._client.send_message(BODY)

    def take(self) -> int:
        found = list(self._client.receive_messages(messages_per_page=8, max_messages=8))
        for one in found:
            self._client.delete_message(one)
        return len(found)


SYSTEMS: dict[str, Callable[[int], Plain]] = {"sqs": PlainSqs, "storagequeue": PlainStorageQueue}


def taken_per_s(system: str, port: int, count: int) -> float:
    """Received and deleted by all threads, a second."""
    queue = SYSTEMS[system](port)
    queue.send()
    queue.take()  # connected, and warm
    for _ in range(count):
        queue.send()
    taken = [0]
    lock = threading.Lock()
    began_s = last_s = time.monotonic()

    def work() -> None:
        nonlocal last_s
        empty = 0
        while empty < EMPTY_PAGES:
            found = queue.take()
            empty = 0 if found else empty + 1
            if found:
                with lock:
                    taken[0] += found
                    last_s = time.monotonic()

    with ThreadPoolExecutor(THREADS) as threads:
        for one in [threads.submit(work) for _ in range(THREADS)]:
            one.result()
    return taken[0] / (last_s - began_s)
