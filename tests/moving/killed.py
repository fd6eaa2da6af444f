"""A move in a process of its own that kills itself at a named point.

`python -m tests.moving.killed` reads one JSON object from its standard input: the two ends, the
format, and `point` with `nth`, the time at which that point is the last; and prints the account.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from eventpost.app.moving import Moving, Order, total
from eventpost.core.sources import MessageFormat
from eventpost.queues import kinds
from eventpost.queues.interfaces import Queue
from eventpost.sources.moving.journal import Confirmed, Journal
from eventpost.sources.moving.limits import MoveLimits
from tests.moving import ends

POINTS = ("received", "sent", "confirmed", "deleting", "deleted", "marked")
"""In the order of a message's way. Between `sent` and `confirmed` the journal is written."""
PAGE_MAX = 20
LIMITS = MoveLimits(
    page_max=PAGE_MAX, ahead_max=PAGE_MAX, skipped_max=PAGE_MAX, lease_s=3.0, drain_s=60.0
)


class Death:
    """Kills the process when it comes by the point for the nth time."""

    def __init__(self, point: str, nth: int) -> None:
        self._point = point
        self._left = nth

    def at(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)


class Mortal:
    """A queue whose calls pass the points. Everything else is the queue's own."""

    def __init__(self, queue: Queue, death: Death) -> None:
        self._queue = queue
        self._death = death

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    def receive(self, *arguments: Any) -> Any:
        page = self._queue.receive(*arguments)
        if isinstance(page, list) and page:
            self._death.at("received")
        return page

    def send(self, messages: Sequence[Any]) -> Any:
        outcomes = self._queue.send(messages)
        self._death.at("sent")
        return outcomes

    def settle(self, held: Sequence[Any]) -> Any:
        self._death.at("deleting")
        verdicts = self._queue.settle(held)
        self._death.at("deleted")
        return verdicts


def main() -> None:
    order = json.load(sys.stdin)
    death = Death(order["point"], order["nth"])
    open_queue, confirm, settle = kinds.open_queue, Journal.confirm, Journal.settle

    def opened(*arguments: Any) -> Any:
        return Mortal(open_queue(*arguments), death)

    def confirmed(self: Journal, keys: Sequence[str]) -> None:
        confirm(self, keys)
        death.at("confirmed")

    def settled(self: Journal, key: str) -> Confirmed | None:
        found = settle(self, key)
        death.at("marked")
        return found

    kinds.open_queue = opened  # type: ignore[assignment]
    Journal.confirm = confirmed  # type: ignore[method-assign]
    Journal.settle = settled  # type: ignore[method-assign]
    moving = Moving(
        Order(
            source=ends.end(**order["source"]),
            target=ends.end(**order["target"]),
            format=MessageFormat(order["format"]),
            limits=LIMITS,
        )
    )
    results = moving.run(moving.begin())
    account = total(results)
    json.dump(
        {
            "ended": [each.ended.value for each in results],
            "complete": all(each.is_complete for each in results),
            "account": ends.as_json(account),
            "inHand": account.in_hand,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
