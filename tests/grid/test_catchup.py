"""Lanes that lag read the log together, miss nothing, and meet the router again."""

from pathlib import Path

import msgspec
import pytest

from eventpost.core.books import Dropped
from eventpost.core.interfaces import Commit, ReadFailed, Trim
from eventpost.core.outcomes import DELIVERED
from eventpost.core.subscriptions import Filter
from eventpost.grid import catalogue, catchup, moving
from tests.grid.conftest import NewRig
from tests.grid.rig import Rig

SMALL = {"lane_events_max": 4, "tail_bytes_max": 1, "catchup_bytes": 1}
"""Each segment is read by itself, and kept only as long as nothing else is."""


def flip(rig: Rig, wanted: bytes) -> None:
    """Change one byte at the first place of `wanted` in the database, the store being closed."""
    path = rig.directory / "eventpost.db"
    content = bytearray(path.read_bytes())
    content[content.index(wanted)] ^= 0x01
    path.write_bytes(content)


def restart_with_damage(rig: Rig, event_id: str) -> None:
    rig.engine.journal.wait(lambda _: None)
    rig.settle()
    rig.engine.stop()
    rig.store.close()
    flip(rig, b'"id":"%b"' % event_id.encode())
    rig.start()


def commit(rig: Rig, **fields: object) -> None:
    """Something that the engine itself would not commit."""
    rig.read(lambda done: rig.store.commit(Commit(**fields), done))  # type: ignore[arg-type]


def segments(rig: Rig, count: int, **named: str) -> list[str]:
    """So many events, each in a segment of its own."""
    return [rig.publish(1, **named)[0] for _ in range(count)]


@pytest.mark.parametrize("lanes", [1, catchup.ALONE_MAX, catchup.ALONE_MAX + 1, 40])
def test_lanes_share_reads(new_rig: NewRig, lanes: int) -> None:
    """Lanes that start together read each segment once together, however many they are."""
    rig = new_rig(catchup_bytes=1)
    rig.topic()
    ids = segments(rig, 30)
    for index in range(lanes):
        rig.subscribe(f"handler{index}", start=0, is_paused=True)
        rig.handler(f"handler{index}").always(DELIVERED)
    rig.store.reads.clear()

    for index in range(lanes):
        rig.engine.journal.wait(lambda _: None)
        changed = msgspec.structs.replace(rig.subscription(f"handler{index}"), is_paused=False)
        rig.lane(f"handler{index}").subscription = changed
        moving.pause(rig.lane(f"handler{index}"), is_paused=False)
    rig.settle()

    assert len(rig.store.reads) == 30
    assert all(rig.handler(f"handler{index}").ids == ids for index in range(lanes))
    assert all(rig.lane(f"handler{index}").is_live for index in range(lanes))


def test_lanes_of_different_speed_share_reads(new_rig: NewRig) -> None:
    """A slow lane does not make a fast one wait, and what lies in memory is not read again."""
    rig = new_rig(lane_events_max=4, catchup_bytes=1)
    rig.topic()
    ids = segments(rig, 40)
    rig.subscribe("fast", start=0)
    rig.subscribe("slow", start=0, concurrency=1)
    rig.handler("fast").always(DELIVERED)
    rig.settle()
    assert rig.handler("fast").ids == ids
    assert rig.handler("slow").ids == ids[:1]

    while rig.handler("slow").open:
        rig.handler("slow").answer(count=1)

    assert rig.handler("slow").ids == ids
    assert len(rig.store.reads) == 40


@pytest.mark.parametrize("lanes", [1, 10])
def test_a_full_lane_leaves_and_comes_back(new_rig: NewRig, lanes: int) -> None:
    """A lane takes no more than its bound from the log, reads on when half of it is done, and gets
    every event once and in order."""
    rig = new_rig(**SMALL)
    rig.topic()
    ids = rig.publish(10) + rig.publish(10)
    names = [f"handler{index}" for index in range(lanes)]
    for name in names:
        rig.subscribe(name, start=0, concurrency=1)
    assert [len(rig.lane(name).outstanding) for name in names] == [4] * lanes

    for name in names:
        rig.handler(name).answer(count=1)
    assert [len(rig.lane(name).outstanding) for name in names] == [3] * lanes
    for name in names:
        rig.handler(name).answer(count=1)
    rig.settle()
    assert [len(rig.lane(name).outstanding) for name in names] == [4] * lanes

    for name in names:
        rig.handler(name).always(DELIVERED)
    rig.settle()
    assert [rig.handler(name).ids for name in names] == [ids] * lanes


