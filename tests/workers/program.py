"""A user's program, for `dramatiq tests.workers.program`: it says each step on a line of a file."""

import json
import os
import threading
from pathlib import Path

import dramatiq
from dramatiq import Broker, Middleware
from dramatiq.broker import MessageProxy
from dramatiq.middleware.prometheus import Prometheus

from eventpost.workers.broker import LeaseBroker
from eventpost.workers.limits import WorkerLimits
from eventpost.workers.middleware import ExplainFailures
from tests.workers.environment import BROKER, METRICS, STEPS, WORK_S


def say(step: str, number: int) -> None:
    """One write, so that lines of several processes do not mix, and in the file before it returns:
    a killed process has said what it did."""
    with Path(os.environ[STEPS]).open("ab", buffering=0) as file:
        file.write(f"{step} {number}\n".encode())


class Acknowledged(Middleware):
    """Says that a message is finished: its ledger row is committed."""

    def after_ack(self, broker: Broker, message: MessageProxy) -> None:
        say("finished", message.args[0])


def new_broker() -> LeaseBroker:
    given = json.loads(os.environ[BROKER])
    kind, words = given["kind"], given["words"]
    limits = WorkerLimits(drain_s=given["drain_s"], pending_lease_s=2.0, tell_s=1.0)
    made: LeaseBroker
    if kind == "sqs":
        from eventpost.workers.sqs import SQSBroker

        made = SQSBroker(**words, limits=limits)
    elif kind == "kafka":
        from eventpost.workers.kafka import KafkaBroker

        made = KafkaBroker(**words, limits=limits)
    else:
        from eventpost.workers.storagequeue import StorageQueueBroker

        made = StorageQueueBroker(**words, limits=limits)
    made.add_middleware(Acknowledged())
    if os.environ.get(METRICS):
        made.add_middleware(Prometheus())
        made.add_middleware(ExplainFailures())
    return made


broker = new_broker()
dramatiq.set_broker(broker)


@dramatiq.actor
def work(number: int) -> None:
    say("begun", number)
    threading.Event().wait(float(os.environ.get(WORK_S, "0")))
    say("ended", number)
