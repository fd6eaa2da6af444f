"""The commit group: who is in it, when it is committed, and what its failure means."""

import pytest

from eventpost.core.errors import Overloaded
from eventpost.core.outcomes import DELIVERED
from eventpost.core.subscriptions import RetryPolicy
from eventpost.grid import catalogue, failing
from eventpost.testing.disk import Disk
from tests.grid.conftest import NewRig
from tests.grid.rig import Rig, failed

CHOKE = 8


def commits(rig: Rig) -> list[list[int]]:
    """How many events each commit appended, by partition."""
    return [[len(each.events) for each in commit.appends] for commit in rig.store.commits]


# --- groups ---------------------------------------------------------------------------------------


def test_what_arrives_together_is_committed_together(rig: Rig) -> None:
    """Publishes of one turn of the loop share a commit, a segment per topic."""
    rig.topic("news")
    rig.store.commits.clear()

    rig.offer(2)
    rig.offer(3, topic="news")
    rig.offer(1)
    rig.settle()

    assert commits(rig)[0] == [3, 3]
    assert set(rig.answers.values()) == {None}


def test_what_arrives_during_a_commit(rig: Rig) -> None:
    """It waits for the next one, together, and nobody is answered before."""
    rig.store.commits.clear()
    rig.executor.hold("write")
    first = rig.offer(1)
    rig.settle()
    second = rig.offer(1)
    rig.settle()
    third = rig.offer(1)
    rig.settle()
    assert commits(rig) == [[1]]
    assert rig.answers == {}

    done, answer = rig.executor.held["write"].pop()
    rig.clock.call_soon(done, answer)
    rig.settle()
    assert set(rig.answers) == set(first)
    assert commits(rig) == [[1], [2]]
    rig.executor.release("write")

    assert set(rig.answers) == {*first, *second, *third}


def test_nothing_is_sent_before_its_commit(rig: Rig) -> None:
    """An event is routed once it is durable, not before."""
    rig.subscribe()
    rig.executor.hold("write")

    rig.offer(1)
    rig.settle()
    assert rig.handler().ids == []
    rig.executor.release("write")

    assert rig.handler().ids == ["e0"]


def test_publishers_keep_their_lists(rig: Rig) -> None:
    """What others publish to the topic in the same commit is not added to a publisher's events."""
    events = [rig.event()]
    rig.engine.publish(rig.topics["songs"].id, events, lambda _: None)
    rig.offer(5)
    rig.settle()

    assert len(events) == 1


def test_outcomes_wait_for_company(new_rig: NewRig) -> None:
    """Outcomes alone are committed after their delay, all of them together."""
    rig = new_rig(outcome_delay_s=0.02)
    rig.topic()
    rig.subscribe()
    rig.publish(5)
    rig.store.commits.clear()

    rig.handler().answer(count=2)
    rig.advance(0.019)
    rig.handler().answer()
    assert rig.store.commits == []
    rig.advance(0.001)

    assert len(rig.store.commits) == 1
    assert rig.lane().tally.delivered == 5


@pytest.mark.parametrize(("waited_s", "goes_along"), [(0.009, False), (0.01, True)])
def test_outcomes_go_with_a_publish(new_rig: NewRig, waited_s: float, goes_along: bool) -> None:
    """A publish takes along what waits once half of the delay is over; else it comes on its own."""
    rig = new_rig(outcome_delay_s=0.02)
    rig.topic()
    rig.subscribe()
    rig.advance(1.0)
    rig.publish(2)
    rig.store.commits.clear()

    rig.advance(waited_s)
    rig.handler().answer(count=1)
    rig.publish(1)

    assert [bool(commit.outcome_id) for commit in rig.store.commits] == [goes_along]
    assert rig.lane().tally.delivered == int(goes_along)
    rig.advance(1.0)
    assert len(rig.store.commits) == (1 if goes_along else 2)
    assert rig.lane().tally.delivered == 1


def test_only_events_go_without_outcomes(new_rig: NewRig) -> None:
    """What else is committed says where each delivery is, and so does the blob beside it."""
    rig = new_rig(outcome_delay_s=0.02)
    rig.topic()
    rig.subscribe()
    rig.advance(1.0)
    rig.publish(2)
    rig.store.commits.clear()

    rig.handler().answer(failed(503), count=1)
    rig.publish(1)

    assert all(commit.outcome_id for commit in rig.store.commits if commit.ladder_put)
    assert any(commit.ladder_put for commit in rig.store.commits)


def test_a_crash_before_the_outcomes(new_rig: NewRig) -> None:
    """Events that no blob tells of yet are routed again after a restart; each is delivered."""
    rig = new_rig(outcome_delay_s=0.02)
    rig.topic()
    rig.subscribe()
    rig.advance(1.0)
    rig.publish(1)
    rig.store.commits.clear()
    rig.publish(1)
    rig.publish(1)
    assert not any(commit.outcome_id for commit in rig.store.commits)

    rig.crash()
    rig.settle()

    assert rig.handler().ids == ["e0", "e1", "e2"]


