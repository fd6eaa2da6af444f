"""What a function gets, and what its answers mean."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.destinations.lambda_payloads import (
    CONTEXT_CHARS_MAX,
    LOG_CHARS_MAX,
    client_context,
    cut,
    error_code,
    log_tail,
    not_processed,
    payload,
)
from eventpost.testing.destination_conformance import delivery

IDS = ["a", "b", "c"]


def test_one_event_or_an_array() -> None:
    """A subscription without batches sends one object; one with batches an array, of one too."""
    assert payload([b'{"id":"1"}'], is_batched=False) == b'{"id":"1"}'
    assert payload([b'{"id":"1"}'], is_batched=True) == b'[{"id":"1"}]'
    assert payload([b"{}", b"{}"], is_batched=True) == b"[{},{}]"


@pytest.mark.parametrize(
    ("sizes", "bytes_max", "counts"),
    [
        ([10, 10], 23, [2]),  # [x,x] is 10 + 10 + 3
        ([10, 10], 22, [1, 1]),
        ([50], 10, [1]),
        ([5, 50, 5], 20, [1, 1, 1]),
        ([5, 5, 5, 5], 13, [2, 2]),
    ],
)
def test_a_batch_is_cut_to_size(sizes: list[int], bytes_max: int, counts: list[int]) -> None:
    """A part is as large as the bound to the byte; what is too large alone stands alone."""
    deliveries = [delivery(position) for position in range(len(sizes))]
    wires = [b"x" * size for size in sizes]

    parts = list(cut(deliveries, wires, bytes_max))

    assert [len(part) for part, _ in parts] == counts
    assert all(len(part) == len(part_wires) for part, part_wires in parts)


@given(st.lists(st.integers(1, 60), min_size=1), st.integers(10, 100))
def test_nothing_is_lost_by_cutting(sizes: list[int], bytes_max: int) -> None:
    """All events go once and in order, and a part is too large only when it is one event."""
    wires = [b"x" * size for size in sizes]
    parts = list(cut([delivery(0)] * len(wires), wires, bytes_max))

    assert [wire for _, part in parts for wire in part] == wires
    assert all(
        len(payload(part, is_batched=True)) <= bytes_max or len(part) == 1 for _, part in parts
    )


def test_the_client_context() -> None:
    """What stands in a webhook's headers is told in the client context, as far as it has room."""
    encoded = client_context({"aeg-delivery-count": "0"})
    assert json.loads(base64.b64decode(encoded)) == {"custom": {"aeg-delivery-count": "0"}}

    room = CONTEXT_CHARS_MAX // 4 * 3 - len(json.dumps({"custom": {"a": ""}}).replace(" ", ""))
    assert len(client_context({"a": "x" * room})) <= CONTEXT_CHARS_MAX
    assert client_context({"a": "x" * (room + 3)}) == ""


NOTHING_FAILED = [
    b"",
    b"null",
    b"{}",
    b'{"batchItemFailures":[]}',
    b'{"batchItemFailures":null}',
    b'{"statusCode":200}',
    b'"ok"',
    b"7",
    b"[]",
]


@pytest.mark.parametrize("answer", NOTHING_FAILED)
def test_an_answer_that_names_nobody(answer: bytes) -> None:
    """An answer without batchItemFailures, or with none in it, says that all is done."""
    assert not_processed(answer, IDS) == frozenset()


def test_an_answer_that_names_some() -> None:
    """Exactly those that are named are not done."""
    answer = b'{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"a"}]}'

    assert not_processed(answer, IDS) == frozenset("ab")


UNRELIABLE = [
    b'{"batchItemFailures":[{"itemIdentifier":"z"}]}',
    b'{"batchItemFailures":[{"itemIdentifier":""}]}',
    b'{"batchItemFailures":[{"itemIdentifier":null}]}',
    b'{"batchItemFailures":[{"identifier":"a"}]}',
    b'{"batchItemFailures":["a"]}',
    b'{"batchItemFailures":"a"}',
    b"not json",
    b'{"batchItemFailures":[',
]


@pytest.mark.parametrize("answer", UNRELIABLE)
def test_an_answer_that_cannot_be_relied_upon(answer: bytes) -> None:
    """An answer that names no event of the batch, or is malformed, leaves none done."""
    assert not_processed(answer, IDS) is None


ERRORS = {
    "raised": (
        b'{"errorMessage":"no such song","errorType":"KeyError","stackTrace":["..."]}',
        ("FunctionError", "KeyError: no such song"),
    ),
    "timed out, as it was told until 2023": (
        b'{"errorMessage":"2026-11-28T14:00:00.000Z 8c1c Task timed out after 3.01 seconds"}',
        ("FunctionTimedOut", "2026-11-28T14:00:00.000Z 8c1c Task timed out after 3.01 seconds"),
    ),
    "timed out": (
        (
            b'{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: 8c1c Error: Task timed out'
            b' after 3.00 seconds"}'
        ),
        (
            "FunctionTimedOut",
            "Sandbox.Timedout: RequestId: 8c1c Error: Task timed out after 3.00 seconds",
        ),
    ),
    "out of memory": (
        (
            b'{"errorType":"Runtime.ExitError","errorMessage":"RequestId: 8c1c Error: Runtime'
            b' exited with error: signal: killed"}'
        ),
        (
            "FunctionCrashed",
            "Runtime.ExitError: RequestId: 8c1c Error: Runtime exited with error: signal: killed",
        ),
    ),
    "a text": (b'"oh no"', ("FunctionError", '"oh no"')),
    "nothing": (b"", ("FunctionError", "")),
    "nulls": (b'{"errorMessage":null,"errorType":null}', ("FunctionError", "")),
}


@pytest.mark.parametrize(("answer", "told"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_of_a_function(answer: bytes, told: tuple[str, str]) -> None:
    """An exception, a time limit and a process that ended are told apart."""
    assert error_code(answer) == told


def test_the_end_of_the_log() -> None:
    """Of the function's log the end is kept, on one line; what is no base64 is nothing."""
    log = base64.b64encode(b"START\n" + b"x" * 1_000 + b"\nEND\n").decode()

    assert log_tail(log).endswith("x END")
    assert len(log_tail(log)) == LOG_CHARS_MAX
    assert log_tail("?") == ""
