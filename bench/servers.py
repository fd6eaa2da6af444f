"""The processes that are measured: the real server, and the raw floor, each on the first core."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load import Publisher, Receiver, Tally, Work
from eventpost import Client
from eventpost.registry.declarations import SubscriptionDeclaration

SERVER_CORE, HARNESS_CORE = 0, 1
START_S = 20.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Process:
    """A measured process."""

    popen: "subprocess.Popen[bytes]"
    port: int
    data: Path | None = None

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self) -> float:
        """The high-water mark of its resident memory."""
        for line in Path(f"/proc/{self.popen.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def read_bytes(self) -> int:
        """Bytes that it read from files and sockets, of the system's cache, too."""
        for line in Path(f"/proc/{self.popen.pid}/io").read_text().splitlines():
            if line.startswith("rchar:"):
                return int(line.split()[1])
        return 0

    def reset_memory(self) -> None:
        Path(f"/proc/{self.popen.pid}/clear_refs").write_text("5")

    def client(self) -> Client:
        assert self.data is not None
        token = (self.data / "admin-token").read_text().strip()
        return Client(url=f"http://127.0.0.1:{self.port}", token=token)

    def stop(self) -> None:
        self.popen.terminate()
        try:
            self.popen.wait(60)
        except subprocess.TimeoutExpired:
            self.popen.kill()
        if self.data is not None:
            shutil.rmtree(self.data, ignore_errors=True)


def free_port() -> int:
    """Below the ephemeral range, so that no outgoing connection holds it."""
    import random
    import socket

    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


async def start_server(data: Path | None = None) -> Process:
    """`eventpost serve` on a data directory, a new one by default."""
    data = data or Path(tempfile.mkdtemp(prefix="eventpost-bench-"))
    port = free_port()
    command = [sys.executable, "-m", "eventpost", "serve"]
    command += ["--data", str(data), "--listen", f"127.0.0.1:{port}"]
    return await _started(command, port, data)


async def start_floor(url: str) -> Process:
    port = free_port()
    return await _started([sys.executable, "-m", "bench.floor", str(port), url], port, None)


async def _started(command: Sequence[str], port: int, data: Path | None) -> Process:
    popen = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
    )
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        if popen.poll() is not None:
            break
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return Process(popen, port, data)
    popen.kill()
    raise RuntimeError(f"{' '.join(command)} did not start")


class Harness:
    """Load generator and receiver on the second core."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.hook_port = free_port()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        os.sched_setaffinity(0, {HARNESS_CORE})
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Receiver(self.tally), "127.0.0.1", self.hook_port, backlog=4096
        )

    @property
    def hook(self) -> str:
        return f"http://127.0.0.1:{self.hook_port}/hook"

    async def publishers(self, port: int, count: int) -> Work:
        work = Work()
        loop = asyncio.get_running_loop()
        for _ in range(count):
            await loop.create_connection(lambda: Publisher(work), "127.0.0.1", port)
        return work


async def prepare(
    process: Process,
    hook: str,
    *,
    topic: str = "bench",
    subscriptions: int = 1,
    batch: int = 1,
    changes: dict[str, object] | None = None,
) -> str:
    """A topic with subscriptions to the receiver; returns the topic's key."""

    def work() -> str:
        with process.client() as client:
            client.create_topic(topic)
            for number in range(subscriptions):
                client.create_subscription(
                    SubscriptionDeclaration(
                        topic=topic,
                        name=f"bench-{number:05d}",
                        endpoint=f"{hook}/{number}",
                        max_events_per_batch=batch,
                        preferred_batch_size_in_kilobytes=1024 if batch > 1 else 64,
                        **(changes or {}),  # type: ignore[arg-type]
                    )
                )
            return client.list_keys(topic).key1

    return await asyncio.to_thread(work)
