"""Publishes many requests at once over kept connections, at a rate if one is wanted.

Built on the same HTTP client that delivers, so that the command keeps up with the server.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eventpost.core.outcomes import Evidence
from eventpost.http.addresses import AddressGuard
from eventpost.http.client import HttpClient
from eventpost.http.proxies import Proxies

if TYPE_CHECKING:
    from eventpost.http.answers import Answer

IN_FLIGHT_DEFAULT = 64
IN_FLIGHT_MAX = 1_024
TIMEOUT_S = 60.0
TURN_S = 0.01
"""How often a rate is looked at: what became due since is sent at once."""
EVERYWHERE = ("0.0.0.0/0", "::/0")
MESSAGE_BYTES_MAX = 500
FINDING = b"x-eventpost-finding"


@dataclass(slots=True)
class Tally:
    """What became of the requests so far."""

    sent: int = 0
    published: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """By status, or by what went wrong where there was none."""
    example: str = ""
    """What the first refusal said."""
    finding: str = ""
    """The first refusal's, when the server told it."""
    is_unreachable: bool = False
    """The first thing that happened was that no connection came about."""

    @property
    def settled(self) -> int:
        return self.published + self.failed.total()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What is sent where, how many at once and how fast."""

    url: str
    key: str = field(repr=False)
    content_type: bytes
    bodies: Iterator[bytes]
    count: int
    in_flight_max: int = IN_FLIGHT_DEFAULT
    rate_per_s: float | None = None
    ca_file: str | None = None


async def send(sending: Sending, tally: Tally, shown: Callable[[int], None]) -> None:
    """Send `count` bodies, keeping `tally` while it runs; returns when each has its answer.

    `shown` is told how many are settled. May be cancelled; the tally then tells how far it came.
    """
    loop = asyncio.get_running_loop()
    guard = AddressGuard(EVERYWHERE, allow_loopback=True, allow_http=True)
    client = HttpClient(loop, guard, proxies=Proxies(), ca_file=sending.ca_file)
    try:
        await _Run(sending, tally, shown, client, loop).finished
    finally:
        client.close()


class _Run:
    """One sending under way. Callbacks only: no task and no future per request."""

    def __init__(
        self,
        sending: Sending,
        tally: Tally,
        shown: Callable[[int], None],
        client: HttpClient,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.sending = sending
        self.tally = tally
        self.shown = shown
        self.client = client
        self.loop = loop
        self.in_flight = 0
        self.started_s = loop.time()
        self.finished: asyncio.Future[None] = loop.create_future()
        self.target = client.target(sending.url)
        self.head = self.target.head_start(b"POST") + (
            b"aeg-sas-key: %b\r\nContent-Type: %b\r\nContent-Length: "
            % (sending.key.encode(), sending.content_type)
        )
        if sending.rate_per_s is None:
            self.fill()
        else:
            self.turn()

    def due(self) -> int:
        """How many may have been sent by now."""
        if self.sending.rate_per_s is None:
            return self.sending.count
        elapsed_s = self.loop.time() - self.started_s
        return min(self.sending.count, int(elapsed_s * self.sending.rate_per_s) + 1)

    def turn(self) -> None:
        if self.tally.sent < self.sending.count and not self.finished.done():
            self.fill()
            self.loop.call_later(TURN_S, self.turn)

    def fill(self) -> None:
        due = self.due()
        while self.in_flight < self.sending.in_flight_max and self.tally.sent < due:
            body = next(self.sending.bodies)
            head = self.head + b"%d\r\n\r\n" % len(body)
            self.in_flight += 1
            self.tally.sent += 1
            self.client.request(self.target, head, body, TIMEOUT_S, self.done)

    def done(self, answer: "Answer | Evidence") -> None:
        self.in_flight -= 1
        if isinstance(answer, Evidence):
            self.tally.is_unreachable = self.tally.is_unreachable or not self.tally.settled
            self._failed(f"{answer.stage.value} {answer.fault.value}", answer.detail)
        elif answer.status == 200:
            self.tally.published += 1
        else:
            self.tally.finding = self.tally.finding or _finding(answer)
            self._failed(
                str(answer.status), answer.body[:MESSAGE_BYTES_MAX].decode(errors="replace")
            )
        self.shown(self.tally.settled)
        if self.tally.settled == self.sending.count:
            if not self.finished.done():
                self.finished.set_result(None)
        else:
            self.fill()

    def _failed(self, why: str, message: str) -> None:
        self.tally.failed[why] += 1
        self.tally.example = self.tally.example or message


def _finding(answer: "Answer") -> str:
    return (answer.header(FINDING) or b"").decode("ascii", "replace")
