"""One event loop on a thread of its own, for all RabbitMQ queues of this process.

Layer: queues. The AMQP client speaks asyncio, the contract of queues blocks: this is the bridge.
The thread begins with the first that needs it and ends with the last. A forked child has no threads
of its parent's, so it begins one of its own.
"""

import asyncio
import logging
import os
import socket
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from eventpost.http.names import Resolver

Result = TypeVar("Result")
STOP_S_MAX = 5.0
"""How long the last one waits for the thread's end; it is a daemon and keeps no process alive."""
CLIENT_LOGGERS = ("aiormq.connection", "aiormq.channel")


class LoopThread:
    """A running event loop, and what is shared on it."""

    def __init__(self) -> None:
        self._process_id = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.resolver = Resolver(self.loop)
        self.shared: dict[object, Any] = {}
        """What users of the thread have in common, by keys of their own. On the loop only."""
        self._thread = threading.Thread(target=self._run, name="eventpost-rabbitmq", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Run `work` on the loop. From any other thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    @property
    def is_of_this_process(self) -> bool:
        return self._process_id == os.getpid()

    def stop(self) -> None:
        """End the loop and the thread, and wait for that."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(STOP_S_MAX)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.resolver.close()
            self._cancel_all()
            self.loop.close()

    def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


class _Process:
    """The thread of this process, and how many need it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: LoopThread | None = None
        self.user_count = 0
        self.sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()


_process = _Process()
_parents: list[_Process] = []
"""What a forked child found here: never used, and never collected, which would touch it."""


def join() -> LoopThread:
    """The thread, begun if need be. Each call is answered by one `leave`."""
    with _process.lock:
        if _process.thread is None:
            _quieten()
            _process.thread = LoopThread()
        _process.user_count += 1
        return _process.thread


def leave(thread: LoopThread) -> None:
    """Be done with the thread; it ends when everybody is. Harmless with a parent's."""
    with _process.lock:
        if thread is not _process.thread:
            return
        _process.user_count -= 1
        if _process.user_count:
            return
        _process.thread = None
    thread.stop()


def forget_in_child(sock: socket.socket) -> None:
    """A forked child closes its copy, so that the connection ends when the parent closes it."""
    _process.sockets.add(sock)


def _after_fork_in_child() -> None:
    global _process
    _parents.append(_process)
    for sock in list(_process.sockets):
        sock.close()
    _process = _Process()


class _NotOurs(logging.Filter):
    """Drops what the client library logs about our connections: it comes as evidence instead."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.threadName != "eventpost-rabbitmq"


def _quieten() -> None:
    for name in CLIENT_LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, _NotOurs) for each in logger.filters):
            logger.addFilter(_NotOurs())


os.register_at_fork(after_in_child=_after_fork_in_child)
