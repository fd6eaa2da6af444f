"""What is packed of lanes and partitions comes back, from every prefix of the blobs."""

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.books import Tally
from eventpost.grid.checkpoint import (
    LaneRecord,
    LaneState,
    Outcomes,
    PartitionRecord,
    PartitionState,
    Recovery,
    RestoredLane,
    decode_outcomes,
    encode,
    ranges,
    restore,
    unpack_tally,
)

WANTED = 3
"""The filter of these histories: every position that this divides."""


@pytest.mark.parametrize(
    ("positions", "from_position", "flat"),
    [
        ([], 0, []),
        ([3], 0, [3, 4]),
        ([3], 3, [3, 4]),
        ([3], 4, []),
        ([5, 3, 4, 9], 0, [3, 6, 9, 10]),
        ([5, 3, 4, 9], 4, [4, 6, 9, 10]),
    ],
)
def test_ranges(positions: list[int], from_position: int, flat: list[int]) -> None:
    """Positions become pairs of start and end, without those below the cursor."""
    assert ranges(positions, from_position) == flat


@given(st.sets(st.integers(0, 60)), st.integers(0, 60))
def test_ranges_hold_exactly_what_was_settled(positions: set[int], from_position: int) -> None:
    """They name every position at or above the cursor and no other, as few pairs as can be."""
    flat = ranges(list(positions), from_position)

    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    found = {position for start, end in pairs for position in range(start, end)}
    assert found == {position for position in positions if position >= from_position}
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(pairs))


@pytest.mark.parametrize(
    ("position", "is_match", "is_outstanding"),
    [
        (2, False, True),  # below the base what the state names counts, whatever the filter says
        (3, True, False),
        (4, False, True),
        (5, True, False),  # settled since
        (10, True, True),  # from the base on the filter decides
        (10, False, False),
        (11, True, False),  # settled
    ],
)
def test_what_was_outstanding(position: int, is_match: bool, is_outstanding: bool) -> None:
    """Below the base the state names what is outstanding, from there on the filter does; what was
    settled is not."""
    recovery = Recovery(end=20, base=10, unsettled={2, 4, 5}, settled={5, 11})

    assert recovery.is_outstanding(position, is_match=is_match) is is_outstanding


def test_a_tally_comes_back() -> None:
    """Every counter of the books is packed and unpacked."""
    tally = Tally(5, 4, 3, {"Rejected": 2}, {"Skipped": 1})

    blob = encode(Outcomes([], [LaneRecord(1, 0, 0, True, 0, 0, 0, [], tally.packed())]))

    assert unpack_tally(decode_outcomes(blob).lanes[0].tally) == tally


def test_blobs_that_a_state_covers_are_not_counted_twice() -> None:
    """A blob up to the state's own changes nothing, a later one does."""
    state = encode(LaneState(2, 0, True, 10, 0, [4], Tally(matched=4, delivered=3).packed()))
    routed = encode(PartitionState(2, 10, 7))
    record = LaneRecord(1, 0, 0, True, 12, 4, 0, [10, 11], Tally(matched=2, delivered=1).packed())
    blobs = [
        (number, encode(Outcomes([PartitionRecord(9, 0, 10 + number, 1)], [record])))
        for number in (1, 2, 3)
    ]

    restored = restore([(1, 0, state)], [(9, 0, routed)], blobs)

    lane = restored.lanes[1, 0]
    assert (lane.tally.matched, lane.tally.delivered) == (6, 4)
    assert (restored.partitions[9, 0].routed, restored.partitions[9, 0].unmatched) == (13, 8)
    assert lane.is_behind


def test_records_of_lanes_that_are_gone() -> None:
    """A blob may tell of subscriptions that were deleted since."""
    record = LaneRecord(1, 0, 0, True, 12, 4, 0, [], Tally(matched=2).packed())

    restored = restore([], [], [(1, encode(Outcomes([], [record])))])

    assert restored.lanes == {}


@pytest.mark.parametrize("routed", [10, 500])
def test_a_live_lane_with_nothing_outstanding_has_no_recovery(routed: int) -> None:
    """However far its partition went on without it."""
    lane = RestoredLane(is_live=True, cursor=10, checkpoint=10)

    assert lane.recovery(routed) is None


