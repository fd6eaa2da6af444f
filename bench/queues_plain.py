"""What the plain client libraries reach: from one queue to another, by their own best means.

Each function takes `count` messages from the first queue, sends them to the second, and only then
deletes or acknowledges them, as a careful program does. It returns what that took.
"""

import asyncio
import base64
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from bench.pace import Pace, Took
from bench.servers import SERVER_CORE

SQS_THREADS, STORAGE_THREADS = 4, 8
SQS_PAGE, STORAGE_PAGE, KAFKA_PAGE, PREFETCH = 10, 32, 500, 500


def on_the_servers_core(work: Callable[[], Took]) -> Took:
    """Run it on a thread that runs, with all that it starts, where the server would."""
    os.sched_setaffinity(0, {SERVER_CORE})
    return work()


def _in_threads(count: int, threads: int, step: Callable[[], int]) -> Took:
    """Repeat `step`, which says how many it moved, until all are moved."""
    pages: list[int] = []
    pace = Pace(count)

    def run() -> None:
        while sum(pages) < count:
            pages.append(step())
            pace.came(sum(pages))

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(run) for _ in range(threads)]:
            done.result()
    return pace.took()


def sqs(client: Any, first: str, second: str, count: int) -> Took:
    """boto3's client, batches of ten, on several threads."""

    def step() -> int:
        page = client.receive_message(QueueUrl=first, MaxNumberOfMessages=SQS_PAGE)
        messages = page.get("Messages", [])
        if not messages:
            return 0
        bodies = [
            {"Id": str(index), "MessageBody": each["Body"]} for index, each in enumerate(messages)
        ]
        client.send_message_batch(QueueUrl=second, Entries=bodies)
        receipts = [
            {"Id": str(index), "ReceiptHandle": each["ReceiptHandle"]}
            for index, each in enumerate(messages)
        ]
        client.delete_message_batch(QueueUrl=first, Entries=receipts)
        return len(messages)

    return _in_threads(count, SQS_THREADS, step)


def storagequeue(first: Any, second: Any, count: int) -> Took:
    """azure-storage-queue, pages of 32 that several threads share: there are no batches."""
    page: deque[Any] = deque()
    lock = threading.Lock()

    def take() -> Any:
        with lock:
            if not page:
                page.extend(
                    first.receive_messages(
                        max_messages=STORAGE_PAGE, messages_per_page=STORAGE_PAGE
                    )
                )
            return page.popleft() if page else None

    def step() -> int:
        message = take()
        if message is None:
            return 0
        second.send_message(message.content)
        first.delete_message(message)
        return 1

    return _in_threads(count, STORAGE_THREADS, step)


def rabbitmq(url: str, first: str, second: str, count: int) -> Took:
    """aio-pika, a prefetch of 500, publishes confirmed side by side, each then acknowledged."""

    async def run() -> Took:
        import aio_pika

        connection = await aio_pika.connect(url)
        taking, sending = await connection.channel(), await connection.channel()
        await taking.set_qos(prefetch_count=PREFETCH)
        queue = await taking.get_queue(first)
        moved, over, pace = [0], asyncio.Event(), Pace(count)

        async def move(message: Any) -> None:
            copy = aio_pika.Message(message.body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await sending.default_exchange.publish(copy, second, mandatory=True)
            await message.ack()
            moved[0] += 1
            pace.came(moved[0])
            if moved[0] == count:
                over.set()

        await queue.consume(move)
        await over.wait()
        await connection.close()
        return pace.took()

    return asyncio.run(run())


def rabbitmq_to_storagequeue(url: str, first: str, second: Any, count: int) -> Took:
    """aio-pika with a prefetch of 500, azure-storage-queue on several threads, then an ack each."""

    async def run() -> Took:
        import aio_pika

        connection = await aio_pika.connect(url)
        taking = await connection.channel()
        await taking.set_qos(prefetch_count=PREFETCH)
        queue = await taking.get_queue(first)
        moved, over, pace = [0], asyncio.Event(), Pace(count)
        loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(STORAGE_THREADS)

        async def move(message: Any) -> None:
            text = base64.b64encode(message.body).decode()
            await loop.run_in_executor(pool, partial(second.send_message, text, time_to_live=-1))
            await message.ack()
            moved[0] += 1
            pace.came(moved[0])
            if moved[0] == count:
                over.set()

        await queue.consume(move)
        await over.wait()
        await connection.close()
        pool.shutdown()
        return pace.took()

    return asyncio.run(run())


def kafka(bootstrap: str, first: str, second: str, count: int) -> Took:
    """confluent-kafka: pages of 500, an idempotent producer, a flush and a commit for each page."""
    from confluent_kafka import Consumer, Producer

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"plain-{first}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5}
    )
    consumer.subscribe([first])
    pace, moved = Pace(count), 0
    while moved < count:
        page = consumer.consume(KAFKA_PAGE, 0.1)
        for message in page:
            producer.produce(second, message.value())
        producer.flush()
        if page:
            consumer.commit(asynchronous=False)
        moved += len(page)
        pace.came(moved)
    consumer.close()
    return pace.took()
