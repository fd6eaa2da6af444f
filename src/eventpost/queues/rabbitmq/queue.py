"""A RabbitMQ queue or exchange under the contract of queues: blocking calls, from any thread.

Layer: queues. Each call is a coroutine on the loop's thread, waited for here.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, TypeVar

from eventpost.core.outcomes import Evidence, Failed, Fault, Outcome, Stage
from eventpost.http.failures import bounded
from eventpost.queues.interfaces import Depth, Message, Permission, Received, Rung, Settled, Verdict
from eventpost.queues.kinds import Services
from eventpost.queues.rabbitmq import failures, thread
from eventpost.queues.rabbitmq.link import Core
from eventpost.queues.rabbitmq.permissions import permissions
from eventpost.queues.rabbitmq.probe import depth, probe
from eventpost.queues.rabbitmq.session import State, receipt_of
from eventpost.queues.rabbitmq.settings import RabbitmqConnection
from eventpost.queues.rabbitmq.target import WAIT_S_MAX, Target

Result = TypeVar("Result")
CLOSE_S_MAX = 10.0
MARGIN_S = 5.0
"""Beyond every bound of a call: who waits longer than that waits for a fault of ours."""


class RabbitmqQueue:
    """One queue, or exchange with its routing key, of one server."""

    def __init__(self, settings: RabbitmqConnection, target: Target, services: Services) -> None:
        self.traits = target.traits()
        self.identity = target.identity(settings.server())
        self._settings = settings
        self._target = target
        self._client_id = services.client_id
        self._lock = threading.Lock()
        self._core: Core | None = None
        self._is_closed = False

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        """Each is confirmed by the server, or a failure; a returned one is NO_ROUTE."""
        if not messages:
            return []
        answer = self._call("send", lambda core: core.publisher.send(messages))
        return [answer] * len(messages) if isinstance(answer, Failed) else answer

    def receive(self, count_max: int, wait_s: float, lease_s: float) -> list[Received] | Failed:
        """What the server has pushed; `lease_s` means nothing here."""
        if not self._target.queue:
            return _nowhere(f"{self.identity} names no queue.")
        count = max(1, min(count_max, self.traits.receive_count_max))
        wait_s = max(0.0, min(wait_s, WAIT_S_MAX))
        started_s = time.monotonic()
        answer = self._call("receive", lambda core: core.consumer.receive(count, wait_s), wait_s)
        if isinstance(answer, Evidence):
            return failures.failed(answer, "receive", time.monotonic() - started_s)
        return answer

    def extend(self, held: Sequence[Received], lease_s: float) -> Sequence[Verdict]:
        """Nothing to do: what is held is held while its channel lives."""
        return [Settled.DONE if _is_held(each) else Settled.LOST for each in held]

    def settle(self, held: Sequence[Received]) -> Sequence[Verdict]:
        """Acknowledge, and wait until the server has read it."""
        receipts = [receipt_of(each) for each in held]
        return self._verdicts("settle", held, lambda core: core.consumer.settle(receipts))

    def release(self, held: Sequence[Received], delay_s: float) -> Sequence[Verdict]:
        """Requeue, or put a copy into a delay queue and acknowledge."""
        return self._verdicts("release", held, lambda core: core.release(held, delay_s))

    def probe(self) -> Sequence[Rung]:
        """Connects anew and looks; declares, sends and receives nothing."""
        looking = self._call(
            "probe",
            lambda core: probe(self._settings, self._target, core.thread, self._client_id),
        )
        return [Rung(name="connect", failed=looking)] if isinstance(looking, Failed) else looking

    def permissions(self) -> Sequence[Permission] | Failed:
        """Which permissions we have, found out without using any. Connects anew."""
        return self._call(
            "probe",
            lambda core: permissions(self._settings, self._target, core.thread, self._client_id),
        )

    def depth(self) -> Depth | Failed:
        """Messages that are ready. Connects anew."""
        return self._call(
            "probe",
            lambda core: depth(self._settings, self._target, core.thread, self._client_id),
        )

    def wake(self) -> None:
        core = self._core
        if core is not None and core.is_of_this_process:
            with suppress(RuntimeError):  # the loop has just been closed
                core.thread.loop.call_soon_threadsafe(core.consumer.wake)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            core, self._core = self._core, None
        if core is not None and core.is_of_this_process:
            closing = core.thread.submit(core.close())
            with suppress(TimeoutError, CancelledError):
                closing.result(CLOSE_S_MAX)
            thread.leave(core.thread)

    def _call(
        self,
        operation: str,
        work: Callable[[Core], Coroutine[Any, Any, Result]],
        wait_s: float = 0.0,
    ) -> Result | Failed:
        """What the work gives, or why it gave nothing."""
        started_s = time.monotonic()
        timeouts = self._settings.timeouts
        bound_s = wait_s + timeouts.connect_s + 3 * timeouts.request_s
        evidence = Evidence(stage=Stage.WAIT, fault=Fault.CLOSED)
        try:
            core = self._core_of_this_process()
            if core is not None:
                return core.thread.submit(_within(work(core), bound_s)).result(bound_s + MARGIN_S)
        except TimeoutError:
            evidence = Evidence(stage=Stage.WAIT, fault=Fault.TIMED_OUT)
        except CancelledError:
            pass  # closed under way
        except Exception as error:  # noqa: BLE001 - the edge: an unknown error becomes evidence
            evidence = Evidence(
                stage=Stage.WAIT, fault=Fault.UNEXPECTED, detail=bounded(repr(error))
            )
        return failures.failed(evidence, operation, time.monotonic() - started_s)

    def _core_of_this_process(self) -> Core | None:
        """None once it is closed."""
        with self._lock:
            if self._is_closed:
                return None
            if self._core is None or not self._core.is_of_this_process:
                self._core = self._made(thread.join())
            return self._core

    def _made(self, joined: thread.LoopThread) -> Core:
        async def make() -> Core:
            return Core(self._settings, self._target, self._client_id, joined)

        return joined.submit(make()).result(MARGIN_S)

    def _verdicts(
        self,
        operation: str,
        held: Sequence[Received],
        work: Callable[[Core], Coroutine[Any, Any, Sequence[Settled | Evidence | Failed]]],
    ) -> Sequence[Verdict]:
        if not held:
            return []
        if self._is_closed:  # with its channel gone, everything comes again
            return [_after_the_end(each) for each in held]
        started_s = time.monotonic()
        answer = self._call(operation, work)
        if isinstance(answer, Failed):
            return [answer] * len(held)
        elapsed_s = time.monotonic() - started_s
        return [
            failures.failed(each, operation, elapsed_s) if isinstance(each, Evidence) else each
            for each in answer
        ]


async def _within(work: Coroutine[Any, Any, Result], bound_s: float) -> Result:
    async with asyncio.timeout(bound_s):
        return await work


def _is_held(held: Received) -> bool:
    receipt = receipt_of(held)
    return receipt.state is State.HELD and receipt.session.is_alive


def _after_the_end(held: Received) -> Settled:
    return Settled.DONE if receipt_of(held).state is State.SETTLED else Settled.LOST


def _nowhere(what: str) -> Failed:
    evidence = failures.answered(failures.NO_QUEUE, what, stage=Stage.SETTINGS)
    return failures.failed(evidence, "receive", 0.0)
