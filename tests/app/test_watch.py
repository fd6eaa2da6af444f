"""What the probes tell of the workers inside is true, and told while it is."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from eventpost.app.watch import ASK_S, SILENT_S_MAX, Watch
from eventpost.core.interfaces import DeadLetterQuery, ReadFailed
from eventpost.grid.retention import Retention
from eventpost.stores.sqlite.reader import Reader
from eventpost.stores.sqlite.store import SqliteStore
from eventpost.telemetry import logs
from eventpost.testing.clock import VirtualClock
from tests.app.station import Station, run

LANES = {"writer": "write", "reader": "read", "scanner": "scan"}


def watched(directory: Path, scenario: Callable[[Station, Watch], Awaitable[None]]) -> None:
    async def with_watch(station: Station) -> None:
        watch = Watch(station.app, station.clock)
        watch.start()
        try:
            await scenario(station, watch)
        finally:
            watch.stop()

    run(directory, with_watch)


def failing(station: Station) -> dict[str, str]:
    return {each.name: each.detail for each in station.app.health() if not each.ok}


@pytest.mark.parametrize("worker", list(LANES))
def test_a_worker_that_hangs_is_told_of(tmp_path: Path, worker: str) -> None:
    """A worker that has not answered for its time makes health fail with its name, and health is
    well again when it answers."""

    async def scenario(station: Station, watch: Watch) -> None:
        station.clock.advance(10 * ASK_S)
        assert failing(station) == {}

        station.executor.hold(LANES[worker])
        station.clock.advance(ASK_S + SILENT_S_MAX[worker] - 0.1)
        assert failing(station) == {}

        station.clock.advance(0.2)
        assert set(failing(station)) == {"store-workers"}
        assert worker in failing(station)["store-workers"]

        station.executor.release(LANES[worker])
        assert failing(station) == {}

    watched(tmp_path, scenario)


def test_a_callback_of_the_grid_that_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that nobody caught in the grid makes health fail for good, and the log says
    where."""

    async def scenario(station: Station, watch: Watch) -> None:
        error = _raised(lambda: Retention._needed(None))  # type: ignore[arg-type]
        watch.escaped(asyncio.get_running_loop(), {"message": "Oh", "exception": error})

        assert set(failing(station)) == {"grid"}
        assert "AttributeError" in failing(station)["grid"]
        assert "retention.py" in failing(station)["grid"]

    watched(tmp_path, scenario)

    [record] = [each for each in caplog.records if each.message == "loop.callback_failed"]
    assert record.levelno == logging.ERROR
    assert "retention.py" in vars(record)["fields"]["where"]


def test_a_callback_of_something_else_that_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An error elsewhere, and a message without an error, are told in the log alone."""

    async def scenario(station: Station, watch: Watch) -> None:
        loop = asyncio.get_running_loop()
        watch.escaped(loop, {"message": "Oh", "exception": _raised(lambda: int("x"))})
        watch.escaped(loop, {"message": "A socket was closed twice"})

        assert failing(station) == {}

    watched(tmp_path, scenario)

    told = [
        vars(each)["fields"]["reason"]
        for each in caplog.records
        if each.message == "loop.callback_failed"
    ]
    assert told[0].startswith("ValueError")
    assert told[1] == "A socket was closed twice"


def test_a_log_that_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the thread that writes the log has ended, health says so."""

    async def scenario(station: Station, watch: Watch) -> None:
        writer = logs.start(style="json")
        try:
            assert failing(station) == {}
            monkeypatch.setattr(writer, "_thread", _Ended())
            assert set(failing(station)) == {"log"}
        finally:
            monkeypatch.undo()
            logs.stop(writer)
        assert failing(station) == {}

    watched(tmp_path, scenario)


def test_a_read_that_fails_unexpectedly_answers_and_ends_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in a read is an answer to who asked; the thread goes on with the next."""
    clock = VirtualClock()
    store = SqliteStore(tmp_path / "data", clock)
    store.open()
    answers: list[object] = []

    def broken(_: Reader, __: DeadLetterQuery) -> int:
        raise LookupError("swordfish")

    try:
        with monkeypatch.context() as patched:
            patched.setattr(Reader, "count_dead_letters", broken)
            store.count_dead_letters(DeadLetterQuery(), answers.append)
        store._executor.settle()
        store.count_dead_letters(DeadLetterQuery(), answers.append)
        store._executor.settle()
    finally:
        store.close()
    clock.settle()

    assert isinstance(answers[0], ReadFailed)
    assert "LookupError" in answers[0].reason
    assert answers[1] == 0


class _Ended:
    def is_alive(self) -> bool:
        return False

    def join(self, _: float) -> None:
        return


def _raised(call: Callable[[], object]) -> Exception:
    try:
        call()
    except (AttributeError, ValueError) as error:
        return error
    raise AssertionError("it did not fail")
