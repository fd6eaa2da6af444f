"""From one queue through the grid to another, of each queue system, beside its plain client.

The services run on the harness's core; the server, and the plain client when it is its turn, have
the other core to themselves. Both find the same: two new queues with nothing else beside them, and
as many messages. They run by turns, and the better run of each counts.
"""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.queues.leases.places import Place

from bench import queues_plain as plain
from bench.load import event
from bench.pace import Pace, Took
from bench.queues_grounds import GROUNDS, Ends, Ground, NewGround
from bench.queues_idle import Idle, per_hour
from bench.servers import Harness, Process, start_server
from eventpost.core.outcomes import Delivered
from eventpost.queues.interfaces import Message
from eventpost.registry.declarations import (
    ConnectionDeclaration,
    SourceDeclaration,
    SubscriptionDeclaration,
)
from eventpost.testing.fault_proxy import FaultProxy

WAIT_S = 120.0
CONCURRENCY = 1_000
PAGE = 200
COUNTED = 500
"""Messages of the run through a proxy that counts requests."""
RUNS = 2
"""Of the plain client, and of the grid. The first one also warms the service up."""
TOPIC = "bench"
ASK_S_MIN, ASK_S_MAX = 0.02, 0.2
"""How often the server is asked how far it is, by how long the plain client took: each question
costs the server as much as a message."""
ASKED = 50
Figures = dict[str, float]


def row(system: str, share: float) -> Callable[[Harness, int], Awaitable[Figures]]:
    """The row of one system: so many messages for each delivery of a usual row."""
    return partial(_measured, GROUNDS[system], share)


def idle_row(system: str) -> Callable[[Harness, int], Awaitable[Figures]]:
    """The row of one system's empty queue."""
    return partial(_idle, GROUNDS[system])


async def _measured(new_ground: NewGround, share: float, _harness: Harness, count: int) -> Figures:
    messages = max(COUNTED, int(count * share))
    plains: list[Took] = []
    ours: list[Moved] = []
    with tempfile.TemporaryDirectory() as directory, new_ground(Path(directory)) as ground:
        for _ in range(RUNS):
            plains.append(await _by_the_plain_client(ground, messages))
            with ground.pair() as ends:
                ask_s = plains[-1].seconds / ASKED
                ours.append(
                    await _moved(ends, ends, messages, ask_s=ask_s, prefetch=ground.prefetch)
                )
        plainly = min(plains, key=lambda one: one.seconds)
        moved = min(ours, key=lambda one: one.took.seconds)
        figures = {
            "messages": messages,
            "messages_per_s": messages / moved.took.seconds,
            "plain_per_s": messages / plainly.seconds,
            "rate_to_plain": plainly.seconds / moved.took.seconds,
            "server_cpu_s_per_1000": moved.took.cpu_s / messages * 1000,
            "plain_cpu_s_per_1000": plainly.cpu_s / messages * 1000,
            "memory_mb": moved.memory_mb,
        }
        if ground.http_port:
            with ground.pair() as ends, FaultProxy("127.0.0.1", ground.http_port) as proxy:
                await _moved(ends, _through(proxy, ground.http_port, ends), COUNTED)
                figures["requests_per_message"] = len(proxy.requests) / COUNTED
        return figures


async def _by_the_plain_client(ground: Ground, count: int) -> Took:
    with ground.pair() as ends:
        await asyncio.to_thread(filled, ends[0], count)
        work = partial(ground.plain, ends, count)
        return await asyncio.to_thread(plain.on_the_servers_core, work)


async def _idle(new_ground: NewGround, _harness: Harness, _count: int) -> Figures:
    """A source that has just had messages, and gets none any more."""
    with (
        tempfile.TemporaryDirectory() as directory,
        new_ground(Path(directory)) as ground,
        ground.pair() as ends,
    ):
        if ground.idle_count is not None:
            idle = Idle(ground.idle_count, ground.idle_s)
            return (await _moved(ends, ends, COUNTED, idle=idle)).idle
        with FaultProxy("127.0.0.1", ground.http_port) as proxy:
            idle = Idle(lambda _: len(proxy.requests), ground.idle_s)
            reached = _through(proxy, ground.http_port, ends)
            return (await _moved(ends, reached, COUNTED, idle=idle)).idle


