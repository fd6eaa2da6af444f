"""Load generator and receiver in one process, as lean as they can be.

Both speak just enough HTTP for the peer that they measure; neither is part of the product. Times
are `time.perf_counter` seconds.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

EVENT_BYTES = 1_000
SPREAD_BYTES = 100
ID_DIGITS = 12
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"ontent-Length: "
_ID = b'"id":"'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def event(number: int, event_type: str = "Bench.Event", subject: str = "bench/subject") -> bytes:
    """One event whose id is `number`, of 1 KB give or take a tenth: no two requests in a row are
    of one length."""
    event_bytes = EVENT_BYTES - SPREAD_BYTES + number * 7 % (2 * SPREAD_BYTES + 1)
    head = (
        f'{{"id":"{number:0{ID_DIGITS}d}","subject":"{subject}","eventType":"{event_type}",'
        f'"eventTime":"2026-11-21T18:53:03.123456Z","dataVersion":"1.0","data":{{"text":"'
    )
    tail = '"}}'
    return (head + "x" * max(0, event_bytes - len(head) - len(tail)) + tail).encode()


class Receiver(asyncio.Protocol):
    """Answers 200 to every delivery, consents to handshakes, and tells the tally."""

    def __init__(self, tally: "Tally") -> None:
        self._tally = tally
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._tally.connections += 1

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        while data:
            end = data.find(_HEAD_END)
            if end < 0:
                break
            at = data.find(_LENGTH, 0, end) + len(_LENGTH)
            stop = data.find(b"\r", at)
            total = end + 4 + int(data[at:stop])
            if len(data) < total:
                break
            self._answer(data, end + 4, total)
            data = data[total:]
        self._rest = data

    def _answer(self, data: bytes, start: int, stop: int) -> None:
        if b"SubscriptionValidation" in data[:start]:
            at = data.find(b'"validationCode":"', start) + 18
            code = data[at : data.find(b'"', at)]
            body = b'{"validationResponse":"%b"}' % code
            self._transport.write(  # type: ignore[attr-defined]
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            return
        if not self._tally.is_hanging:
            self._transport.write(OK)  # type: ignore[attr-defined]
        self._tally.received(data, start, stop)


class Tally:
    """What arrived. `expected` deliveries set `finished`."""

    def __init__(self) -> None:
        self.connections = 0
        self.deliveries = 0
        self.requests = 0
        self.expected = 0
        self.finished = asyncio.Event()
        self.last_s = 0.0
        self.is_hanging = False
        self.is_counting_ids = False
        self.seen = bytearray()
        self.sent_s: list[float] = []
        self.latencies_s: list[float] = []
        self.is_timing = False
        self.timed_from = 0
        """Number of the event that `sent_s` begins with; earlier ones are not timed."""

    def expect(self, deliveries: int) -> None:
        self.deliveries = 0
        self.requests = 0
        self.expected = deliveries
        self.finished.clear()
        self.latencies_s = []

    def received(self, data: bytes, start: int, stop: int) -> None:
        self.requests += 1
        if self.is_timing:
            at = data.find(_ID, start) + len(_ID)
            number = int(data[at : at + ID_DIGITS])
            if number >= self.timed_from:
                sent_s = self.sent_s[number - self.timed_from]
                self.latencies_s.append(time.perf_counter() - sent_s)
            self.deliveries += 1
        elif stop - start < 2 * EVENT_BYTES:
            self.deliveries += 1
        else:
            self.deliveries += data.count(_ID, start, stop)
        if self.deliveries >= self.expected:
            self.last_s = time.perf_counter()
            self.finished.set()


class Publisher(asyncio.Protocol):
    """Sends the next request as soon as the last one is answered."""

    def __init__(self, work: "Work") -> None:
        self._work = work
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._work.idle.append(self)

    def send(self, request: bytes) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 200"):
            self._work.refused += 1
            self._work.last_refusal = data[:300]
        self._work.answered(self, time.perf_counter() - self._sent_s)


class Work:
    """`count` requests over the open connections; `make(i)` gives the i-th request's bytes."""

    def __init__(self) -> None:
        self.idle: deque[Publisher] = deque()
        self.refused = 0
        self.waited = 0
        """Requests of `pace` that were due when every connection was busy."""
        self._overdue: deque[bytes] = deque()
        self.last_refusal = b""
        self.answer_s: list[float] = []
        self.finished = asyncio.Event()
        self._make: Callable[[int], bytes] = lambda _: b""
        self._next = 0
        self._count = 0
        self._done = 0

    def start(self, count: int, make: Callable[[int], bytes]) -> None:
        self._make, self._count, self._next, self._done = make, count, 0, 0
        self.answer_s = []
        self.finished.clear()
        for publisher in list(self.idle):
            if self._next < self._count:
                self.idle.remove(publisher)
                self._send(publisher)

    async def pace(self, count: int, rate: float, make: Callable[[int], bytes]) -> None:
        """Send at `rate` a second, whatever the answers do. What finds no free connection waits for
        one; `make` was called when it was due, so that its wait counts."""
        self._make, self._count, self._next, self._done = make, 0, 0, 0
        self.answer_s = []
        self.finished.clear()
        start_s = time.perf_counter()
        for number in range(count):
            delay_s = start_s + number / rate - time.perf_counter()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            if self.idle:
                self._send(self.idle.popleft())
            else:
                self._overdue.append(make(self._next))
                self._next += 1
                self.waited += 1
        while self._done < self._next:
            await asyncio.sleep(0.01)

    def _send(self, publisher: Publisher) -> None:
        number = self._next
        self._next += 1
        publisher.send(self._make(number))

    def answered(self, publisher: Publisher, elapsed_s: float) -> None:
        self._done += 1
        self.answer_s.append(elapsed_s)
        if self._overdue:
            publisher.send(self._overdue.popleft())
        elif self._next < self._count:
            self._send(publisher)
        else:
            self.idle.append(publisher)
            if self._done == self._count:
                self.finished.set()


def request(path: str, key: str, body: bytes) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"aeg-sas-key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def percentile(values: list[float], part: float) -> float:
    """In the values' own unit; 0 when there are none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
