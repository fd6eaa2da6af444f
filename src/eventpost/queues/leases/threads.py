"""The engine's hands as threads: as many as there is work for, up to a bound for each role."""

import threading
import time
from typing import TYPE_CHECKING

from eventpost.queues.leases.commands import Receive, Role

if TYPE_CHECKING:
    from eventpost.queues.leases.engine import Leases


EARLIER_S = 0.001
"""Nobody is woken for what is due so little before he wakes anyway."""
AFTER_YOU_S = 0.0002
"""After a long poll: whoever waited for what it brought goes first. To ask again keeps Python's one
interpreter for a millisecond."""
NEVER_S = float("inf")


class ThreadRunner:
    """Starts a thread when a role has work and nobody is idle. Threads are daemons: a process that
    ends without closing its engine does not hang on a long poll."""

    def __init__(self, engine: "Leases") -> None:
        self._engine = engine
        self._is_stopped = False
        self._turns = {role: threading.Condition(engine.lock) for role in Role}
        self._idle_counts = dict.fromkeys(Role, 0)
        self._wakes_s = dict.fromkeys(Role, NEVER_S)
        """When one of the idle threads looks again, at the latest; later where it is not known."""
        self._threads: dict[Role, list[threading.Thread]] = {role: [] for role in Role}
        self._counts_max = {
            Role.RECEIVE: engine.limits.receive_calls_max,
            Role.EXTEND: 1,
            Role.SETTLE: engine.limits.settle_calls_max,
        }

    def kick(self, role: Role) -> None:
        threads = self._threads[role]
        if self._idle_counts[role]:
            due_s = self._engine.due_s(role)
            if due_s < self._wakes_s[role] - EARLIER_S:
                self._wakes_s[role] = due_s
                self._turns[role].notify()
        elif len(threads) < self._counts_max[role] and not self._is_stopped:
            name = f"eventpost-leases-{role.value}-{len(threads)}"
            thread = threading.Thread(target=self._run, args=(role,), name=name, daemon=True)
            threads.append(thread)
            thread.start()

    def stop(self) -> None:
        self._is_stopped = True
        for turn in self._turns.values():
            turn.notify_all()

    def join(self, seconds: float) -> None:
        for thread in [one for threads in self._threads.values() for one in threads]:
            if thread is not threading.current_thread():
                thread.join(seconds)

    def _run(self, role: Role) -> None:
        engine, turn = self._engine, self._turns[role]
        while True:
            with engine.lock:
                if self._is_stopped:
                    return
                command, wait_s = engine.next(role)
                if command is None and not engine.has_news:
                    self._idle_counts[role] += 1
                    self._wakes_s[role] = engine.due_s(role)
                    turn.wait(wait_s if wait_s < threading.TIMEOUT_MAX else None)
                    self._wakes_s[role] = NEVER_S
                    self._idle_counts[role] -= 1
                    continue
                if command is not None and wait_s <= 0.0:
                    self.kick(role)  # there is more to do at once
            engine.tell()
            if command is not None:
                engine.run(command)
            if isinstance(command, Receive) and command.wait_s:
                time.sleep(AFTER_YOU_S)
