"""What was finished stays known: after a crash, in other processes, within its bounds."""

import ctypes
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from eventpost.diagnosis import codes
from eventpost.queues.interfaces import Message
from eventpost.queues.leases import Leases
from eventpost.queues.ledger import Ledger, LedgerError, LedgerLimits
from eventpost.queues.ledger_file import VERSION, FilePlace
from eventpost.queues.ledger_rows import LedgerRows
from eventpost.testing.disk import Disk
from eventpost.testing.memory_queue import FORBIDDEN, MemoryServer
from tests.conftest import Say
from tests.patience import PATIENCE_S
from tests.queues.leases.test_fork import in_child

SONGS = "memory:songs"
OTHER = "memory:other"


class Clock:
    def __init__(self) -> None:
        self.now = 1_767_225_600.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite"


def test_finished_is_known(path: Path) -> None:
    """What was finished is known, under its queue and under no other, also when opened anew."""
    ledger = Ledger(path)
    ledger.finish(SONGS, "1", "ü\U0001f3b8", "0/7")

    for _ in range(2):
        assert ledger.known(SONGS, ["0", "1", "ü\U0001f3b8", "0/7"]) == {"1", "ü\U0001f3b8", "0/7"}
        assert ledger.known(OTHER, ["1"]) == set()
        assert ledger.known(SONGS, []) == set()
        ledger.close()
    assert Ledger(path).known(SONGS, ["1"]) == {"1"}


def test_finishing_twice_is_finishing_once(path: Path) -> None:
    """The same message may be finished again, by whoever."""
    ledger = Ledger(path)
    for _ in range(3):
        ledger.finish(SONGS, "1")

    assert ledger.stats().rows == 1


def test_a_message_without_id(path: Path) -> None:
    """What could never be known again is not taken down."""
    with pytest.raises(ValueError, match="without an id"):
        Ledger(path).finish(SONGS, "")


def test_one_queue(path: Path) -> None:
    """The part of one queue needs no queue named."""
    ledger = Ledger(path)
    songs = ledger.of(SONGS)
    songs.finish("1")
    songs.settled("1")

    assert songs.known(["1", "2"]) == {"1"}
    assert ledger.known(SONGS, ["1"]) == {"1"}


def test_nothing_is_opened_before_it_is_used(path: Path) -> None:
    """A ledger that is only made touches no file; one that is used is private to its user."""
    ledger = Ledger(path)
    assert not path.parent.exists()
    ledger.close()
    assert not path.parent.exists()

    assert ledger.known(SONGS, ["1"]) == set()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o077 == 0 for file in path.parent.iterdir())


def test_threads_share_commits(path: Path) -> None:
    """Threads that finish at the same time wait for one commit together, and all of it is there."""
    ledger = Ledger(path)
    ids = [str(number) for number in range(400)]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda one: ledger.finish(SONGS, one), ids))

    assert ledger.known(SONGS, ids) == set(ids)
    stats = ledger.stats()
    assert stats.finished == stats.rows == 400
    assert stats.commits < 400


class Interrupted(Exception):
    """What a library raises in another thread, such as Dramatiq at a time limit."""


class Gate:
    """A place whose first write waits until it may go on."""

    name = "gate"

    def __init__(self, path: Path) -> None:
        self._place = FilePlace(path)
        self.is_reached, self.is_open = threading.Event(), threading.Event()

    def open(self, limits: LedgerLimits) -> LedgerRows:
        rows = self._place.open(limits)
        write = rows.write

        def gated(*arguments: Any) -> None:
            self.is_reached.set()
            assert self.is_open.wait(PATIENCE_S)
            write(*arguments)

        rows.write = gated  # type: ignore[assignment, method-assign]
        return rows


