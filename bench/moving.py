"""`eventpost move` from RabbitMQ to a Storage Queue, beside the two plain clients."""

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from azure.storage.queue import QueueClient
from tests.queues.leases.places import Place
from tests.services.azurite import AzuriteInMemory
from tests.services.rabbitmq import RabbitMQ
from tests.services.running import launched
from tests.services.service import fresh_name

from bench import queues_plain as plain
from bench.queues import Figures, filled
from bench.servers import SERVER_CORE, Harness

SHARE = 0.03
MESSAGES_MIN = 500


async def move(_harness: Harness, count: int) -> Figures:
    """The whole command, from its start to its account."""
    messages = max(MESSAGES_MIN, int(count * SHARE))
    with (
        tempfile.TemporaryDirectory() as directory,
        launched(RabbitMQ, Path(directory) / "from") as source,
        launched(AzuriteInMemory, Path(directory) / "to") as target,
    ):
        amqp = {"host": "127.0.0.1", "port": source.service.ports["amqp"]}
        place = Place("rabbitmq", amqp, fresh_name("bench"), {"create": True})
        text = target.service.connection_string
        with QueueClient.from_connection_string(text, fresh_name("bench")) as client:
            client.create_queue()
            await asyncio.to_thread(filled, place, messages)
            url = source.service.url
            work = partial(plain.rabbitmq_to_storagequeue, url, place.name, client, messages)
            plainly = await asyncio.to_thread(plain.on_the_servers_core, work)
            await asyncio.to_thread(filled, place, messages)
            ends = [f"source/{place.name}", f"target/{client.queue_name}"]
            run = partial(_moved, Path(directory), amqp, text, ends, messages)
            moved_s, cpu_s = await asyncio.to_thread(run)
        return {
            "messages": messages,
            "messages_per_s": messages / moved_s,
            "plain_per_s": messages / plainly.seconds,
            "rate_to_plain": plainly.seconds / moved_s,
            "cpu_s_per_1000": cpu_s / messages * 1000,
            "plain_cpu_s_per_1000": plainly.cpu_s / messages * 1000,
        }


def _moved(
    directory: Path, amqp: dict[str, object], text: str, ends: list[str], messages: int
) -> tuple[float, float]:
    """Seconds of the command, and its processor time."""
    connections = {
        "source": {"kind": "rabbitmq", **amqp},
        "target": {"kind": "azure-storage", "connection_string": "env:BENCH_MOVE_STORAGE"},
    }
    config = directory / "eventpost.yaml"
    config.write_text(json.dumps({"connections": connections}))  # which is YAML, too
    command = [sys.executable, "-m", "eventpost", "move", "--config", str(config), "--json"]
    command += ["--from", ends[0], "--to", ends[1], "--journal", str(directory / "journal")]
    cpu_s, start_s = _children_s(), time.perf_counter()
    done = subprocess.run(
        command,
        env=os.environ | {"BENCH_MOVE_STORAGE": text},
        capture_output=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
    )
    elapsed_s = time.perf_counter() - start_s
    if not done.stdout:
        raise RuntimeError(done.stderr.decode())
    account = json.loads(done.stdout)
    if account["moved"] != messages:
        raise RuntimeError(f"the move came to {account}")
    return elapsed_s, _children_s() - cpu_s


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