def test_nothing_is_committed_when_nothing_happens(rig: Rig) -> None:
    """A grid at rest writes nothing."""
    rig.subscribe()
    rig.handler().always(DELIVERED)
    rig.publish(3)
    rig.store.commits.clear()

    rig.advance(3_000.0)

    assert rig.store.commits == []


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_events_that_wait(new_rig: NewRig, more: int) -> None:
    """So many events wait for their commit; a publish beyond is refused as a whole."""
    rig = new_rig(group_events_max=10)
    rig.topic()
    rig.offer(6)

    if more > 0:
        with pytest.raises(Overloaded) as refused:
            rig.offer(4 + more)
        assert refused.value.code == "EP3004"
        rig.offer(4)
    else:
        rig.offer(4 + more)
    rig.settle()

    assert rig.engine.partitions[rig.topics["songs"].id, 0].next == 10 + min(0, more)
    rig.publish(10)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_bytes_that_wait(new_rig: NewRig, more: int) -> None:
    """So many bytes wait for their commit."""
    rig = new_rig()
    rig.topic()
    size = sum(len(rig.event().wire) for _ in range(4))
    rig.close()
    rig = new_rig(group_bytes_max=size - more)
    rig.topic()

    rig.offer(3)
    if more > 0:
        with pytest.raises(Overloaded):
            rig.offer(1)
    else:
        rig.offer(1)
    rig.settle()

    assert rig.engine.partitions[rig.topics["songs"].id, 0].next == (3 if more > 0 else 4)


def test_notices_are_never_refused(new_rig: NewRig) -> None:
    """The notice of a dead letter finds its place in a group that is full."""
    rig = new_rig(group_events_max=2)
    rig.topic()
    notices = rig.notices()
    rig.subscribe()
    rig.publish(2)
    rig.offer(2)

    for attempt in rig.handler().open:
        attempt.done(attempt.deliveries, failed(400))
    rig.settle()

    assert rig.engine.partitions[notices.id, 0].next == 2


@pytest.mark.parametrize("count", [CHOKE - 1, CHOKE, CHOKE + 1])
def test_unsaved_outcomes(new_rig: NewRig, count: int) -> None:
    """Once so many outcomes wait for their commit nothing more is sent, until they are saved."""
    rig = new_rig(outcomes_unsaved_max=CHOKE, outcome_delay_s=1.0)
    rig.topic()
    rig.subscribe(concurrency=100)
    rig.subscribe("other", concurrency=1)
    rig.publish(CHOKE + 2)
    rig.executor.hold("write")

    rig.handler().answer(count=count)
    rig.handler("other").answer(count=1)
    sent = len(rig.handler("other").ids)

    is_choked = count + 1 >= CHOKE
    assert rig.engine.journal.is_choked == is_choked
    assert sent == (1 if count >= CHOKE - 1 else 2)
    rig.executor.release("write")
    rig.settle()
    assert len(rig.handler("other").ids) == 2
    assert not rig.engine.journal.is_choked


def test_a_choked_lane_wakes_however_it_slept(new_rig: NewRig) -> None:
    """Every lane that wanted to send while outcomes were waiting sends afterwards."""
    rig = new_rig(outcomes_unsaved_max=CHOKE, outcome_delay_s=1.0)
    rig.topic()
    rig.subscribe("busy", concurrency=100)
    rig.subscribe("idle", rate_per_s=1_000.0)
    rig.publish(CHOKE)
    rig.handler("idle").answer()
    rig.advance(2.0)
    rig.executor.hold("write")
    rig.handler("busy").answer()
    assert rig.engine.journal.is_choked

    rig.offer(3)
    rig.executor.release("write")
    rig.settle()

    assert len(rig.handler("idle").open) == 3


# --- failure --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["fail_sync_at", "full_at_write"])
def test_a_failed_commit(new_rig: NewRig, faulty: Disk, fault: str) -> None:
    """Neither the group that failed nor the one that was open is told of a success; later publishes
    are refused at once, and nothing is sent any more."""
    rig = new_rig(vfs=faulty.name)
    rig.topic()
    rig.subscribe()
    kept = rig.publish(1)
    assert rig.handler().ids == kept
    count = faulty.syncs if fault == "fail_sync_at" else faulty.writes
    rig.executor.hold("write")
    setattr(faulty, fault, count + 1)
    committing = rig.offer(1)
    rig.settle()
    waiting = rig.offer(1)
    changed: list[bool] = []
    rig.engine.journal.wait(changed.append)
    rig.executor.release("write")

    codes = {each.code for each in (rig.answers[committing[0]], rig.answers[waiting[0]]) if each}
    assert codes == {"EP3002" if fault == "full_at_write" else "EP3003"}
    assert changed == [False]
    assert len(rig.failures) == 1
    with pytest.raises(Overloaded):
        rig.offer(1)
    catalogue.put_setting(rig.engine, "name", b"value", changed.append)
    rig.handler().answer(DELIVERED)
    rig.advance(60.0)
    assert changed == [False, False]
    assert rig.handler().ids == kept
    assert len(rig.failures) == 1