@pytest.mark.parametrize("lag", [1, 3, 4, 5, 9])
def test_the_handover_to_the_router(new_rig: NewRig, lag: int) -> None:
    """Events that are published while a lane reads the end of the log come once and in order,
    whether it has met the router again or not."""
    rig = new_rig(**SMALL)
    rig.topic()
    ids = segments(rig, lag)
    rig.subscribe(start=0)
    rig.handler().always(DELIVERED)
    rig.executor.hold("read")
    rig.handler().attempts.clear()
    rig.rewind(0)
    for _ in range(3):
        ids += rig.publish(2)
        for done, answer in rig.executor.held["read"]:
            rig.clock.call_soon(done, answer)
        rig.executor.held["read"] = []
    rig.executor.release("read")
    ids += rig.publish(1)

    assert rig.handler().ids == ids
    assert rig.lane().is_live
    assert rig.lane().partition.lagging == {}


def test_a_router_that_waits_for_its_own_past(rig: Rig) -> None:
    """After a restart what was not routed yet is routed once, in front of what is published
    meanwhile; what nobody wants is counted once."""
    rig.subscribe(wanted=Filter(included_event_types=("A",)))
    rig.handler().always(DELIVERED)
    first = rig.publish(3, event_type="A")
    rig.publish(4, event_type="B")
    sent = len(rig.handler().ids)
    rig.handler().always(None)

    rig.crash()
    rig.executor.hold("read")
    second = rig.publish(2, event_type="A")
    assert rig.lane().partition.is_recovering
    rig.handler().always(DELIVERED)
    rig.executor.release("read")

    assert sent == 3
    assert rig.handler().ids in (first + second, second)
    assert rig.books().delivered == 5
    assert rig.lane().partition.unmatched + rig.lane().partition.unmatched_delta == 4
    rig.restart()
    rig.settle()
    assert rig.lane().partition.unmatched == 4


def test_a_gap_is_passed_over_and_told(rig: Rig) -> None:
    """A lane whose next events were trimmed goes on with the oldest one kept, and it is told."""
    rig.publish(4)
    kept = rig.publish(3)
    topic = rig.topics["songs"]
    commit(rig, trims=[Trim(topic.id, 0, 4)])

    rig.subscribe(start=1)
    rig.handler().always(DELIVERED)

    assert rig.handler().ids == kept
    assert rig.watcher.lost == [("handler", 1, 4, 0)]
    assert rig.books().matched == 3


def test_everything_was_trimmed(rig: Rig) -> None:
    """A lane that finds nothing kept follows the router, and misses nothing that is published
    while it looks."""
    rig.publish(4)
    topic = rig.topics["songs"]
    commit(rig, trims=[Trim(topic.id, 0, 4)])
    rig.executor.hold("read")
    rig.subscribe(start=1)
    rig.handler().always(DELIVERED)

    ids = rig.publish(2)
    rig.executor.release("read")

    assert rig.handler().ids == ids
    assert rig.lane().is_live


def test_damage_costs_what_is_damaged(new_rig: NewRig) -> None:
    """A segment that cannot be read is passed over by whoever comes to it, and told; a lane that
    has not come so far loses nothing before it."""
    rig = new_rig(**SMALL)
    rig.topic()
    ids = segments(rig, 10)
    restart_with_damage(rig, ids[6])
    rig.subscribe("slow", start=0, concurrency=1)
    rig.subscribe("fast", start=5)
    rig.handler("fast").always(DELIVERED)

    assert rig.handler("fast").ids == ids[5:6] + ids[7:]
    while rig.handler("slow").open:
        rig.handler("slow").answer(count=1)
    rig.settle()

    assert rig.handler("slow").ids == ids[:6] + ids[7:]
    assert rig.watcher.lost == [("fast", 6, 7, 0), ("slow", 6, 7, 0)]