# --- random histories -----------------------------------------------------------------------------


@dataclass
class Model:
    """A lane as it is remembered naively: what it took and has not settled."""

    routed: int = 0
    cursor: int = 0
    is_live: bool = True
    generation: int = 0
    outstanding: list[int] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    delta: Tally = field(default_factory=Tally)
    total: Tally = field(default_factory=Tally)

    @property
    def taken(self) -> int:
        return self.routed if self.is_live else self.cursor

    @property
    def checkpoint(self) -> int:
        return min([*self.outstanding, self.taken])

    def take(self, position: int) -> None:
        if position % WANTED == 0:
            self.outstanding.append(position)
            self.delta.matched += 1

    def record(self) -> LaneRecord:
        record = LaneRecord(
            1,
            0,
            self.generation,
            self.is_live,
            self.taken,
            self.checkpoint,
            0,
            ranges(self.settled, self.checkpoint),
            self.delta.packed(),
        )
        self.total.add(self.delta)
        self.settled, self.delta = [], Tally()
        return record

    def state(self, as_of: int) -> bytes:
        return encode(
            LaneState(
                as_of,
                self.generation,
                self.is_live,
                self.taken,
                0,
                list(self.outstanding),
                self.total.packed(),
            )
        )


@dataclass
class History:
    """What the store would hold after each commit, and what the lane really was then."""

    model: Model = field(default_factory=Model)
    states: bytes = encode(LaneState(0, 0, True, 0, 0, [], Tally().packed()))
    blobs: list[tuple[int, bytes]] = field(default_factory=list)
    is_swept: bool = False

    def check(self) -> None:
        partition = encode(PartitionState(0, 0, 0))
        restored = restore([(1, 0, self.states)], [(9, 0, partition)], self.blobs)
        lane = restored.lanes[1, 0]
        routed = self.model.routed
        recovery = lane.recovery(routed)
        found = [
            position
            for position in range(lane.checkpoint, recovery.end if recovery else 0)
            if recovery and recovery.is_outstanding(position, is_match=position % WANTED == 0)
        ]
        assert found == self.model.outstanding
        assert (lane.is_live, lane.generation) == (self.model.is_live, self.model.generation)
        assert lane.tally == self.model.total
        if not lane.is_live:
            assert lane.cursor == self.model.cursor


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[str, int]]:
    kinds = ["route", "route", "settle", "settle", "commit", "lag", "read", "rewind", "snapshot"]
    return draw(
        st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 12)), min_size=1, max_size=60)
    )


def apply(history: History, kind: str, number: int) -> None:
    model = history.model
    match kind:
        case "route":
            for position in range(model.routed, model.routed + number):
                if model.is_live:
                    model.take(position)
                model.routed += 1
        case "settle" if model.outstanding:
            position = model.outstanding.pop(number % len(model.outstanding))
            model.settled.append(position)
            model.delta.delivered += 1
        case "lag" if model.is_live:
            model.cursor, model.is_live = model.routed, False
        case "read" if not model.is_live:
            end = min(model.routed, model.cursor + number)
            for position in range(model.cursor, end):
                model.take(position)
            model.cursor = end
            model.is_live = end == model.routed
        case "rewind":
            model.delta.dropped["Superseded"] = len(model.outstanding)
            model.outstanding, model.settled = [], []
            model.generation += 1
            model.cursor, model.is_live = min(number, model.routed), False
        case "commit" | "snapshot":
            commit(history, is_snapshot=kind == "snapshot")
        case _:
            pass


def commit(history: History, *, is_snapshot: bool) -> None:
    number = len(history.blobs) + 1
    model = history.model
    blob = Outcomes([PartitionRecord(9, 0, model.routed, 0)], [model.record()])
    history.blobs.append((number, encode(blob)))
    if is_snapshot:
        history.states = model.state(number)
    history.check()


@given(steps())
def test_any_history_comes_back(history: list[tuple[str, int]]) -> None:
    """After each commit of a random history of a lane, exactly what a naive memory holds to be
    outstanding is outstanding, and the books are the same."""
    told = History()

    for kind, number in history:
        apply(told, kind, number)
    commit(told, is_snapshot=False)
