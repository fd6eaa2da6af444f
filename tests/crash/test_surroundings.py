"""What surrounds the real program fails: directory, clock, descriptors, a second process."""

import http.client
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.conftest import Say
from tests.crash.conftest import NewProgram
from tests.crash.outside import Outside
from tests.crash.program import Program, until
from tests.crash.station import check, prepare, report

DESCRIPTORS_MAX = 100
FEW_DESCRIPTORS = ("sh", "-c", f'ulimit -n {DESCRIPTORS_MAX}; exec "$@"', "sh")
HOUR_S = 3_600.0
WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")
"""To root a directory is never read-only; without this privilege it is."""

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]


@pytest.fixture
def unprivileged() -> tuple[str, ...]:
    """A command before the program that makes file modes count."""
    if os.geteuid() != 0:
        return ()
    if shutil.which(WITHOUT_PRIVILEGE[0]) is None:
        pytest.skip("root ignores file modes, and there is no setpriv to prevent it")
    return WITHOUT_PRIVILEGE


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    directory.chmod(0o500)
    try:
        yield
    finally:
        directory.chmod(0o700)


def test_a_directory_that_cannot_be_written_is_refused(
    new_program: NewProgram, tmp_path: Path, unprivileged: tuple[str, ...]
) -> None:
    """A new data directory in a read-only one: an error that names it, nothing is left behind."""
    parent = tmp_path / "parent"
    parent.mkdir()
    program = new_program(parent / "data", prefix=unprivileged)

    with read_only(parent):
        program.begin()
        assert program.process.wait(60) == 1

    assert "EP3007" in program.log
    assert "Traceback" not in program.log
    assert list(parent.iterdir()) == []


def test_a_store_that_became_read_only_is_refused_unharmed(
    new_program: NewProgram,
    outside: Outside,
    unprivileged: tuple[str, ...],
    figures: Say,
) -> None:
    """A data directory that was made read-only is refused, and is as it was when it is writable
    again."""
    program = new_program(prefix=unprivileged)
    program.start()
    key = prepare(program, outside)
    outside.start_publishing(program, key)
    outside.wait_for_acknowledged(100)
    program.kill()
    outside.stop_publishing()

    with read_only(program.data):
        for path in program.data.iterdir():
            path.chmod(0o400)
        program.begin()
        assert program.process.wait(60) == 1
    assert "EP3007" in program.log
    assert "Traceback" not in program.log

    for path in program.data.iterdir():
        path.chmod(0o600)
    program.start()
    check(program, outside, figures)


@pytest.mark.parametrize("steps", [(HOUR_S, 0.0), (-HOUR_S, 0.0), (HOUR_S, -HOUR_S)])
def test_the_clock_steps_between_restarts(
    program: Program, outside: Outside, figures: Say, steps: tuple[float, float]
) -> None:
    """A clock that is an hour ahead or behind after a restart loses nothing and expires nothing."""
    program.start()
    key = prepare(program, outside)
    outside.sicken(0.3)
    outside.start_publishing(program, key)
    for offset_s in steps:
        outside.wait_for_acknowledged(150)
        program.kill()
        program.start(clock_offset_s=offset_s)
    outside.wait_for_acknowledged(150)
    outside.stop_publishing()
    outside.heal()

    # What failed while the clock was ahead is due when the clock has come there, or at a restart
    # with a clock that is.
    program.kill()
    program.start(clock_offset_s=HOUR_S + 60)
    check(program, outside, figures)
    for books in report(program).subscriptions:
        assert "TimeToLiveExceeded" not in books.dead_lettered


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_the_clock_steps_while_it_runs(
    program: Program, outside: Outside, figures: Say, number: signal.Signals
) -> None:
    """A clock that steps an hour forward or back under a running server changes nothing: what
    waits is tried when it would have been, and nothing expires."""
    program.start()
    key = prepare(program, outside)
    outside.sicken(0.3)
    outside.start_publishing(program, key)
    outside.wait_for_acknowledged(150)

    for _ in range(3):
        program.process.send_signal(number)
        outside.wait_for_acknowledged(50)
    outside.stop_publishing()

    check(program, outside, figures)
    for books in report(program).subscriptions:
        assert "TimeToLiveExceeded" not in books.dead_lettered
    assert _stepped_s(program, number) > 3 * HOUR_S - 60


def _stepped_s(program: Program, number: signal.Signals) -> float:
    """By how much the program's wall clock, as its answers are dated, has stepped."""
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=120)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    connection.close()
    told = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    return (told - time.time()) * (1 if number is signal.SIGUSR1 else -1)


def test_running_out_of_descriptors_passes(
    new_program: NewProgram, outside: Outside, figures: Say
) -> None:
    """With all file descriptors taken by idle connections, because more are allowed than there are,
    publishing and delivering stall, and go on as soon as there are some."""
    program = new_program(prefix=FEW_DESCRIPTORS, EVENTPOST_HTTP_CONNECTIONS_MAX="4096")
    program.start()
    key = prepare(program, outside)
    outside.start_publishing(program, key)
    outside.wait_for_acknowledged(50)

    idle = [connected(program) for _ in range(DESCRIPTORS_MAX)]
    outside.stop_publishing()
    outside.start_publishing(program, key)  # on new connections, which get no descriptor
    until(lambda: "EP9002" in program.log or "descriptor" in program.log, "it ran out")
    for connection in idle:
        connection.close()
    outside.wait_for_acknowledged(50)
    outside.stop_publishing()

    check(program, outside, figures)
    assert program.stop() == 0


def test_connections_stay_within_the_descriptors(
    new_program: NewProgram, outside: Outside, figures: Say
) -> None:
    """A process with few descriptors bounds its connections by them: idle ones, however many, make
    room for publishers, and it never runs out."""
    program = new_program(prefix=FEW_DESCRIPTORS, EVENTPOST_HTTP_IDLE_WHEN_FULL_S="0.2")
    program.start()
    key = prepare(program, outside)

    idle = [connected(program) for _ in range(DESCRIPTORS_MAX)]
    outside.start_publishing(program, key)
    outside.wait_for_acknowledged(50)
    outside.stop_publishing()
    for connection in idle:
        connection.close()

    assert "server.few_descriptors" in program.log
    assert "http.accept_exhausted" not in program.log
    assert "EP9002" not in program.log
    check(program, outside, figures)
    assert program.stop() == 0


def connected(program: Program) -> socket.socket:
    return socket.create_connection(("127.0.0.1", program.port), timeout=120)


def test_a_second_process_is_refused(
    new_program: NewProgram, outside: Outside, figures: Say
) -> None:
    """A second process on the same data directory ends with an error that names the first; the
    first goes on serving."""
    first = new_program()
    first.start()
    key = prepare(first, outside)
    outside.start_publishing(first, key)

    second = new_program(first.data)
    second.begin()
    code = second.process.wait(60)

    assert code == 1
    assert "EP3010" in second.log
    assert str(first.process.pid) in second.log
    outside.wait_for_acknowledged(20)
    outside.stop_publishing()
    check(first, outside, figures)


def test_the_lock_goes_with_a_killed_process(new_program: NewProgram) -> None:
    """After SIGKILL nothing has to be cleaned up by hand: the next process opens the directory."""
    program = new_program()
    program.start()
    program.kill()

    program.start()

    assert program.is_ready
