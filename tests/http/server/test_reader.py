"""The request reader: whatever way bytes are split, the same requests; whatever bytes, no harm.

`corpus/` keeps what is worth starting from: one file per stream of bytes. What a run of the random
tests finds is added there.
"""

import string
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from httptools import HttpParserCallbackError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventpost.http.server import HttpLimits, Request
from eventpost.http.server.reader import RequestReader
from eventpost.http.server.rules import Malformed
from eventpost.http.server.sink import KEEP, STREAM, Mode
from tests.http.server.support import Client, Running, get, running

CORPUS = {path.stem: path.read_bytes() for path in sorted(Path(__file__).parent.glob("corpus/*"))}

Seen = tuple[bytes, bytes, bytes, list[tuple[bytes, bytes]], bytes, bool]


class Recorder:
    """Keeps what a reader finds; bodies below `/asgi` are streamed."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.refused = 0
        self._streamed = b""

    def head(self, request: Request) -> Mode:
        self._streamed = b""
        return STREAM if request.path == b"/asgi" else KEEP

    def head_of_too_large(self, request: Request) -> None:
        self.refused += 1

    def too_large(self, request: Request) -> None:
        self.refused += 1

    def body(self, chunk: bytes) -> None:
        self._streamed += chunk

    def complete(self, request: Request) -> None:
        body = request.body or self._streamed
        line = (request.method, request.path, request.query)
        self.seen.append((*line, request.headers, body, request.is_keep_alive))


def read(pieces: Sequence[bytes], limits: HttpLimits | None = None) -> tuple[Recorder, bool]:
    """What a reader finds in `pieces`, and whether it ends in something malformed."""
    recorder = Recorder()
    reader = RequestReader(recorder, limits or HttpLimits())
    for piece in pieces:
        try:
            reader.feed(piece)
        except Malformed:
            return recorder, True
    return recorder, False


def found(pieces: Sequence[bytes]) -> tuple[list[Seen], int, bool]:
    recorder, is_malformed = read(pieces)
    return recorder.seen, recorder.refused, is_malformed


# --- splitting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CORPUS)
def test_every_split_in_two(name: str) -> None:
    """Cut in two anywhere, a stream of bytes gives the same requests and the same end."""
    data = CORPUS[name]
    whole = found([data])

    for cut in range(1, len(data), max(1, len(data) // 500)):
        assert found([data[:cut], data[cut:]]) == whole, f"cut at {cut}"


@pytest.mark.parametrize("name", [name for name in CORPUS if "large" not in name])
def test_single_bytes(name: str) -> None:
    """In single bytes too."""
    data = CORPUS[name]

    assert found([data[i : i + 1] for i in range(len(data))]) == found([data])


def test_corpus_is_sorted_rightly() -> None:
    """What is called good is read to its end, what is called bad is not."""
    for name, data in CORPUS.items():
        recorder, is_malformed = read([data])
        closes = any(not is_keep_alive for *_, is_keep_alive in recorder.seen)
        assert is_malformed == (name.startswith("bad-") or closes), name
        assert not any(b"smuggled" in path for _, path, *_ in recorder.seen), name


def test_bug_in_a_callback() -> None:
    """An exception of our own is not taken for a malformed request."""

    class Broken(Recorder):
        def complete(self, request: Request) -> None:
            raise LookupError("a bug")

    with pytest.raises(HttpParserCallbackError):
        RequestReader(Broken(), HttpLimits()).feed(get())


# --- what is written is what is read --------------------------------------------------------------

TOKEN = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=12)
VALUE = st.text([chr(code) for code in range(33, 127)] + [" ", "\t", "\xe9"], max_size=30).map(
    str.strip
)
SPACES = st.text(" \t", max_size=2)
RESERVED = {"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade"}
RESERVED |= {"proxy-connection"}  # llhttp reads it as it does `Connection`


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, Seen]:
    """The bytes of a request, and what is to be found in them."""
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS"]))
    path = "/" + draw(st.text(string.ascii_letters + "/%20.~", max_size=20))
    query = draw(st.text(string.ascii_letters + "=&?/", max_size=20))
    names = draw(st.lists(TOKEN.filter(lambda name: name.lower() not in RESERVED), max_size=5))
    named = {name.lower(): (name, draw(VALUE)) for name in names}
    body = draw(st.binary(max_size=200))
    framing, wire = draw(framed(body))
    spaced = [("Host", "test"), *named.values()]
    lines = "".join(f"{name}:{draw(SPACES)}{value}{draw(SPACES)}\r\n" for name, value in spaced)
    lines += "".join(f"{name}: {value}\r\n" for name, value in framing)
    head = method + f" {path}?{query} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
    headers = [*spaced, *framing]
    found_headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return head + wire, (method, path.encode(), query.encode(), found_headers, body, True)


@st.composite
def framed(draw: st.DrawFn, body: bytes) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and bytes that carry `body`, one way or the other."""
    if draw(st.booleans()):
        return [("Content-Length", str(len(body)))], body
    wire, rest = b"", body
    while rest:
        size = draw(st.integers(1, len(rest)))
        extension = draw(st.sampled_from([b"", b";a", b";a=b", b';a="b;c"']))
        wire += b"%x%b\r\n%b\r\n" % (size, extension, rest[:size])
        rest = rest[size:]
    trailer = draw(st.sampled_from([b"", b"X-Trailer: 1\r\n", b"X-T: 1\r\nX-T: 2\r\n"]))
    return [("Transfer-Encoding", "chunked")], wire + b"0\r\n" + trailer + b"\r\n"


