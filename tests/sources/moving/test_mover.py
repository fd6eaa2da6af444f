"""A move between two strict queues in memory, which fail when they are told to."""

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from eventpost.core.outcomes import Failed
from eventpost.core.sources import MessageFormat
from eventpost.diagnosis import codes
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message, Traits
from eventpost.sources.moving import journal as journals
from eventpost.sources.moving.account import Account
from eventpost.sources.moving.journal import JournalError
from eventpost.sources.moving.limits import MoveLimits
from eventpost.sources.moving.mover import Mover
from eventpost.sources.moving.parcels import Manner
from eventpost.sources.moving.result import Ended, Result
from eventpost.testing.memory_queue import (
    BUSY,
    FORBIDDEN,
    HELD,
    LEASED,
    LOG,
    POLLED,
    RESET,
    MemoryServer,
    Mishap,
)

QUICK = MoveLimits(
    wait_s=0.02,
    quiet_s=0.02,
    idle_s=0.05,
    hidden_wait_s=0.1,
    patience_s=5.0,
    retry_s_min=0.01,
    retry_s_max=0.02,
    drain_s=2.0,
)
ALL_TRAITS = [LEASED, POLLED, HELD, LOG]


class Rig:
    """Two servers with a queue `songs` each, and moves from one to the other."""

    def __init__(self, directory: Path, source: Traits = LEASED, target: Traits = LEASED) -> None:
        self.source = MemoryServer(source).create("songs")
        self.target = MemoryServer(target).create("songs")
        self.path = directory / "journal"
        self.told: list[str] = []

    def send(self, *bodies: str, **more: Any) -> None:
        self.source.queue("songs").send([Message(body=each.encode(), **more) for each in bodies])

    def mover(self, limits: MoveLimits = QUICK, **more: Any) -> Mover:
        source = self.source.queue("songs")
        format_given = more.pop("format", MessageFormat.RAW)
        return Mover(
            lambda: source,
            lambda _: self.target.queue("songs"),
            Manner(source=source.identity, target=self.target.traits, format=format_given),
            journals.opened(self.path, source="here", target="there"),
            limits=limits,
            classify=classify,
            tell=self.told.append,
            **more,
        )

    def move(self, limits: MoveLimits = QUICK, **more: Any) -> Result:
        result = self.mover(limits, **more).run()
        balanced(result.account)
        return result

    def arrived(self) -> Counter[str]:
        found: Counter[str] = Counter()
        queue = self.target.queue("songs")
        while page := queue.receive(100, 0.0, 600.0):
            assert isinstance(page, list)
            found.update(each.body.decode() for each in page)
        queue.close()
        return found


def balanced(account: Account) -> None:
    parts = account.moved + account.moved_before + account.skipped + account.left
    assert account.taken == parts, account
    assert account.in_hand == 0


@pytest.mark.parametrize("target", ALL_TRAITS, ids=["leased", "polled", "held", "log"])
@pytest.mark.parametrize("source", ALL_TRAITS, ids=["leased", "polled", "held", "log"])
def test_every_queue_is_moved_into_every_other(
    tmp_path: Path, source: Traits, target: Traits
) -> None:
    """Whatever both systems can, each message arrives once, and the source is empty."""
    rig = Rig(tmp_path, source, target)
    names = [f"song-{n}" for n in range(250)]
    rig.send(*names)

    result = rig.move()

    assert result.ended is Ended.EMPTY
    assert result.is_complete
    assert (result.account.taken, result.account.moved) == (250, 250)
    assert rig.arrived() == Counter(names)
    assert rig.source.message_count("songs") == 0
    assert not rig.path.exists()


def test_an_empty_queue_is_moved_at_once(tmp_path: Path) -> None:
    """There is nothing to do, and that is said so."""
    result = Rig(tmp_path).move()

    assert (result.ended, result.account) == (Ended.EMPTY, Account())