def test_damage_of_what_a_lane_held(new_rig: NewRig) -> None:
    """Deliveries that a lane held before a restart and that cannot be read back are counted as
    dropped; the others go out, and what was settled does not go out again."""
    rig = new_rig(catchup_bytes=1)
    rig.topic()
    rig.subscribe()
    ids = segments(rig, 9)
    rig.handler().answer(count=1)
    rig.handler().attempts[8].is_answered = True
    attempt = rig.handler().attempts[8]
    attempt.done(attempt.deliveries, DELIVERED)
    rig.settle()

    restart_with_damage(rig, ids[4])
    rig.handler().always(DELIVERED)
    rig.settle()

    assert rig.handler().ids == [*ids[1:4], *ids[5:8]]
    assert rig.dropped(Dropped.DAMAGED) == 1
    assert rig.books().delivered == 8
    assert rig.books().pending == 0
    assert rig.watcher.lost == [("handler", 4, 5, 1)]


def test_damage_of_what_was_not_routed(rig: Rig) -> None:
    """Events that were never routed and cannot be read are told to every lane they might have
    concerned; what is behind them is routed."""
    rig.subscribe()
    segments(rig, 1)
    rig.handler().answer()
    rig.executor.hold("write")
    ids = [rig.offer(1)[0]]
    rig.settle()
    rig.executor.held["write"].clear()
    restart_with_damage_unsaved(rig, ids[0])
    rig.handler().always(DELIVERED)
    rig.settle()
    fresh = rig.publish(1)

    assert rig.handler().ids == fresh
    assert rig.watcher.lost == [("handler", 1, 2, 0)]


def restart_with_damage_unsaved(rig: Rig, event_id: str) -> None:
    rig.engine.stop()
    rig.executor.held.clear()
    rig.store.close()
    flip(rig, b'"id":"%b"' % event_id.encode())
    rig.start()


def test_a_read_that_fails_is_made_again(new_rig: NewRig) -> None:
    """When the disk does not answer a lane stays where it is and asks again."""
    rig = new_rig(**SMALL)
    rig.topic()
    ids = segments(rig, 3)
    rig.executor.faults["read"] = [ReadFailed("busy"), ReadFailed("busy")]
    rig.subscribe(start=0)
    rig.handler().always(DELIVERED)
    assert rig.handler().ids == []

    rig.advance(2 * catchup.READ_AGAIN_S)

    assert rig.handler().ids == ids
    assert rig.watcher.read_failures == ["busy", "busy"]
    assert rig.watcher.lost == []


def test_a_rewind_while_the_log_is_read(new_rig: NewRig) -> None:
    """A lane that is moved while a read for it is under way goes on from where it was moved to."""
    rig = new_rig(**SMALL)
    rig.topic()
    ids = segments(rig, 8)
    rig.executor.hold("read")
    rig.subscribe(start=5)
    rig.handler().always(DELIVERED)

    rig.rewind(2)
    rig.executor.release("read")

    assert rig.handler().ids == ids[2:]


def test_fresh_events_have_their_turn(new_rig: NewRig) -> None:
    """A lane that reads a long segment gives way after a bounded number of events."""
    rig = new_rig(catchup_turn_events=10, lane_events_max=1_000)
    rig.topic()
    rig.publish(100)
    rig.subscribe("late", start=0, is_paused=True)
    rig.subscribe("live")
    rig.handler("live").always(DELIVERED)
    rig.lane("late").is_paused = False
    rig.lane("late").pump()
    fresh = rig.offer(1)
    seen: list[int] = []
    rig.handler("live").react = lambda _: seen.append(rig.lane("late").cursor) or DELIVERED  # type: ignore[func-returns-value]

    rig.settle()

    assert rig.handler("live").ids == fresh
    assert seen[0] < 100


def test_removed_lanes_read_nothing(new_rig: NewRig, tmp_path: Path) -> None:
    """A lane that is removed while the log is read for it takes nothing, and harms no other."""

    rig = new_rig(**SMALL)
    rig.topic()
    ids = segments(rig, 5)
    rig.executor.hold("read")
    rig.subscribe("going", start=0)
    rig.subscribe("staying", start=0)
    going = rig.handler("going")
    rig.handler("staying").always(DELIVERED)
    number = rig.subscription("going").id
    rig.ask(lambda done: catalogue.remove_subscription(rig.engine, number, done))

    rig.executor.release("read")

    assert going.ids == []
    assert rig.handler("staying").ids == ids
