"""How a commit becomes blocks, at every edge."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.events import Event
from eventpost.core.interfaces import Append
from eventpost.stores.sqlite import blocks
from eventpost.stores.sqlite.blocks import Block, DamagedError, fingerprint, pack, without
from eventpost.testing.samples import NOW_MS, append

BYTES_MAX = 100


def sized(*sizes: int, topic_id: int = 1) -> Append:
    batch = append(*[f"event-{index}" for index in range(len(sizes))], topic_id=topic_id)
    for index, (kept, size) in enumerate(zip(batch.events, sizes, strict=True)):
        kept.wire = bytes([97 + index % 26]) * size
    return batch


def counts(*appends: Append) -> list[int]:
    """Events per block."""
    rows, _ = pack(appends, [0] * len(appends), 1, BYTES_MAX)
    return [row[2] for row in rows]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((50, BYTES_MAX - 51), [2]),
        ((50, BYTES_MAX - 50), [2]),
        ((50, BYTES_MAX - 49), [1, 1]),
        ((BYTES_MAX - 1,), [1]),
        ((BYTES_MAX,), [1]),
        ((BYTES_MAX + 1,), [1]),
        ((10, BYTES_MAX + 1, 10), [1, 1, 1]),
        ((BYTES_MAX + 1, BYTES_MAX + 1), [1, 1]),
        ((40, 40, 40, 40, 40), [2, 2, 1]),
    ],
)
def test_a_block_ends_at_its_bytes(sizes: tuple[int, ...], expected: list[int]) -> None:
    """A block holds as many events as fit; one larger than a block has one of its own."""
    assert counts(sized(*sizes)) == expected
    assert counts(*[replace(sized(size), topic_id=at) for at, size in enumerate(sizes)]) == expected


def test_no_events_make_no_block() -> None:
    """An append without events leaves nothing, among others or alone."""
    rows, pieces = pack([sized(), sized(5, topic_id=2), sized(topic_id=3)], [7, 0, 9], 1, BYTES_MAX)

    assert [row[2] for row in rows] == [1]
    assert pieces == [(1, 0, 1, 1)]
    assert pack([sized()], [0], 1, BYTES_MAX) == ([], [])


def test_a_changed_row_is_found_damaged() -> None:
    """A bit that changed in any column is noticed, the id included."""
    rows, _ = pack([append("a", "b")], [5], 3, 1_000)
    block_id, segment_count, event_count, checksum, head, traces, body = rows[0]
    assert traces is None
    flipped_head = bytes([head[0] ^ 1]) + head[1:]
    changed = [
        (block_id + 1, segment_count, event_count, checksum, head, traces, body),
        (block_id, segment_count, event_count, checksum ^ 1, head, traces, body),
        (block_id, segment_count, event_count, checksum, flipped_head, traces, body),
        (block_id, segment_count, event_count, checksum, head, b"\x80", body),
        (block_id, segment_count, event_count, checksum, head, traces, body[:-1] + b"?"),
        (block_id, segment_count + 1, event_count, checksum, head, traces, body),
        (block_id, segment_count, event_count + 1, checksum, head, traces, body),
    ]

    for row in changed:
        with pytest.raises(DamagedError):
            Block(row)


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 250),
        st.one_of(st.none(), st.tuples(st.text("ab-", min_size=1), st.text("c"))),
    ),
    max_size=6,
)


@pytest.mark.slow
@given(st.lists(EVENTS, max_size=5), st.sets(st.integers(0, 4)))
def test_what_was_packed_is_read_back(
    batches: list[list[tuple[int, tuple[str, str] | None]]], dropped: set[int]
) -> None:
    """Any events of any topics come back in order with their positions, with and without others."""
    appends = [
        Append(
            topic_id,
            topic_id % 2,
            NOW_MS + topic_id,
            [
                Event(f"{topic_id}-{at}", "T", "", b"x" * size, trace)
                for at, (size, trace) in events
            ],
        )
        for topic_id, events in (
            (index, list(enumerate(batch))) for index, batch in enumerate(batches)
        )
    ]
    firsts = [1_000 * index for index in range(len(appends))]
    rows, pieces = pack(appends, firsts, 1, BYTES_MAX)
    gone = {(index, index % 2) for index in dropped}

    assert read_back(rows, appends) == {
        (append.topic_id, first + at): (event.wire, event.trace)
        for append, first in zip(appends, firsts, strict=True)
        for at, event in enumerate(append.events)
    }
    kept = [without(Block(row), gone) for row in rows]
    left = read_back([row for row in kept if row[2]], appends)
    assert {key[0] for key in left}.isdisjoint(dropped)
    assert left == {
        key: value for key, value in read_back(rows, appends).items() if key[0] not in dropped
    }
    assert [piece[3] for piece in pieces] == sorted(piece[3] for piece in pieces)


def read_back(
    rows: list[blocks.BlockRow], appends: list[Append]
) -> dict[tuple[int, int], tuple[bytes, tuple[str, str] | None]]:
    found: dict[tuple[int, int], tuple[bytes, tuple[str, str] | None]] = {}
    for row in rows:
        block = Block(row)
        for index in range(block.event_count):
            topic_id, _, position, published_ms = block.place(index)
            assert published_ms == NOW_MS + topic_id
        for appended in appends:
            segment = block.segment(appended.topic_id, appended.partition)
            if segment is None:
                continue
            traces = segment.traces or [None] * len(segment.wires)
            for at, (wire, trace) in enumerate(zip(segment.wires, traces, strict=True)):
                position = segment.first + at
                found[appended.topic_id, position] = (wire, trace)
    return found


def test_fingerprints_stand_in_the_order_of_events() -> None:
    """Each event has its fingerprint at its own index."""
    rows, _ = pack([append("a", "b"), append("c", topic_id=2)], [0, 0], 1, 1_000)

    prints = memoryview(Block(rows[0]).fingerprints()).cast("I")

    assert list(prints) == [fingerprint("a"), fingerprint("b"), fingerprint("c")]


def test_a_place_beyond_the_block_is_a_mistake() -> None:
    """Asking for an event that the block does not hold raises."""
    rows, _ = pack([append("a")], [0], 1, 1_000)

    with pytest.raises(IndexError):
        Block(rows[0]).place(1)
