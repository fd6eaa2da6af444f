"""The fault matrix of workers: ours and the stock brokers side by side, printed as a table.

    make worker-faults                 # a minute each: ARGS="--seconds 6 --only sqs" is shorter

Each cell is one run of the real `dramatiq` command on a fresh queue of a real service (ElasticMQ,
Azurite, Apache Kafka), behind a proxy that lets go wrong what the row says. There is no stock
broker for Kafka. A job says on a line of a file when it begins and when it ends; from that and
from what is left in the queue follow the figures:

    ran 30/30, 0 again         each job ended, none began twice
    ran 28/30, 2 missing       two had not ended when patience was over
    80 MiB +0.5                the worker's memory when a fifth of the fault was over, and how much
                               more it became at most until the end of the run
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.services.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.services.azurite import ACCOUNT, KEY, AzuriteInMemory
from tests.services.elasticmq import ElasticMQ
from tests.services.kafka import IamKey, Kafka
from tests.services.running import Running, launched
from tests.services.service import fresh_name

from bench.worker_memory import MemoryWatch
from bench.worker_program import GIVEN, MARKS, STEPS
from eventpost.testing.fault_proxy import RESET_AFTER, Choice, FaultProxy
from eventpost.testing.service_refusals import (
    AZURE_FORBIDDEN,
    KAFKA_FORBIDDEN,
    SQS_FORBIDDEN,
    aws_refusal,
    azure_refusal,
)

ROOT = Path(__file__).parent.parent
JOBS = 30
FAULT_S = 60.0
"""How long a fault lasts unless it is said."""
WARM_PART = 0.2
"""Of a fault, after which a worker has opened and seen all that it will: its memory counts then."""
PATIENCE_S = 25.0
LEASE_S = 2.0
OPERATIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "sqs": {
        "send": ("SendMessage", "SendMessageBatch"),
        "receive": ("ReceiveMessage",),
        "settle": ("DeleteMessage", "DeleteMessageBatch"),
    },
    "storagequeue": {
        "send": ("PutMessage",),
        "receive": ("GetMessages",),
        "settle": ("DeleteMessage",),
    },
    "kafka": {
        "send": ("Produce",),
        "receive": ("Fetch",),
        "settle": ("OffsetCommit",),
    },
}
EVERYTHING = ("send", "receive", "settle")
FORBIDDEN: dict[str, Choice] = {
    "sqs": SQS_FORBIDDEN,
    "storagequeue": AZURE_FORBIDDEN,
    "kafka": KAFKA_FORBIDDEN,
}
EXPIRED: dict[str, Choice] = {
    "sqs": aws_refusal(
        "ExpiredToken", 403, "The security token included in the request is expired"
    ),
    "storagequeue": azure_refusal("AuthenticationFailed"),
}
LOST: dict[str, Choice] = dict.fromkeys(OPERATIONS, RESET_AFTER)
SKEWED: dict[str, Choice] = {
    "sqs": aws_refusal("RequestTimeTooSkewed", 403, "The difference is too large."),
    "storagequeue": azure_refusal("AuthenticationFailed"),
}


class QuickKafka(Kafka):
    """Connections must show their token again soon, so that one that expired is noticed."""

    reauthenticate_ms = 2_000


@dataclass
class Case:
    """One broker on one service, and one fresh queue."""

    system: str
    broker: str
    proxy: FaultProxy
    directory: Path
    fault_s: float
    work_s: float = 0.0
    port: int = 0
    """Where the service is, when no proxy is to be in between."""
    running: Running[Any] | None = None
    """The service itself, where it is to be killed, or is to know other keys."""
    options: dict[str, Any] = field(default_factory=dict)
    key: IamKey | None = None
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory = MemoryWatch(lambda: [process.pid for process in self.processes])
        port = self.port or self.proxy.port
        endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        self.given: dict[str, Any] = {
            "system": self.system,
            "broker": self.broker,
            "namespace": fresh_name("faults"),
            "url": f"http://127.0.0.1:{port}",
            "region": REGION,
            "key": ACCESS_KEY_ID,
            "secret": SECRET_ACCESS_KEY,
            "connection_string": (
                f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
                f"QueueEndpoint={endpoint};"
            ),
            "bootstrap": [f"127.0.0.1:{port}"],
            "ledger": str(self.directory / "ledger"),
            "lease_s": LEASE_S,
            "clock": str(self.directory / "clock"),
        }

    # --- the program ------------------------------------------------------------------------------

    def send(self, actor: str = "work", count: int = JOBS) -> float:
        """In a process of its own: a stock broker reads where to go once per process. The seconds
        that all but the first took."""
        command = [sys.executable, "-m", "bench.worker_program", actor, str(count)]
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment(), check=True, capture_output=True, timeout=300
        )
        return float(done.stdout)

    def single_starts(self, count: int) -> list[float]:
        """Seconds from enqueue to start of single tasks, each sent when the worker is idle."""
        command = [sys.executable, "-m", "bench.worker_program", "timed", str(count)]
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment(), check=True, capture_output=True, text=True
        )
        sent = [float(one) for one in done.stdout.split()]
        self.until(lambda: len(self.numbers("timed")) >= count)
        lines = (self.directory / "steps").read_text().splitlines()
        pairs = [line.split() for line in lines if line.startswith("timed")]
        begun = {int(number): float(at_s) for _, number, at_s in pairs}
        return [begun[number] - at_s for number, at_s in enumerate(sent) if number in begun]

    def start(self, threads: int = 4) -> None:
        command = [sys.executable, "-m", "dramatiq", "bench.worker_program"]
        with (self.directory / "log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [*command, "--processes", "1", "--threads", str(threads)],
                    cwd=ROOT,
                    env=self._environment(),
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _environment(self) -> dict[str, str]:
        given = {**self.given, **self.options, "work_s": self.work_s}
        return {
            **os.environ,
            GIVEN: json.dumps(given),
            STEPS: str(self.directory / "steps"),
            MARKS: str(self.directory / "marks"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.directory / "keys"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9",
        }

    def kill(self) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def terminate(self) -> None:
        self.processes[-1].send_signal(signal.SIGTERM)

    def refuse(self, *operations: str, how: dict[str, Choice] = FORBIDDEN) -> None:
        answer = how[self.system]
        for operation in operations:
            for name in OPERATIONS[self.system][operation]:
                self.proxy.when(name, answer)

    def sign_in(self) -> None:
        """On Kafka, where it is a connection that is believed or not: by IAM, with new keys."""
        if self.system != "kafka":
            return
        assert self.running is not None
        kafka = self.running.service
        self.key = kafka.add_key(session_token="a session token")
        (self.directory / "keys").write_text(
            f"[default]\naws_access_key_id={self.key.access_key_id}\n"
            f"aws_secret_access_key={self.key.secret_access_key}\n"
            f"aws_session_token={self.key.session_token}\n"
        )
        (self.directory / "clock").write_text("0")
        self.options |= {
            "bootstrap": [kafka.address("iam")],
            "region": REGION,
            "auth": "msk-iam",
            "ca_file": str(kafka.ca_file),
            "config": {"broker.address.family": "v4"},
        }

    def disbelieve(self, how: dict[str, Choice]) -> None:
        """From now on nobody believes who the worker is."""
        if self.system != "kafka":
            self.refuse(*EVERYTHING, how=how)
        elif how is EXPIRED:
            assert self.running is not None
            self.running.service.revoke(self.key)
        else:
            (self.directory / "clock").write_text("600")
            self.terminate()
            self.processes[-1].wait(60)
            self.start()

    def last(self) -> None:
        """The fault goes on for its time."""
        time.sleep(self.fault_s * WARM_PART)
        self.memory.mark()
        time.sleep(self.fault_s * (1 - WARM_PART))

    def mend(self) -> None:
        self.proxy.mend()
        if self.key is not None:
            self.sign_in()

    # --- what came of it --------------------------------------------------------------------------

    def numbers(self, step: str) -> Counter[int]:
        path = self.directory / "steps"
        lines = path.read_text().splitlines() if path.exists() else []
        pairs = [line.split()[:2] for line in lines]
        return Counter(int(number) for one, number in pairs if one == step)

    def count_marks(self, count: int) -> None:
        """From now on so many tasks can be counted: `noop`, in programs that begin after this."""
        (self.directory / "marks").write_bytes(bytes(count))

    def marked(self) -> int:
        """How many of them have run."""
        return (self.directory / "marks").read_bytes().count(1)

    def until(self, condition: Callable[[], object], seconds: float = PATIENCE_S) -> bool:
        end_s = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end_s:
                return False
            time.sleep(0.02)
        return True

    def all_ended(self, count: int = JOBS) -> bool:
        return self.until(lambda: len(self.numbers("ended")) >= count)

    def told(self, count: int = JOBS, runs: int = 1) -> str:
        """`runs` is how often each job has to begin."""
        begun, ended = self.numbers("begun"), self.numbers("ended")
        again = sum(max(0, times - runs) for times in begun.values())
        parts = [f"ran {len(ended)}/{count}", f"{again} again"]
        if len(ended) < count:
            parts.append(f"{count - len(ended)} missing")
        return ", ".join(parts)


# --- the rows -------------------------------------------------------------------------------------


def deletes_refused(case: Case) -> str:
    """Every delete is refused with 403 for a while."""
    _ended_undeleted(case)
    return _mended(case)


def deletes_lost(case: Case) -> str:
    """Each delete is carried out, and its answer lost by a reset, for a while."""
    _ended_undeleted(case, LOST)
    return _mended(case)


def _mended(case: Case) -> str:
    """The fault goes on for its time; then what is left runs, and what would come again does."""
    case.last()
    case.mend()
    case.all_ended()
    time.sleep(2 * LEASE_S)
    return case.told()


def work_is_long(case: Case) -> str:
    """The work takes twice as long as the lease; on Kafka longer than a silent consumer may."""
    case.work_s = 2 * LEASE_S
    if case.system == "kafka":
        case.work_s = 8.0
        case.options = {"config": {"max.poll.interval.ms": 6_000}}
    case.send(count=8)
    case.start()
    case.all_ended(8)
    time.sleep(2 * LEASE_S)
    return case.told(8)


def retries_refused(case: Case) -> str:
    """Every job fails once; nothing can be enqueued for a while."""
    case.options = {"backoff_ms": 500}
    case.send("unsure")
    case.refuse("send")
    case.start()
    case.until(lambda: len(case.numbers("begun")) >= JOBS, case.fault_s)
    case.last()
    case.proxy.mend()
    case.all_ended()
    return case.told(runs=2)


def retries_are_late(case: Case) -> str:
    """Every job fails once, and is to be tried again in 16 minutes."""
    case.options = {"backoff_ms": 16 * 60_000}
    case.send("unsure")
    case.start()
    case.until(lambda: len(case.numbers("begun")) >= JOBS)
    time.sleep(3.0)
    count = case_count(case)
    return f"{count} of {JOBS} kept"


def receives_refused(case: Case) -> str:
    """Nothing can be received for a while."""
    case.send()
    case.refuse("receive")
    case.start()
    case.last()
    case.proxy.mend()
    case.all_ended()
    return case.told()


def credentials_expired(case: Case) -> str:
    """After the first jobs nobody believes who we are, for a while."""
    return _nothing_goes(case, EXPIRED)


def clock_wrong(case: Case) -> str:
    """The same, because the clock is minutes apart."""
    return _nothing_goes(case, SKEWED)


def _nothing_goes(case: Case, how: dict[str, Choice]) -> str:
    case.work_s = 0.2
    case.sign_in()
    case.send()
    case.start()
    case.until(lambda: len(case.numbers("ended")) >= 4)
    case.disbelieve(how)
    return _mended(case)


def killed_before_deletes(case: Case) -> str:
    """kill -9 once all jobs have ended, and before anything was deleted."""
    _ended_undeleted(case)
    return _killed_and_begun_anew(case, after_s=0.5)


def killed_in_work(case: Case) -> str:
    """kill -9 in the middle of work; a job that was interrupted has to run again."""
    case.work_s = 0.5
    case.send()
    case.start()
    case.until(lambda: len(case.numbers("ended")) >= 6)
    case.kill()
    case.start()
    case.all_ended()
    return case.told()


def killed_in_drain(case: Case) -> str:
    """Told to stop while deletes are refused, then kill -9."""
    _ended_undeleted(case)
    case.terminate()
    return _killed_and_begun_anew(case, after_s=1.0)


def broker_restarts(case: Case) -> str:
    """The cluster is killed in the middle of work, and started again."""
    assert case.running is not None
    case.work_s = 0.2
    case.send()
    case.start()
    case.until(lambda: len(case.numbers("ended")) >= 4)
    case.running.kill()
    time.sleep(case.fault_s)
    case.running.start()
    return _mended(case)


def another_joins(case: Case) -> str:
    """A second process joins in the middle of work, and takes over half of it."""
    case.work_s = 0.2
    case.send()
    case.start()
    case.until(lambda: len(case.numbers("ended")) >= 4)
    case.start()
    return _mended(case)


def _ended_undeleted(case: Case, how: dict[str, Choice] = FORBIDDEN) -> None:
    case.send()
    case.refuse("settle", how=how)
    case.start()
    case.all_ended()


def _killed_and_begun_anew(case: Case, *, after_s: float) -> str:
    time.sleep(after_s)
    case.kill()
    case.proxy.mend()
    case.start()
    time.sleep(PATIENCE_S / 2)
    return case.told()


ROWS: dict[str, Callable[[Case], str]] = {
    "deletes refused (403)": deletes_refused,
    "delete done, answer lost": deletes_lost,
    "work longer than the lease": work_is_long,
    "re-enqueue refused": retries_refused,
    "retry in 16 minutes": retries_are_late,
    "receive refused": receives_refused,
    "credentials expired": credentials_expired,
    "clock wrong": clock_wrong,
    "kill -9 before the deletes": killed_before_deletes,
    "kill -9 in the middle of work": killed_in_work,
    "kill -9 in drain": killed_in_drain,
}


KAFKA_ROWS: dict[str, Callable[[Case], str]] = {
    "cluster killed and started": broker_restarts,
    "rebalance in the middle of work": another_joins,
}


def case_count(case: Case) -> int:
    """Messages in the queue, in whatever state."""
    if case.system == "kafka":
        from eventpost.workers.kafka import KafkaBroker

        broker = KafkaBroker(
            bootstrap=case.given["bootstrap"], namespace=case.given["namespace"], middleware=[]
        )
        queue = broker.open_queue("default")
        found = queue.count()
        queue.close()
        assert isinstance(found, int), found
        return found
    if case.system == "sqs":
        import boto3

        client = boto3.client(
            "sqs",
            endpoint_url=case.given["url"],
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
        )
        urls = client.list_queues(QueueNamePrefix=case.given["namespace"]).get("QueueUrls", [])
        names = ["", "Delayed", "NotVisible"]
        wanted = [f"ApproximateNumberOfMessages{name}" for name in names]
        total = 0
        for url in urls:
            found = client.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)
            total += sum(int(value) for value in found["Attributes"].values())
        client.close()
        return total
    from azure.storage.queue import QueueServiceClient

    service = QueueServiceClient.from_connection_string(case.given["connection_string"])
    total = 0
    for one in service.list_queues(name_starts_with=case.given["namespace"]):
        properties = service.get_queue_client(one.name).get_queue_properties()
        total += properties.approximate_message_count or 0
    service.close()
    return total


@contextmanager
def opened(
    system: str,
    broker: str,
    port: int,
    fault_s: float,
    *,
    is_direct: bool = False,
    running: Running[Any] | None = None,
) -> Iterator[Case]:
    speaks: Literal["http", "kafka"] = "kafka" if system == "kafka" else "http"
    with (
        tempfile.TemporaryDirectory() as directory,
        FaultProxy("127.0.0.1", port, speaks=speaks) as proxy,
    ):
        direct = port if is_direct else 0
        case = Case(system, broker, proxy, Path(directory), fault_s, port=direct, running=running)
        try:
            yield case
        finally:
            case.memory.close()
            case.kill()


STOCK = {"sqs": "dramatiq_sqs", "storagequeue": "dramatiq_azure", "kafka": ""}
SERVICES: dict[str, Any] = {"sqs": ElasticMQ, "storagequeue": AzuriteInMemory, "kafka": QuickKafka}
PORTS = {"sqs": "http", "storagequeue": "queue", "kafka": "plain"}


def print_table(system: str, seconds: float, wanted: str) -> None:
    """Of one service; a system that has no stock broker has one column less."""
    brokers = {"eventpost": "eventpost"}
    if STOCK[system]:
        brokers["stock"] = STOCK[system]
    print(f"\n| {system} | {' | '.join(brokers.values())} |\n|---|{'---|' * len(brokers)}")
    rows = ROWS | (KAFKA_ROWS if system == "kafka" else {})
    with (
        tempfile.TemporaryDirectory() as directory,
        launched(SERVICES[system], Path(directory) / "service") as running,
    ):
        port = running.service.ports[PORTS[system]]
        for name, row in rows.items():
            if wanted not in name:
                continue
            cells = []
            for broker in brokers:
                with opened(system, broker, port, seconds, running=running) as case:
                    cells.append(f"{row(case)}; {case.memory.told()}")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=FAULT_S, help="how long each fault lasts")
    parser.add_argument("--only", choices=list(SERVICES), help="one service alone")
    parser.add_argument("--row", default="", help="rows whose name has this in it")
    arguments = parser.parse_args()
    print(
        f"each fault lasts {arguments.seconds:g} s; {JOBS} jobs; leases of {LEASE_S:g} s; "
        "there is no stock broker for Kafka"
    )
    for system in [arguments.only] if arguments.only else SERVICES:
        print_table(system, arguments.seconds, arguments.row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