def test_a_thread_that_is_interrupted(path: Path) -> None:
    """When something is raised in a thread as its turn to write comes, the next one writes; what it
    was to write is written, too."""
    gate = Gate(path)
    ledger = Ledger(gate)
    caught: list[BaseException] = []

    def finish(one: str) -> None:
        try:
            ledger.finish(SONGS, one)
        except Interrupted as error:
            caught.append(error)

    threads = [threading.Thread(target=finish, args=(one,), daemon=True) for one in "123"]
    threads[0].start()
    assert gate.is_reached.wait(PATIENCE_S)
    for count, thread in enumerate(threads[1:], 1):
        thread.start()
        until(lambda: len(ledger._open_group.waiting) == count)  # noqa: B023
    raised = ctypes.py_object(Interrupted)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threads[1].ident or 0), raised)

    gate.is_open.set()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()

    assert len(caught) == 1
    assert ledger.known(SONGS, ["1", "2", "3"]) == {"1", "2", "3"}
    ledger.finish(SONGS, "4")
    assert ledger.stats().commits == 3


def until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.002)


def test_reading_while_writing(path: Path) -> None:
    """Look-ups go on while others finish, and see what is durable."""
    ledger = Ledger(path)
    is_over = threading.Event()

    def look() -> int:
        count = 0
        while not is_over.is_set():
            ledger.known(SONGS, [str(number) for number in range(10)])
            count += 1
        return count

    with ThreadPoolExecutor(3) as pool:
        looking = [pool.submit(look) for _ in range(2)]
        for number in range(100):
            ledger.finish(SONGS, str(number))
            assert ledger.known(SONGS, [str(number)])
        is_over.set()
        assert all(future.result() > 0 for future in looking)


# --- bounds ---------------------------------------------------------------------------------------


def test_age(path: Path) -> None:
    """What was not settled is remembered for its whole time and forgotten after it; what was
    settled, for a short one."""
    clock = Clock()
    limits = LedgerLimits(age_s_max=1_000.0, settled_age_s_max=100.0, trim_every_s=1.0)
    ledger = Ledger(path, limits=limits, now_s=clock)
    ledger.finish(SONGS, "settled", "pending")
    ledger.settled(SONGS, "settled")

    for seconds, known in [
        (100.0, {"settled", "pending"}),
        (101.0, {"pending"}),
        (1_000.0, {"pending"}),
        (1_001.0, set()),
    ]:
        clock.now = 1_767_225_600.0 + seconds
        ledger.finish(OTHER, str(seconds))  # what trims
        assert ledger.known(SONGS, ["settled", "pending"]) == known, seconds


@pytest.mark.parametrize(("count", "lost"), [(99, 0), (100, 0), (101, 1)])
def test_rows_are_bounded(path: Path, count: int, lost: int) -> None:
    """Beyond its rows the oldest go, and that is counted, because they may be done twice."""
    clock = Clock()
    ledger = Ledger(path, limits=LedgerLimits(rows_max=100), now_s=clock)
    for number in range(count):
        clock.now += 1.0
        ledger.finish(SONGS, str(number))

    stats = ledger.stats()
    assert stats.rows == min(count, 100)
    assert stats.forgotten == lost
    known = ledger.known(SONGS, [str(number) for number in range(count)])
    assert known == {str(number) for number in range(lost, count)}


def test_what_was_settled_goes_first(path: Path) -> None:
    """For want of room those are forgotten first that need not be known any more."""
    clock = Clock()
    ledger = Ledger(path, limits=LedgerLimits(rows_max=100), now_s=clock)
    ledger.finish(SONGS, *(f"pending-{number}" for number in range(50)))
    for number in range(200):
        clock.now += 1.0
        ledger.finish(SONGS, str(number))
        ledger.settled(SONGS, str(number))

    assert len(ledger.known(SONGS, [f"pending-{number}" for number in range(50)])) == 50
    assert ledger.stats().forgotten == 0
    assert ledger.stats().rows == 100


def test_settled_ids_do_not_pile_up(path: Path) -> None:
    """Settled ids that wait for a commit are bounded: at the bound they make one."""
    ledger = Ledger(path, limits=LedgerLimits(settled_waiting_max=10))
    ledger.finish(SONGS, "1")
    for number in range(9):
        ledger.settled(SONGS, str(number))
    assert ledger.stats().commits == 1
    ledger.settled(SONGS, "9")

    assert ledger.stats().commits == 2


