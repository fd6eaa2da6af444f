"""A program for `dramatiq bench.worker_program`, on our brokers or on stock ones, as it is told."""

import json
import mmap
import os
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq import Broker

GIVEN = "BENCH_WORKER_GIVEN"
STEPS = "BENCH_WORKER_STEPS"
MARKS = "BENCH_WORKER_MARKS"
"""A file with a byte for each task that is only counted."""


def say(step: str, *told: object) -> None:
    """In the file before it returns, so that a killed process has said what it did."""
    with Path(os.environ[STEPS]).open("ab", buffering=0) as file:
        file.write(f"{' '.join(map(str, (step, *told)))}\n".encode())


def marks() -> mmap.mmap | None:
    """The file of marks in memory, which all processes share: a mark costs no call of the system,
    which would cost more than a task that does nothing."""
    path = Path(os.environ.get(MARKS, ""))
    if not path.is_file():
        return None
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)


def build(given: dict[str, Any]) -> Broker:
    """The broker, with its actors."""
    made = _ours(given) if given["broker"] == "eventpost" else _stock(given)
    work_s = given["work_s"]
    queue = given["namespace"] if given["system"] == "storagequeue" else "default"

    @dramatiq.actor(broker=made, queue_name=queue)
    def work(number: int) -> None:
        say("begun", number)
        time.sleep(work_s)
        say("ended", number)

    marked = marks()

    @dramatiq.actor(broker=made, queue_name=queue)
    def noop(number: int) -> None:
        if marked is not None:
            marked[number] = 1

    @dramatiq.actor(broker=made, queue_name=queue)
    def timed(number: int) -> None:
        say("timed", number, time.time())

    backoff_ms = given.get("backoff_ms", 500)

    @dramatiq.actor(
        broker=made, queue_name=queue, min_backoff=backoff_ms, max_backoff=backoff_ms * 2
    )
    def unsure(number: int) -> None:
        """Fails until it is tried again."""
        first = Path(os.environ[STEPS] + f".{number}")
        say("begun", number)
        if not first.exists():
            first.touch()
            raise ValueError("not yet")
        say("ended", number)

    return made


def _ours(given: dict[str, Any]) -> Broker:
    from eventpost.workers.limits import WorkerLimits

    limits = WorkerLimits(pending_lease_s=given["lease_s"])
    shared: dict[str, Any] = {
        "ledger": given["ledger"],
        "lease_s": given["lease_s"],
        "limits": limits,
    }
    if given["system"] == "sqs":
        from eventpost.workers.sqs import SQSBroker

        return SQSBroker(
            region=given["region"],
            endpoint_url=given["url"],
            access_key_id=given["key"],
            secret_access_key=given["secret"],
            namespace=given["namespace"],
            **shared,
        )
    if given["system"] == "kafka":
        return _on_kafka(given, shared)
    from eventpost.workers.storagequeue import StorageQueueBroker

    return StorageQueueBroker(connection_string=given["connection_string"], **shared)


def _on_kafka(given: dict[str, Any], shared: dict[str, Any]) -> Broker:
    from eventpost.workers.kafka import KafkaBroker

    words = {name: given[name] for name in ("auth", "region", "ca_file", "config") if name in given}
    if words.get("auth") == "msk-iam":
        _set_clock(Path(given["clock"]))
    else:
        words.pop("region", None)
    return KafkaBroker(
        bootstrap=given["bootstrap"],
        namespace=given["namespace"],
        partitions=4,
        session_timeout_s=6.0,
        **words,
        **shared,
    )


def _set_clock(file: Path) -> None:
    """Tokens are signed by a clock that is as wrong as the file says."""
    import botocore.auth

    def wrong() -> datetime:
        ahead = timedelta(seconds=float(file.read_text()))
        return datetime.now(UTC).replace(tzinfo=None) + ahead

    botocore.auth.get_current_datetime = wrong


def _stock(given: dict[str, Any]) -> Broker:
    """As their documentation says to make them."""
    if given["system"] == "sqs":
        from dramatiq_sqs import SQSBroker as StockSqs

        sqs: Broker = StockSqs(
            namespace=given["namespace"],
            region_name=given["region"],
            endpoint_url=given["url"],
            aws_access_key_id=given["key"],
            aws_secret_access_key=given["secret"],
        )
        return sqs
    os.environ["AZURE_STORAGE_CONNECTION_STR"] = given["connection_string"]
    from dramatiq_azure import ASQBroker

    azure: Broker = ASQBroker()
    return azure


def main(actor: str, count: str) -> None:
    """Send so many. Prints when each was sent, of those that are timed; else the seconds that all
    but the first took, with which whatever opens on first use has been opened."""
    if actor == "timed":
        for number in range(int(count)):
            time.sleep(random.uniform(1.0, 2.0))  # so that the worker is idle
            print(time.time())
            _send(actor, number)
    else:
        began_s = time.monotonic()
        for number in range(int(count)):
            _send(actor, number)
            began_s = began_s if number else time.monotonic()
        print(time.monotonic() - began_s)
    broker.close()


def _send(actor: str, number: int) -> None:
    message: Any = broker.get_actor(actor).message(number)
    broker.enqueue(message)


if GIVEN in os.environ:
    broker = build(json.loads(os.environ[GIVEN]))
    dramatiq.set_broker(broker)
    if __name__ == "__main__":
        main(*sys.argv[1:])