def test_nothing_is_deleted_before_it_arrived(tmp_path: Path) -> None:
    """As long as the target refuses, the source keeps every message; then they go."""
    rig = Rig(tmp_path)
    rig.send("a", "b")
    refusals = 0

    def fails(operation: str, _ids: Sequence[str]) -> Mishap | None:
        nonlocal refusals
        assert rig.source.requests["settle"] == 0 or refusals >= 3
        refusals += 1
        return Mishap(failed=BUSY) if operation == "send" and refusals <= 3 else None

    rig.target.mishaps = fails

    result = rig.move()

    assert result.is_complete
    assert rig.arrived() == Counter(["a", "b"])
    assert "The target refuses" in rig.told[0]


def test_a_target_that_fails_for_too_long_ends_the_move(tmp_path: Path) -> None:
    """Nothing is lost: what was taken goes back, and the failure is in the result."""
    rig = Rig(tmp_path)
    rig.send("a", "b", "c")
    rig.target.fail("send", FORBIDDEN)

    result = rig.move(dataclasses.replace(QUICK, patience_s=0.05))

    assert result.ended is Ended.TARGET_FAILS
    assert result.failed is not None
    assert result.failed.evidence.code == "AccessDenied"
    assert (result.account.taken, result.account.returned) == (3, 3)
    rig.target.mend("send")
    assert rig.move().account.moved == 3
    assert rig.arrived() == Counter(["a", "b", "c"])


def test_a_source_that_fails_for_too_long_ends_the_move(tmp_path: Path) -> None:
    """A queue that gives nothing because it refuses is not taken for empty."""
    rig = Rig(tmp_path)
    rig.send("a")
    rig.source.fail("receive", FORBIDDEN)

    result = rig.move(dataclasses.replace(QUICK, patience_s=0.05))

    assert result.ended is Ended.SOURCE_FAILS
    assert result.failed is not None
    assert not result.is_complete
    assert rig.source.message_count("songs") == 1
    assert any("The source refuses to receive" in each for each in rig.told)


def test_an_answer_that_was_lost_is_counted(tmp_path: Path) -> None:
    """When nobody knows whether a message arrived it is sent again, and counted as maybe twice."""
    rig = Rig(tmp_path)
    rig.send("a")
    mishaps = [Mishap(failed=RESET, is_after=True)]
    rig.target.mishaps = lambda operation, _: (
        mishaps.pop() if operation == "send" and mishaps else None
    )

    result = rig.move()

    assert result.account.moved == 1
    assert result.account.twice == 1
    assert rig.arrived() == Counter({"a": 2})


def test_an_answer_that_is_lost_again_is_the_same_message(tmp_path: Path) -> None:
    """However often nobody knows, no more messages are maybe twice than there are."""
    rig = Rig(tmp_path)
    rig.send("a", "b")
    mishaps = [Mishap(failed=RESET, is_after=True)] * 3
    rig.target.mishaps = lambda operation, _: (
        mishaps.pop() if operation == "send" and mishaps else None
    )

    result = rig.move()

    assert (result.account.moved, result.account.twice) == (2, 2)
    assert set(rig.arrived()) == {"a", "b"}


def test_what_cannot_be_moved_stays_and_holds_up_nothing(tmp_path: Path) -> None:
    """A message that is too large is counted with its finding, is in the source afterwards, and all
    others are moved."""
    rig = Rig(tmp_path, target=dataclasses.replace(LEASED, message_bytes_max=10))
    rig.send("a", "much too large", "b", "too large as well")

    result = rig.move()

    assert result.ended is Ended.EMPTY
    assert result.account.skipped_by == {codes.MOVE_TOO_LARGE: 2}
    assert "14 bytes" in result.examples[codes.MOVE_TOO_LARGE]
    assert rig.arrived() == Counter(["a", "b"])
    assert rig.source.message_count("songs") == 2
    left = rig.source.queue("songs").receive(10, 0.0, 60.0)
    assert isinstance(left, list)
    assert len(left) == 2  # given back, and not hidden until some lease ends


def test_what_the_target_refuses_for_good_is_skipped(tmp_path: Path) -> None:
    """A refusal that no later attempt can change is a reason to skip, by its own finding."""
    rig = Rig(tmp_path)
    rig.send("a", "b")
    refused = Failed(FORBIDDEN.evidence, final=True)
    rig.target.fail("send", refused)

    result = rig.move()

    assert result.account.skipped == 2
    assert list(result.account.skipped_by) == [classify(refused.evidence)]


