"""An answer that comes again byte for byte is known, and means what it meant."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.outcomes import Evidence
from eventpost.http.answers import Answer
from eventpost.http.client_limits import ClientLimits
from eventpost.http.connection import Connection
from eventpost.http.exchange import REPEATED_BYTES_MAX, Exchange
from tests.http.client.test_parser_fuzz import Owner, Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
ANSWERS = [
    OK,
    OK.replace(b"{}", b"[]"),
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    OK + OK,
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
]

Told = tuple[int, bytes, list[tuple[bytes, bytes]], bool]


class Forgetful(Owner):
    """Never remembers an answer."""

    @property
    def repeated(self) -> None:
        return None

    @repeated.setter
    def repeated(self, _value: object) -> None: ...


def exchanges(owner: Owner, answers: list[tuple[bytes, bool]], method: bytes) -> list[Told | str]:
    """What the client tells of these answers on one connection, until it is given up."""
    wire, told = Wire(), cast("list[Told | str]", [])
    connection = Connection(owner, "192.0.2.1:80")
    connection.connection_made(wire)

    def done(result: Answer | Evidence) -> None:
        if isinstance(result, Evidence):
            told.append(f"{result.stage} {result.fault}")
        else:
            told.append((result.status, result.body, result.headers, result.is_truncated))

    for data, is_whole in answers:
        connection.send(Exchange(method + b" / HTTP/1.1\r\n\r\n", b"", 30.0, done, 0.0), 0.0)
        for piece in [data] if is_whole else [data[:9], data[9:]]:
            connection.data_received(piece)
            if wire.is_closed:
                return told
    connection.connection_lost(None)
    return told


def test_a_repeated_answer_is_known() -> None:
    """On a kept connection the same bytes are remembered, for all connections of the pool."""
    owner = Owner()

    told = exchanges(owner, [(OK, True)] * 3, b"POST")

    assert owner.repeated is not None
    assert owner.repeated.data == OK
    assert told == [(200, b"{}", [(b"content-length", b"2")], False)] * 3
    assert owner.released_count == 3


@pytest.mark.parametrize("answer", ANSWERS[3:4] + ANSWERS[6:])
def test_what_is_never_remembered(answer: bytes) -> None:
    """An answer that ends its connection, or is not alone, is parsed each time."""
    owner = Owner()

    exchanges(owner, [(OK, False), (answer, True)], b"POST")

    assert owner.repeated is None


@pytest.mark.parametrize(("excess", "is_remembered"), [(-1, True), (0, True), (1, False)])
def test_bound_of_a_remembered_answer(excess: int, is_remembered: bool) -> None:
    """Up to `REPEATED_BYTES_MAX` it is remembered; beyond, it is read all the same."""
    owner = Owner()
    owner.limits = ClientLimits()
    head = b"HTTP/1.1 200 OK\r\nA: %b\r\nContent-Length: 0\r\n\r\n"
    answer = head % (b"x" * (REPEATED_BYTES_MAX + excess - len(head) + 2))

    told = exchanges(owner, [(OK, False), (answer, True), (answer, True)], b"POST")

    assert (owner.repeated is not None) is is_remembered
    assert len(told) == 3


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(ANSWERS), st.booleans()), min_size=1, max_size=8),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([b"POST", b"HEAD"]),
)
def test_remembering_changes_nothing(
    connections: list[list[tuple[bytes, bool]]], method: bytes
) -> None:
    """Any answers on any connections, whole or in pieces, are told as without any memory."""
    owner, forgetful = Owner(), Forgetful()

    for answers in connections:
        assert exchanges(owner, answers, method) == exchanges(forgetful, answers, method)

    assert owner.released_count == forgetful.released_count
    assert owner.lost_count == forgetful.lost_count
