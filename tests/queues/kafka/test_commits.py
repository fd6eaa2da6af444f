"""Who waits for a commit learns what came of it."""

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.queues.interfaces import Settled
from eventpost.queues.kafka.assigned import Assigned
from eventpost.queues.kafka.commits import Commits
from eventpost.queues.kafka.records import Place
from eventpost.queues.kafka.settings import Options

HERE, THERE = Place("songs", 0), Place("songs", 1)
FAILED = Failed(Evidence(stage=Stage.WAIT, fault=Fault.TIMED_OUT))


def assigned() -> Assigned:
    found = Assigned(Options())
    found.gain([(HERE, 5, None), (THERE, 7, None)])
    return found


def test_one_commit_for_all_who_wait() -> None:
    """Who comes while a commit is under way shares the next one."""
    commits, ours = Commits(), assigned()
    first = commits.want({HERE: 1})
    assert commits.begin(ours, 0.0) == {HERE: (5, "")}
    second, third = commits.want({HERE: 1}), commits.want({THERE: 1})
    assert commits.begin(ours, 0.0) == {}

    commits.done({}, set())

    assert first.answers == {HERE: Settled.DONE}
    assert not second.is_answered
    assert commits.begin(ours, 0.0) == {HERE: (5, ""), THERE: (7, "")}
    commits.done({THERE: FAILED}, set())
    assert second.answers == {HERE: Settled.DONE}
    assert third.answers == {THERE: FAILED}


def test_partitions_that_went_are_lost() -> None:
    """A wish for a partition that went, or went and came back, is answered as lost."""
    commits, ours = Commits(), assigned()
    wish = commits.want({HERE: 1, THERE: 1})
    ours.lose([HERE])
    ours.gain([(HERE, 5, None)])

    assert commits.begin(ours, 0.0) == {THERE: (7, "")}
    commits.done({}, set())

    assert wish.answers == {HERE: Settled.LOST, THERE: Settled.DONE}


def test_a_commit_that_a_rebalance_came_upon() -> None:
    """It is made again for what stays ours."""
    commits, ours = Commits(), assigned()
    wish = commits.want({HERE: 1, THERE: 1})
    commits.begin(ours, 0.0)
    commits.done({HERE: FAILED, THERE: FAILED}, {HERE, THERE})
    assert not wish.is_answered
    ours.lose([THERE])

    assert commits.begin(ours, 0.0) == {HERE: (5, "")}
    commits.done({}, set())

    assert wish.answers == {HERE: Settled.DONE, THERE: Settled.LOST}


def test_a_commit_that_is_recalled() -> None:
    """What it was for is committed with what came after it."""
    commits, ours = Commits(), assigned()
    first = commits.want({HERE: 1})
    commits.begin(ours, 0.0)
    assert commits.age_s(9.0) == 9.0
    second = commits.want({THERE: 1})

    commits.recall()

    assert commits.age_s(9.0) == 0.0
    assert set(commits.begin(ours, 0.0)) == {HERE, THERE}
    commits.done({}, set())
    assert first.is_answered
    assert second.is_answered


def test_nobody_waits_any_more() -> None:
    """A forgotten wish is not committed, and a reset answers all."""
    commits, ours = Commits(), assigned()
    forgotten = commits.want({HERE: 1})
    commits.forget(forgotten)
    assert commits.begin(ours, 0.0) == {}
    wish = commits.want({HERE: 1})

    commits.reset()

    assert wish.answers == {HERE: Settled.LOST}