def test_what_is_skipped_of_a_log_stays_where_it_is(tmp_path: Path) -> None:
    """A log is not appended to: its position stays before what cannot be moved, all else is done,
    and the end is not waited for."""
    rig = Rig(tmp_path, source=LOG, target=dataclasses.replace(LEASED, message_bytes_max=10))
    rig.send("a", "much too large", "b")

    result = rig.move(dataclasses.replace(QUICK, drain_s=600.0))

    assert (result.account.moved, result.account.skipped) == (2, 1)
    assert rig.source.requests["release"] == 0
    assert rig.arrived() == Counter(["a", "b"])
    again = rig.source.queue("songs").receive(10, 0.0, 60.0)
    assert isinstance(again, list)
    assert again[0].body == b"much too large"


def test_too_much_that_is_skipped_ends_the_move(tmp_path: Path) -> None:
    """What is held because it cannot be moved is bounded."""
    rig = Rig(tmp_path, target=dataclasses.replace(LEASED, message_bytes_max=1))
    rig.send(*(f"song-{n}" for n in range(50)))

    result = rig.move(dataclasses.replace(QUICK, skipped_max=5, page_max=2, ahead_max=2))

    assert result.ended is Ended.SKIPPED
    assert 5 <= result.account.skipped <= 6
    assert rig.source.message_count("songs") == 50


def test_deletes_that_fail_for_a_while_repeat_nothing(tmp_path: Path) -> None:
    """A message whose delete is refused is deleted later, and not sent again when it comes back."""
    rig = Rig(tmp_path)
    names = [f"song-{n}" for n in range(30)]
    rig.send(*names)
    refusals = [0]

    def fails(operation: str, _ids: Sequence[str]) -> Mishap | None:
        if operation != "settle" or refusals[0] >= 5:
            return None
        refusals[0] += 1
        return Mishap(failed=FORBIDDEN)

    rig.source.mishaps = fails

    result = rig.move()

    assert result.account.moved == 30
    assert rig.arrived() == Counter(names)
    assert any("The source refuses to delete" in each for each in rig.told)


def test_deletes_that_fail_to_the_end_are_left_to_the_next_run(tmp_path: Path) -> None:
    """What arrived and could not be deleted is counted as left; the next run deletes it, and sends
    nothing."""
    rig = Rig(tmp_path, source=dataclasses.replace(LEASED, can_extend=True))
    names = [f"song-{n}" for n in range(30)]
    rig.send(*names)
    rig.source.fail("settle", FORBIDDEN)

    first = rig.move(dataclasses.replace(QUICK, drain_s=0.1, lease_s=1.0))

    assert (first.account.taken, first.account.moved, first.account.undeleted) == (30, 0, 30)
    assert rig.path.exists()
    rig.source.mend("settle")
    second = rig.move(dataclasses.replace(QUICK, hidden_wait_s=200.0, lease_s=1.0))
    assert (second.account.taken, second.account.moved_before) == (30, 30)
    assert second.is_complete
    assert rig.arrived() == Counter(names)
    assert not rig.path.exists()


def test_a_message_of_dramatiq_without_an_id_is_known_again(tmp_path: Path) -> None:
    """Where the system gives no ids, its content tells that a message had arrived before."""
    rig = Rig(tmp_path, source=HELD)
    body = (
        '{"queue_name":"songs","actor_name":"play","args":[],"kwargs":{},"options":{},'
        '"message_id":"%d","message_timestamp":1}'
    )
    names = [body % n for n in range(10)]
    rig.send(*names)
    rig.source.fail("settle", BUSY)
    limits = dataclasses.replace(QUICK, drain_s=0.1)
    first = rig.move(limits, format=MessageFormat.DRAMATIQ)
    assert first.account.undeleted == 10
    rig.source.mend("settle")

    second = rig.move(format=MessageFormat.DRAMATIQ)

    assert (second.account.taken, second.account.moved_before) == (10, 10)
    assert rig.arrived() == Counter(names)