@pytest.mark.parametrize("name", ["rows_max", "age_s_max", "busy_s"])
def test_limits_that_cannot_be(name: str) -> None:
    """A bound that is not positive is refused by its name."""
    with pytest.raises(ValueError, match=name):
        LedgerLimits(**{name: 0})


# --- crashes and other processes ------------------------------------------------------------------

PROGRAM = """
import sys, threading
from eventpost.queues.ledger import Ledger
ledger = Ledger(sys.argv[1])
lock = threading.Lock()
def work(name):
    number = 0
    while True:
        one = f"{sys.argv[2]}-{name}-{number}"
        ledger.finish("memory:songs", one)
        with lock:
            sys.stdout.write(one + "\\n")
            sys.stdout.flush()
        if number % 2:
            ledger.settled("memory:songs", one)
        number += 1
for name in range(4):
    threading.Thread(target=work, args=(name,)).start()
"""


@pytest.mark.slow
@pytest.mark.crash
def test_killed_at_any_moment(path: Path, say: Say) -> None:
    """A process killed at any moment leaves known whatever `finish` had returned for; two that are
    killed at work on one file do not harm each other."""
    seed = random.randrange(2**32)
    say(f"seed {seed}")
    whim = random.Random(seed)
    said: list[str] = []
    for kill in range(6):
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(path), f"{kill}-{number}"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(2)
        ]
        for worker in workers:
            assert worker.stdout is not None
            said += [worker.stdout.readline().strip() for _ in range(whim.randrange(1, 60))]
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
        for worker in workers:
            said += worker.communicate(timeout=PATIENCE_S)[0].split("\n")[:-1]

        ledger = Ledger(path)
        assert ledger.known(SONGS, said) == set(said)
        ledger.close()
    check = apsw.Connection(str(path)).execute("PRAGMA integrity_check").fetchall()
    assert check == [("ok",)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_a_power_cut_loses_nothing(tmp_path: Path, seed: int) -> None:
    """With the power cut at any write or sync, what `finish` returned for is known afterwards."""
    disk = Disk(tmp_path / "disk", seed)
    whim = random.Random(seed)
    done: list[str] = []
    for cut in range(6):
        ledger = Ledger(FilePlace(tmp_path / "ledger.sqlite", vfs=disk.name))
        assert ledger.known(SONGS, done) == set(done)
        if whim.random() < 0.5:
            disk.cut_at_sync = disk.syncs + whim.randrange(1, 40)
        else:
            disk.cut_at_write = disk.writes + whim.randrange(1, 200)
        with pytest.raises(LedgerError):
            finish_for_ever(ledger, f"{cut}", done)
        ledger.close()
    assert disk.cuts == 6


def finish_for_ever(ledger: Ledger, name: str, done: list[str]) -> None:
    for number in range(10_000):
        ledger.finish(SONGS, f"{name}-{number}")
        done.append(f"{name}-{number}")


def test_processes_share_a_file(path: Path) -> None:
    """What one process finished another knows at once."""
    mine, theirs = Ledger(path), Ledger(path)
    mine.finish(SONGS, "1")
    assert theirs.known(SONGS, ["1"]) == {"1"}
    theirs.finish(SONGS, "2")

    assert mine.known(SONGS, ["1", "2"]) == {"1", "2"}


def test_many_open_it_for_the_first_time_at_once(path: Path) -> None:
    """Several that make the file at the same moment get one ledger."""
    ledgers = [Ledger(path) for _ in range(8)]
    is_ready = threading.Barrier(8)

    def finish(number: int) -> None:
        is_ready.wait(PATIENCE_S)
        ledgers[number].finish(SONGS, str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(finish, range(8)))

    assert len(Ledger(path).known(SONGS, [str(number) for number in range(8)])) == 8


def test_a_fork(path: Path) -> None:
    """A child opens the file anew, and its parent's connections work on; so when it is forked while
    others commit."""
    ledger = Ledger(path)
    ledger.finish(SONGS, "1")
    is_over = threading.Event()

    def finish_on() -> int:
        number = 0
        while not is_over.is_set():
            ledger.finish(OTHER, str(number))
            number += 1
        return number

    def check() -> None:
        assert ledger.known(SONGS, ["1"]) == {"1"}
        ledger.finish(SONGS, f"child-{os.getpid()}")
        assert ledger.stats().finished == 1
        ledger.close()

    with ThreadPoolExecutor(2) as pool:
        working = [pool.submit(finish_on) for _ in range(2)]
        said = [in_child(check) for _ in range(5)]
        is_over.set()
        counts = [future.result() for future in working]

    assert said == [""] * 5
    ids = [str(number) for number in range(max(counts))]
    assert ledger.known(OTHER, ids) == set(ids)
    assert ledger.stats().rows == 1 + 5 + max(counts)


# --- files that cannot be used --------------------------------------------------------------------


def refused(path: Path, limits: LedgerLimits | None = None) -> list[LedgerError]:
    """How using the file is refused, for writers and for readers."""
    errors = []
    calls: list[Callable[[Ledger], object]] = [
        lambda ledger: ledger.finish(SONGS, "1"),
        lambda ledger: ledger.known(SONGS, ["1"]),
    ]
    for call in calls:
        with pytest.raises(LedgerError) as caught:
            call(Ledger(path, limits=limits))
        errors.append(caught.value)
    return errors


def test_a_file_that_is_no_database(path: Path) -> None:
    """A file that holds something else is refused by name, and left as it is."""
    path.parent.mkdir()
    path.write_bytes(b"a letter to a radio station" * 100)

    for error in refused(path):
        assert error.code == codes.LEDGER_UNREADABLE
        assert str(path) in error.what
        assert error.fix
    assert path.read_bytes().startswith(b"a letter")


def test_somebody_elses_database(path: Path) -> None:
    """A database of somebody else is refused, and left as it is."""
    path.parent.mkdir()
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE song (title)")
    other.close()

    assert {error.code for error in refused(path)} == {codes.LEDGER_UNREADABLE}
    tables = apsw.Connection(str(path)).execute("SELECT name FROM sqlite_schema").fetchall()
    assert tables == [("song",)]


def test_a_newer_version(path: Path) -> None:
    """A ledger of a newer version is refused, and left as it is."""
    ledger = Ledger(path)
    ledger.finish(SONGS, "1")
    ledger.close()
    file = apsw.Connection(str(path))
    file.execute(f"PRAGMA user_version = {VERSION + 1}")
    file.close()

    assert {error.code for error in refused(path)} == {codes.LEDGER_UNREADABLE}


def test_a_damaged_ledger(path: Path) -> None:
    """A ledger whose pages were overwritten is refused when they are read, and nothing is taken for
    unknown."""
    ledger = Ledger(path)
    ids = [f"song-{number}" for number in range(2_000)]
    ledger.finish(SONGS, *ids)
    ledger.close()
    pages = path.read_bytes()
    path.write_bytes(pages[:4_096] + bytes(random.Random(1).randbytes(len(pages) - 4_096)))

    for error in refused(path):
        assert error.code == codes.LEDGER_UNREADABLE


@pytest.mark.parametrize("where", ["/proc/ledger.sqlite", "/dev/null/ledger.sqlite", "/"])
def test_a_place_that_cannot_be_written(where: str) -> None:
    """A place where no file can be made is refused with what to do."""
    for error in refused(Path(where)):
        assert error.code == codes.LEDGER_NOT_WRITABLE
        assert "own the folder" in error.fix


@pytest.fixture
def readable_by_all() -> Iterator[Path]:
    """A place that another user can reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "ledger.sqlite"


def test_a_read_only_file(readable_by_all: Path) -> None:
    """A file that may only be read is refused, also for reading: a ledger that cannot be written
    protects nobody."""
    ledger = Ledger(readable_by_all)
    ledger.finish(SONGS, "1")
    ledger.close()
    readable_by_all.chmod(0o444)

    def check() -> None:
        if os.geteuid() == 0:
            os.setuid(65_534)  # modes do not bind the superuser
        assert {one.code for one in refused(readable_by_all)} == {codes.LEDGER_NOT_WRITABLE}

    assert in_child(check) == ""


def test_locked_by_another_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another process holds for too long fails the finish, which then works again."""
    ledger = Ledger(path, limits=LedgerLimits(busy_s=0.5))
    ledger.finish(SONGS, "1")
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    asked_s: list[float] = []

    def monotonic_s() -> float:
        """A tenth of a second passes with each look."""
        asked_s.append(len(asked_s) / 10)
        return asked_s[-1]

    clock = SimpleNamespace(monotonic=monotonic_s, sleep=time.sleep)
    monkeypatch.setattr("eventpost.queues.ledger_file.time", clock)
    with pytest.raises(LedgerError) as caught:
        ledger.finish(SONGS, "2")
    monkeypatch.undo()

    assert caught.value.code == codes.LEDGER_BUSY
    assert asked_s[-1] == pytest.approx(0.5)
    assert ledger.known(SONGS, ["1", "2"]) == {"1"}
    other.execute("ROLLBACK")
    ledger.finish(SONGS, "2")
    assert ledger.known(SONGS, ["1", "2"]) == {"1", "2"}


def test_a_full_disk(tmp_path: Path) -> None:
    """When there is no room the finish fails and says so; with room again it works."""
    disk = Disk(tmp_path / "disk", seed=1)
    ledger = Ledger(FilePlace(tmp_path / "ledger.sqlite", vfs=disk.name))
    ledger.finish(SONGS, "1")
    disk.full_at_write = disk.writes + 1

    with pytest.raises(LedgerError) as caught:
        ledger.finish(SONGS, "2")

    assert caught.value.code == codes.LEDGER_FAILED
    assert "room" in caught.value.what
    disk.disarm()
    ledger.finish(SONGS, "3")
    assert ledger.known(SONGS, ["1", "2", "3"]) == {"1", "3"}
    ledger.close()


def test_a_failed_sync_fails_the_finish(tmp_path: Path) -> None:
    """When the disk cannot sync, nobody is told that a message is finished for good."""
    disk = Disk(tmp_path / "disk", seed=1)
    ledger = Ledger(FilePlace(tmp_path / "ledger.sqlite", vfs=disk.name))
    ledger.finish(SONGS, "1")
    disk.fail_sync_at = disk.syncs + 1

    with pytest.raises(LedgerError) as caught:
        ledger.finish(SONGS, "2")

    assert caught.value.code == codes.LEDGER_FAILED
    ledger.finish(SONGS, "3")
    assert ledger.known(SONGS, ["1", "3"]) == {"1", "3"}
    ledger.close()


# --- with the engine ------------------------------------------------------------------------------


def test_a_restart_while_settles_fail(path: Path) -> None:
    """What a process finished and could not settle, the next one settles and does not do again."""
    memory = MemoryServer().create("songs")
    queue = memory.queue("songs")
    ledger = Ledger(path).of(queue.identity)
    queue.send([Message(body=b"1"), Message(body=b"2")])
    memory.fail("settle", FORBIDDEN)
    first = Leases(lambda: memory.queue("songs"), known=ledger.known)
    lease = first.take(PATIENCE_S)
    assert lease is not None
    done = lease.id
    ledger.finish(lease.id)
    first.finish(lease)
    left = first.close()
    assert left.finished == 1
    held = queue.receive(10, 0.0, 30.0)
    assert isinstance(held, list)
    shelf = memory.shelf("songs")
    assert shelf is not None
    memory.mend("settle")
    for stored in shelf._stored.values():  # type: ignore[attr-defined]
        shelf._waiting.push(stored, 0.0)  # type: ignore[attr-defined]

    second = Leases(lambda: memory.queue("songs"), known=Ledger(path).of(queue.identity).known)
    lease = second.take(PATIENCE_S)
    assert lease is not None
    assert lease.id != done
    assert second.take(0.1) is None
    second.finish(lease)

    assert not second.close(PATIENCE_S)
    assert memory.message_count("songs") == 0
    assert second.stats().redelivered_finished == 1
