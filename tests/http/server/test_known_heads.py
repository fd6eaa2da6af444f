"""Heads that came before are known, and what they mean never changes by it."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.http.server import HttpLimits
from eventpost.http.server.heads import HEAD_BYTES_MAX, HEADS_MAX, MISSES_MAX, KnownHeads
from eventpost.http.server.reader import RequestReader
from eventpost.http.server.request import Request
from eventpost.http.server.rules import Malformed
from tests.http.server.test_reader import Recorder, Seen

BODY_BYTES_MAX = 20
HEAD = b"POST /topics/a/api/events HTTP/1.1\r\nHost: here\r\n"


def post(body: bytes = b"{}", more: bytes = b"") -> bytes:
    return HEAD + more + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class Unlearning(KnownHeads):
    """Knows nothing, ever: every head goes through the parser."""

    def learn(self, data: bytes, request: Request) -> None:
        pass


def read(
    pieces: Sequence[bytes], known: KnownHeads, limits: HttpLimits | None = None
) -> tuple[list[Seen], int, bool]:
    """What is found in `pieces`: requests, refusals, and whether it ends in something malformed."""
    recorder = Recorder()
    reader = RequestReader(recorder, limits or HttpLimits(), known=known)
    for piece in pieces:
        try:
            reader.feed(piece)
        except Malformed:
            return recorder.seen, recorder.refused, True
    return recorder.seen, recorder.refused, False


def test_a_head_is_parsed_once() -> None:
    """The second request with the same head is known, and carries its own body and its length."""
    known = KnownHeads()

    seen, _, _ = read([post(b"first"), post(b"the second")], known)

    assert [body for *_, body, _ in seen] == [b"first", b"the second"]
    assert [dict(headers)[b"content-length"] for *_, headers, _, _ in seen] == [b"5", b"10"]
    assert len(known.by_key) == 1


def test_all_connections_share_what_is_known() -> None:
    """What one connection taught, another one knows."""
    known = KnownHeads()
    read([post(b"first")], known)
    (told,) = known.by_key.values()
    recorder: list[Request] = []

    class Keeper(Recorder):
        def complete(self, request: Request) -> None:
            recorder.append(request)

    RequestReader(Keeper(), HttpLimits(), known=known).feed(post(b"again"))

    assert recorder[0].index[b"host"] is told.headers[b"host"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        post().replace(b"Content-Length: 2", b"Content-Length:  2"),
        post().replace(b"Content-Length", b"CONTENT-LENGTH"),
        post(more=b"A: ontent-Length: 2\r\n").replace(b"\r\nContent-L", b"\r\nCONTENT-L"),
        b"GET /topics/a/api/events HTTP/1.1\r\nHost: here\r\n\r\n",
        post(more=b"Connection: close\r\n"),
        post(more=b"Expect: 100-continue\r\n"),
        post(more=b"Upgrade: h2c\r\n"),
        post(more=b"Accept: a\r\nAccept: b\r\n"),
        post().replace(b"HTTP/1.1", b"HTTP/1.0"),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HEAD /topics/a/api/events HTTP/1.1\r\nHost: here\r\n\r\n",
        b"\r\n" + post() + b"\r\n",
        post() + post(),
    ],
    ids=[
        "space",
        "spelling",
        "value",
        "none",
        "close",
        "expect",
        "upgrade",
        "repeated",
        "1.0",
        "chunked",
        "HEAD",
        "blank",
        "two",
    ],
)
def test_what_is_never_known(request_bytes: bytes) -> None:
    """A head that asks for more than a body of a certain length goes through the parser always."""
    known = KnownHeads()

    read([request_bytes], known)

    assert not known.by_key


@pytest.mark.parametrize(("excess", "is_known"), [(-1, True), (0, True), (1, False)])
def test_bound_of_a_known_head(excess: int, is_known: bool) -> None:
    """A head of up to `HEAD_BYTES_MAX` is known; a longer one is read all the same."""
    known = KnownHeads()
    plain = len(post()) - 2
    more = b"A: " + b"x" * (HEAD_BYTES_MAX + excess - plain - 5) + b"\r\n"

    seen, _, _ = read([post(more=more)], known)

    assert bool(known.by_key) is is_known
    assert len(seen) == 1


@pytest.mark.parametrize(("count", "kept"), [(HEADS_MAX, HEADS_MAX), (HEADS_MAX + 1, 1)])
def test_bound_of_all_known_heads(count: int, kept: int) -> None:
    """Beyond `HEADS_MAX` all are forgotten, and learning begins anew."""
    known = KnownHeads()

    for number in range(count):
        read([post(more=b"Id: %d\r\n" % number)], known)

    assert len(known.by_key) == kept


@pytest.mark.parametrize(("misses", "is_asked"), [(MISSES_MAX - 1, True), (MISSES_MAX, False)])
def test_bound_of_misses(misses: int, is_asked: bool) -> None:
    """A client whose heads are all different is asked no more after `MISSES_MAX`."""
    known = KnownHeads()
    reader = RequestReader(Recorder(), HttpLimits(), known=known)
    for number in range(misses):
        reader.feed(post(more=b"Id: %d\r\n" % number))

    reader.feed(post(more=b"Id: last\r\n"))

    assert len(known.by_key) == min(misses + 1, MISSES_MAX)
    assert any(b"Id: last" in head for head in known.by_key) is is_asked


def test_after_a_known_head_bad_bytes_are_bad() -> None:
    """What follows a known request is judged as ever."""
    seen, _, is_malformed = read([post(), post(), b"GET / HTTP/1.1\r\nHost\r\n\r\n"], KnownHeads())

    assert len(seen) == 2
    assert is_malformed


@pytest.mark.parametrize(
    ("length", "is_refused"),
    [(BODY_BYTES_MAX - 1, 0), (BODY_BYTES_MAX, 0), (BODY_BYTES_MAX + 1, 1)],
)
def test_bound_of_a_body_behind_a_known_head(length: int, is_refused: int) -> None:
    """A body beyond the bound is refused behind a known head as behind any other."""
    limits = HttpLimits(body_bytes_max=BODY_BYTES_MAX)

    _, refused, _ = read([post(b"1234567"), post(b"x" * length)], KnownHeads(), limits)

    assert refused == is_refused


REQUESTS = [
    post(b"{}").replace(b"Content-Length", b"content-length"),
    post(b"{}", b"A: ontent-Length: 9\r\n"),
    post(b"{}", b"A: Content-Length: 2\r\n"),
    post(b"{}").replace(b": 2", b": 02"),
    post(b"{}").replace(b": 2", b": +2"),
    post(b"{}").replace(b": 2", b": 2 "),
    post(b"{}"),
    post(b"[]"),
    post(b"a longer body"),
    post(b""),
    post(b"x\r\n\r\nPOST /smuggled HTTP/1.1\r\n\r\n"),
    post(b"{}", b"aeg-sas-key: a\r\n"),
    post(b"{}", b"Connection: close\r\n"),
    post(b"{}").replace(b"/topics/a", b"/asgi?x=1"),
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"GET /asgi HTTP/1.1\r\nHost: here\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
]


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(REQUESTS), st.booleans()), min_size=1, max_size=12),
        min_size=1,
        max_size=3,
    ),
    st.integers(1, 200),
)
def test_knowing_changes_nothing(
    connections: list[list[tuple[bytes, bool]]], chunk_bytes: int
) -> None:
    """Any requests on any connections, whole or in pieces, are read as without any memory."""
    known, unlearning = KnownHeads(), Unlearning()

    for requests in connections:
        pieces: list[bytes] = []
        for data, is_whole in requests:
            step = len(data) if is_whole else chunk_bytes
            pieces += [data[at : at + step] for at in range(0, len(data), step)]

        assert read(pieces, known) == read(pieces, unlearning)