def test_other_messages_without_an_id_are_sent_again_and_counted(tmp_path: Path) -> None:
    """Alike to the last byte is not the same: none of them is lost, and those that may be twice in
    the target are counted."""
    rig = Rig(tmp_path, source=HELD)
    rig.send("ping", "ping", "ping")
    rig.source.fail("settle", BUSY)
    first = rig.move(dataclasses.replace(QUICK, drain_s=0.1))
    assert first.account.undeleted == 3
    rig.source.mend("settle")

    second = rig.move()

    assert (second.account.taken, second.account.moved, second.account.twice) == (3, 3, 3)
    assert rig.arrived() == Counter({"ping": 6})
    assert not rig.path.exists()


def test_a_stop_finishes_what_is_under_way(tmp_path: Path) -> None:
    """After a stop nothing new is taken, what was sent is deleted, and the rest is given back."""
    rig = Rig(tmp_path)
    rig.send(*(f"song-{n}" for n in range(300)))
    movers: list[Mover] = []

    def shown(account: Account) -> None:
        if account.taken >= 20:
            movers[0].stop()

    movers.append(rig.mover(dataclasses.replace(QUICK, page_max=10), show=shown))
    result = movers[0].run()

    balanced(result.account)
    assert result.ended is Ended.STOPPED
    assert 20 <= result.account.moved < 300
    assert rig.arrived().total() == result.account.moved
    assert rig.source.message_count("songs") == 300 - result.account.moved


def test_a_stop_ends_the_waiting_for_a_target(tmp_path: Path) -> None:
    """Who stops a move whose target fails does not wait for its patience."""
    rig = Rig(tmp_path)
    rig.send("a")
    rig.target.fail("send", BUSY)
    mover = rig.mover(dataclasses.replace(QUICK, patience_s=600.0, retry_s_min=60, retry_s_max=60))
    thread = threading.Thread(target=mover.run)
    thread.start()
    until(lambda: rig.target.requests["send"] > 0)

    mover.stop()
    thread.join(60)

    assert not thread.is_alive()
    assert mover.result.ended is Ended.STOPPED
    assert mover.result.account.returned == 1
    balanced(mover.result.account)


@pytest.mark.parametrize("count", [1, 7, 100, 101])
def test_a_count_bounds_what_is_moved(tmp_path: Path, count: int) -> None:
    """As many as were asked for are moved, and the rest is left alone."""
    rig = Rig(tmp_path)
    rig.send(*(f"song-{n}" for n in range(100)))

    result = rig.move(count_max=count)

    assert result.account.moved == min(count, 100)
    assert result.ended is (Ended.COUNTED if count <= 100 else Ended.EMPTY)
    assert result.is_complete
    assert rig.source.message_count("songs") == 100 - min(count, 100)


def test_what_is_hidden_is_told(tmp_path: Path) -> None:
    """A queue that holds messages and does not hand them out is not called empty."""
    rig = Rig(tmp_path)
    rig.send("later", delay_s=600.0)
    rig.send("now")

    result = rig.move()

    assert result.ended is Ended.HIDDEN
    assert result.hidden == 1
    assert result.account.moved == 1
    assert not result.is_complete


def test_a_journal_that_fails_ends_the_move_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk is full, what arrived is deleted, the rest is given back, and it is said."""
    rig = Rig(tmp_path)
    rig.send(*(f"song-{n}" for n in range(50)))
    mover = rig.mover(dataclasses.replace(QUICK, page_max=10))
    calls = 0
    write = journals._write_all

    def full(file: Any, content: bytes) -> None:
        nonlocal calls
        calls += content.startswith(b"+")
        if calls > 2:
            raise OSError(28, "No space left on device")
        write(file, content)

    monkeypatch.setattr(journals, "_write_all", full)

    result = mover.run()

    balanced(result.account)
    assert result.ended is Ended.JOURNAL_FAILS
    assert isinstance(result.error, JournalError)
    assert result.error.code == codes.JOURNAL_UNUSABLE
    arrived = rig.arrived()
    assert max(arrived.values()) == 1
    assert arrived.total() + rig.source.message_count("songs") == 50


def until(condition: Callable[[], bool]) -> None:
    changed = threading.Event()
    for _ in range(1_000):
        if condition():
            return
        changed.wait(0.01)
    raise AssertionError("it never came true")
