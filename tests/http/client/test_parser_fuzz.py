"""Random and kept bad bytes into a connection: it always ends in one answer or one evidence.

The kept corpus is `corpus/*.http`; what a run finds goes there.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventpost.core.outcomes import Evidence
from eventpost.http.answers import Answer
from eventpost.http.client_limits import ClientLimits
from eventpost.http.connection import Connection
from eventpost.http.exchange import Exchange, Repeated

CORPUS = sorted(Path(__file__).parent.glob("corpus/*.http"))
LIMITS = ClientLimits(
    answer_head_bytes_max=400, answer_body_bytes_kept_max=50, answer_body_bytes_read_max=300
)
PIECES = [
    *(b"HTTP/1.1 ", b"HTTP/1.0 ", b"200 OK\r\n", b"204 No\r\n", b"100 Go\r\n", b"101 Up\r\n"),
    *(b"503 \r\n", b"999 X\r\n", b"\r\n", b"\n", b"\r", b" ", b"\x00", b"\xff"),
    *(b"Content-Length: 5\r\n", b"Content-Length: 18446744073709551616\r\n", b"Content-Length: x"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"5\r\nhello\r\n"),
    *(b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"hello", b"X: " + b"y" * 150 + b"\r\n"),
    *(b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n", b" folded\r\n"),
    b"Keep-Alive: timeout=1\r\n",
]


class Wire(asyncio.Transport):
    """What a connection writes to, without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False

    def write(self, data: object) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True

    abort = close


class Owner:
    """A pool that only keeps count."""

    limits = LIMITS
    proxy_name: str | None = None
    now_s: Callable[[], float] = staticmethod(lambda: 0.0)
    repeated: Repeated | None = None

    def __init__(self) -> None:
        self.released_count = 0
        self.lost_count = 0
        self.again: list[Exchange] = []

    def released(self, _connection: Connection, _now_s: float) -> None:
        self.released_count += 1

    def lost(self, _connection: Connection) -> None:
        self.lost_count += 1

    def unanswered(self, exchange: Exchange, _evidence: Evidence) -> None:
        self.again.append(exchange)


def feed(chunks: list[bytes], *, is_fresh: bool) -> None:
    """Give the connection these bytes and the end, and check every promise on the way."""
    owner, wire, results = Owner(), Wire(), cast("list[Answer | Evidence]", [])
    connection = Connection(owner, "192.0.2.1:80")
    connection.connection_made(wire)
    connection.is_fresh = is_fresh
    connection.send(Exchange(b"POST / HTTP/1.1\r\n\r\n", b"", 30.0, results.append, 0.0), 0.0)
    for chunk in chunks:
        if wire.is_closed:
            break
        connection.data_received(chunk)
        assert len(results) <= 1
        assert owner.released_count <= len(results)
    connection.eof_received()
    connection.connection_lost(None)

    assert len(results) + len(owner.again) == 1
    assert owner.lost_count == 1
    assert not owner.again or not is_fresh
    if results and isinstance(results[0], Answer):
        assert 200 <= results[0].status <= 999
        assert len(results[0].body) <= LIMITS.answer_body_bytes_kept_max
        assert isinstance(results[0].headers, list)


@given(st.lists(st.sampled_from(PIECES), max_size=14), st.booleans(), st.integers(1, 40))
@example([], False, 1)
def test_pieces(pieces: list[bytes], is_fresh: bool, chunk_bytes: int) -> None:
    """Any sequence of half-sensible pieces, in chunks of any size, ends in exactly one outcome."""
    whole = b"".join(pieces)
    feed(
        [whole[at : at + chunk_bytes] for at in range(0, len(whole), chunk_bytes)],
        is_fresh=is_fresh,
    )


@given(st.lists(st.binary(max_size=60), max_size=6), st.booleans())
def test_noise(chunks: list[bytes], is_fresh: bool) -> None:
    """Noise ends in exactly one outcome."""
    feed([chunk for chunk in chunks if chunk], is_fresh=is_fresh)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
@pytest.mark.parametrize("chunk_bytes", [1, 7, 1_000_000])
def test_corpus(path: Path, chunk_bytes: int) -> None:
    """Every kept input ends in exactly one outcome, in chunks of any size."""
    whole = path.read_bytes()

    for is_fresh in (True, False):
        feed(
            [whole[at : at + chunk_bytes] for at in range(0, len(whole), chunk_bytes)],
            is_fresh=is_fresh,
        )