def pieces_of(data: bytes, cuts: Sequence[int]) -> Iterator[bytes]:
    start = 0
    for end in sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)}):
        if end > start:
            yield data[start:end]
            start = end


@pytest.mark.slow
@given(st.lists(requests(), min_size=1, max_size=5), st.lists(st.integers(0, 10_000), max_size=20))
def test_written_is_read(written: list[tuple[bytes, Seen]], cuts: list[int]) -> None:
    """Any requests, framed any way and split anywhere, are read as they were written."""
    data = b"".join(wire for wire, _ in written)

    recorder, is_malformed = read(list(pieces_of(data, cuts)))

    assert not is_malformed
    assert recorder.seen == [expected for _, expected in written]


# --- mutations ------------------------------------------------------------------------------------

INTERESTING = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b":",
    b"0",
    b"\x00",
    b"\xff",
    b",",
    b";",
    b"-",
    b"1" * 20,
]


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A stream of the corpus, damaged here and there, or two of them spliced."""
    names = sorted(name for name in CORPUS if "large" not in name)
    data = bytearray(CORPUS[draw(st.sampled_from(names))])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["insert", "remove", "replace", "splice", "repeat"])):
            case "insert":
                data[at:at] = draw(st.sampled_from(INTERESTING) | st.binary(max_size=4))
            case "remove":
                del data[at : at + draw(st.integers(1, 8))]
            case "replace":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "splice":
                other = CORPUS[draw(st.sampled_from(names))]
                data[at:] = other[draw(st.integers(0, len(other))) :]
            case _:
                data[at:at] = data[at : at + draw(st.integers(1, 60))]
    return bytes(data)


@pytest.mark.slow
@settings(max_examples=400)
@given(mutants(), st.lists(st.integers(0, 2_000), max_size=12))
def test_mutants_split(data: bytes, cuts: list[int]) -> None:
    """Damaged streams too are read the same way however they are split, and raise nothing else."""
    assert found(list(pieces_of(data, cuts))) == found([data])


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Bytes without any sense are refused or wait for more."""
    read([data])


@pytest.mark.slow
def test_mutants_over_a_connection(loop_kind: str) -> None:
    """Whatever a client sends, its connection comes to an end, and others are served."""
    with running(loop_kind) as server:

        @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
        @given(mutants(), st.lists(st.integers(0, 2_000), max_size=3))
        def throw_all(data: bytes, cuts: list[int]) -> None:
            throw(server, data, cuts)

        throw_all()

        with Client(server.server.port) as client:
            assert client.send(get()).read().status == 200


def throw(server: Running, data: bytes, cuts: list[int]) -> None:
    with Client(server.server.port) as client:
        try:
            for piece in pieces_of(data, cuts):
                client.send(piece)
            client.half_close()
        except OSError:
            return  # it was closed before all was sent
        raw = client.read_to_end()
        assert raw == b"" or raw.startswith(b"HTTP/1.1 ")