def test_what_a_failed_group_held_is_done_again(new_rig: NewRig, faulty: Disk) -> None:
    """Outcomes whose commit failed never happened: the delivery is made again."""
    rig = new_rig(vfs=faulty.name)
    rig.topic()
    rig.subscribe()
    ids = rig.publish(2)
    faulty.full_at_write = faulty.writes + 1
    rig.handler().answer(DELIVERED)
    assert len(rig.failures) == 1

    rig.start()
    rig.settle()

    assert rig.handler().ids == ids
    assert rig.books().delivered == 0


# --- rows -----------------------------------------------------------------------------------------


def test_a_row_that_comes_and_goes_in_one_group(new_rig: NewRig) -> None:
    """A row that is put on the ladder and taken off before its commit is never written."""
    rig = new_rig(cursor_gap_max=2, outcome_delay_s=10.0)
    rig.topic()
    rig.subscribe()
    rig.publish(1)
    hanging = rig.handler().open[0]
    rig.publish(5)
    rig.executor.hold("write")
    rig.offer(1)
    rig.settle()
    rig.store.commits.clear()
    row = failing.climb(rig.lane(), hanging.deliveries[0], rig.clock.now_ms() + 10, None, 0)

    rig.engine.journal.remove_row(row)
    rig.lane().ladder_count -= 1
    rig.lane().delta.delivered += 1
    rig.executor.release("write")
    rig.advance(10.0)

    assert all(row not in commit.ladder_put for commit in rig.store.commits)
    assert all(row not in commit.ladder_remove for commit in rig.store.commits)


def test_a_row_that_was_written_before_is_removed(rig: Rig) -> None:
    """A row of an earlier commit is removed by the one that carries its outcome."""
    rig.subscribe(retry=RetryPolicy(schedule=(1_000,)))
    rig.handler().react = lambda _: failed()
    rig.publish(1)
    (put,) = [row for commit in rig.store.commits for row in commit.ladder_put]
    rig.handler().react = lambda _: DELIVERED

    rig.advance(1.2)

    (last,) = [commit for commit in rig.store.commits if commit.ladder_remove]
    assert last.ladder_remove == [put]
    assert last.outcome_id


# --- snapshots ------------------------------------------------------------------------------------


def test_blobs_go_when_every_lane_was_written(new_rig: NewRig) -> None:
    """Old outcomes are given up only with the commit that writes the last state they told of."""
    rig = new_rig(snapshot_commits=20, snapshot_lanes=2)
    rig.topic()
    for index in range(7):
        rig.subscribe(f"handler{index}")
        rig.handler(f"handler{index}").always(DELIVERED)
    while not any(commit.outcomes_below for commit in rig.store.commits):
        rig.publish(1)
    last = next(commit for commit in rig.store.commits if commit.outcomes_below)
    at = rig.store.commits.index(last)
    swept = [commit for commit in rig.store.commits[: at + 1] if commit.states]

    slices = [len(commit.states) for commit in swept if not commit.catalogue]
    assert slices == [2, 2, 2, 2]  # seven lanes and a partition
    assert last.outcomes_below <= swept[-4].outcome_id + 1
    before = {name: rig.books(name) for name in (f"handler{index}" for index in range(7))}

    rig.crash()
    rig.settle()

    assert {name: rig.books(name).pending for name in before} == dict.fromkeys(before, 0)
    assert {name: rig.books(name) for name in before} == before


def test_a_lane_that_is_being_restored_is_written_later(new_rig: NewRig) -> None:
    """While a lane is not yet restored its state is not written, and no outcome is given up."""
    rig = new_rig(snapshot_commits=2)
    rig.topic()
    rig.topic("busy")
    rig.subscribe(concurrency=1)
    rig.subscribe("loud", topic="busy")
    ids = rig.publish(3)
    rig.handler().answer(count=1)
    rig.restart(hold=("read",))
    rig.handler("loud").always(DELIVERED)
    rig.store.commits.clear()
    for _ in range(10):
        rig.publish(1, topic="busy")
    assert rig.lane().recovery is not None
    assert not any(commit.outcomes_below for commit in rig.store.commits)

    rig.executor.release("read")
    rig.publish(1, topic="busy")

    assert any(commit.outcomes_below for commit in rig.store.commits)
    rig.crash()
    rig.settle()
    rig.handler().always(DELIVERED)
    assert rig.handler().ids == ids[1:]
    assert rig.books().delivered == 3