def _through(proxy: FaultProxy, port: int, ends: Ends) -> Ends:
    def led(place: Place) -> Place:
        told = json.dumps([place.connection, place.secrets])
        connection, secrets = json.loads(
            told.replace(f"127.0.0.1:{port}", f"127.0.0.1:{proxy.port}")
        )
        return replace(place, connection=connection, secrets=secrets)

    return led(ends[0]), led(ends[1])


@dataclass(frozen=True, slots=True)
class Moved:
    """What a run through the grid took, until every message was delivered and settled."""

    took: Took
    memory_mb: float
    idle: Figures


async def _moved(
    ends: Ends,
    reached: Ends,
    count: int,
    *,
    ask_s: float = ASK_S_MAX,
    prefetch: int = COUNTED,
    idle: Idle | None = None,
) -> Moved:
    """Fill the first and move so many messages through a server, which reaches both as `reached`
    says; then watch it with nothing to do."""
    await asyncio.to_thread(filled, ends[0], count)
    os.environ.update(reached[0].secrets)
    process = await start_server()
    try:
        await asyncio.to_thread(_declared, process, reached)
        ask_s = min(max(ASK_S_MIN, ask_s), ASK_S_MAX)
        source = _source(reached[0], prefetch)
        took = await asyncio.to_thread(_pulled, process, source, count, ask_s)
        memory_mb = process.memory_mb()
        watched = await asyncio.to_thread(per_hour, process, idle) if idle is not None else {}
        return Moved(took, memory_mb, watched)
    finally:
        process.stop()


def filled(place: Place, count: int) -> None:
    """Send so many messages to it."""
    with closing(place.open()) as queue:
        for first in range(0, count, PAGE):
            page = [
                Message(body=event(number)) for number in range(first, min(count, first + PAGE))
            ]
            for outcome in queue.send(page):
                if not isinstance(outcome, Delivered):
                    raise RuntimeError(f"{place.kind} did not take a message: {outcome.evidence}")


def _declared(process: Process, ends: Ends) -> None:
    first, second = ends
    with process.client() as client:
        client.create_topic(TOPIC)
        client.create_connection(
            ConnectionDeclaration(
                name="home", kind=first.connection_kind, settings=first.connection
            )
        )
        client.create_subscription(
            SubscriptionDeclaration(
                topic=TOPIC,
                name="bench-out",
                endpoint=second.name,
                endpoint_type=second.kind,
                endpoint_options=second.options,
                connection="home",
                concurrency=CONCURRENCY,
            )
        )


def _source(place: Place, prefetch: int) -> SourceDeclaration:
    return SourceDeclaration(
        name="bench-in",
        topic=TOPIC,
        kind=place.kind,
        queue=place.name,
        options=place.options,
        connection="home",
        prefetch=prefetch,
    )


def _pulled(process: Process, source: SourceDeclaration, count: int, ask_s: float) -> Took:
    with process.client() as client:
        client.create_source(source)
        pace = Pace(count, process.cpu_s)
        end_s = time.perf_counter() + WAIT_S
        while time.perf_counter() < end_s:
            delivered = sum(
                each.delivered for each in client.show_report().subscriptions if each.topic == TOPIC
            )
            counts = client.show_source(source.name).counts
            settled = 0 if counts is None else counts.settled
            pace.came(min(delivered, settled))
            if min(delivered, settled) >= count:
                return pace.took()
            time.sleep(ask_s)
    raise TimeoutError(f"{delivered} of {count} came in {WAIT_S:.0f} s, {settled} settled")
