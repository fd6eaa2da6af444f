"""The lease engine without threads: its calls begin and end on a virtual clock, in turn.

Layer: testing. Over a `MemoryQueue` of a server on the same clock:

    clock = VirtualClock()
    server = MemoryServer(monotonic_s=clock.monotonic_s).create("songs")
    leases = Leases(
        lambda: server.queue("songs"),
        monotonic_s=clock.monotonic_s,
        random=Random(seed),
        new_runner=lambda engine: StepRunner(engine, clock),
    )
    leases.start()
    clock.advance(3600)
"""

from collections.abc import Callable

from eventpost.queues.leases.commands import Command, Page, Receive, Result, Role
from eventpost.queues.leases.engine import Leases
from eventpost.testing.clock import VirtualClock, VirtualTimer
from eventpost.testing.memory_queue import MemoryQueue

POLL_S = 0.25
"""How often a long poll that waits looks whether something was sent."""

Latency = Callable[[Command], tuple[float, float]]
"""How long a call takes until the server acts, and from then until its answer is here."""


def no_latency(_command: Command) -> tuple[float, float]:
    return 0.0, 0.0


class StepRunner:
    """Implements `Runner`. As many calls are under way at once as threads would make."""

    def __init__(
        self, engine: Leases, clock: VirtualClock, *, latency: Latency = no_latency
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._latency = latency
        self._is_stopped = False
        self._kicked: set[Role] = set()
        self._timers: dict[Role, VirtualTimer] = {}
        self._counts = dict.fromkeys(Role, 0)
        self._counts_max = {
            Role.RECEIVE: engine.limits.receive_calls_max,
            Role.EXTEND: 1,
            Role.SETTLE: engine.limits.settle_calls_max,
        }

    def kick(self, role: Role) -> None:
        if role not in self._kicked:
            self._kicked.add(role)
            self._clock.call_soon(self._turn, role)

    def stop(self) -> None:
        self._is_stopped = True

    def join(self, seconds: float) -> None:
        """Nothing runs by itself here."""

    def _turn(self, role: Role) -> None:
        self._kicked.discard(role)
        while not self._is_stopped and self._counts[role] < self._counts_max[role]:
            command, wait_s = self._engine.next(role)
            if command is None:
                self._sleep(role, wait_s)
                break
            self._counts[role] += 1
            before_s, after_s = self._latency(command)
            self._clock.call_later(before_s, self._act, role, command, after_s)
        self._engine.tell()

    def _sleep(self, role: Role, wait_s: float) -> None:
        timer = self._timers.pop(role, None)
        if timer is not None:
            timer.cancel()
        if wait_s < float("inf"):
            self._timers[role] = self._clock.call_later(wait_s, self._turn, role)

    def _act(self, role: Role, command: Command, after_s: float) -> None:
        wake_count = self._wake_count()
        result = self._engine.carry_out(command)
        until_s = self._clock.monotonic_s()
        if isinstance(command, Receive) and not command.again:
            until_s += command.wait_s
        self._wait(role, command, result, after_s, until_s, wake_count)

    def _wait(
        self,
        role: Role,
        command: Command,
        result: Result,
        after_s: float,
        until_s: float,
        wake_count: int,
    ) -> None:
        """A long poll that brought nothing yet goes on until its time is over, or it is woken."""
        now_s = self._clock.monotonic_s()
        is_empty = isinstance(result, Page) and not result.received
        if not is_empty or now_s >= until_s or self._wake_count() != wake_count:
            self._clock.call_later(after_s, self._answer, role, command, result)
            return
        queue = self._engine.queue
        assert isinstance(queue, MemoryQueue)
        visible_s = queue.next_visible_s()
        if visible_s <= now_s:
            result = self._engine.carry_out(command)
            visible_s = now_s
        pause_s = min(visible_s, until_s, now_s + POLL_S) - now_s
        arguments = (role, command, result, after_s, until_s, wake_count)
        self._clock.call_later(pause_s, self._wait, *arguments)

    def _wake_count(self) -> int:
        """Another one when the engine was closed."""
        queue = None if self._is_stopped else self._engine.queue
        return queue.wake_count if isinstance(queue, MemoryQueue) else -1

    def _answer(self, role: Role, command: Command, result: Result) -> None:
        self._counts[role] -= 1
        self._engine.answer(command, result)
        if not self._is_stopped:
            self.kick(role)
