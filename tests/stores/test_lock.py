"""One process at a time uses a data directory, and it is private."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventpost.core.errors import StoreError
from eventpost.diagnosis import codes
from eventpost.stores.sqlite.directory import DataDirectory
from eventpost.testing.driver import PumpClock
from tests.stores.conftest import NewDriver, inline_store

NOBODY = 65_534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Tests run as root where they run in a container, and root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_second_store_on_the_directory_is_refused(tmp_path: Path, open_store: NewDriver) -> None:
    """A directory in use is refused with the pid that uses it, and what to do."""
    open_store()

    with pytest.raises(StoreError) as raised:
        inline_store(tmp_path / "data", PumpClock()).open()

    assert raised.value.code == codes.DATA_DIRECTORY_IN_USE
    assert str(os.getpid()) in raised.value.what
    assert raised.value.fix


def test_a_closed_directory_can_be_opened(tmp_path: Path, open_store: NewDriver) -> None:
    """Closing lets go of the directory; a refused opening holds nothing either."""
    driver = open_store()
    other = inline_store(tmp_path / "data", PumpClock())
    with pytest.raises(StoreError):
        other.open()
    driver.store.close()

    other.open()
    other.close()


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    """A process that is killed leaves no lock behind."""
    program = (
        "import sys, time, pathlib\n"
        "from eventpost.stores.sqlite.directory import DataDirectory\n"
        "DataDirectory(pathlib.Path(sys.argv[1])).open()\n"
        "print('held', flush=True)\n"
        "time.sleep(600)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "data")], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    directory = DataDirectory(tmp_path / "data")
    with pytest.raises(StoreError, match=f"pid {child.pid}"):
        directory.open()

    child.kill()
    child.communicate()

    directory.open()
    directory.close()


def test_a_forked_child_does_not_hold_the_lock(tmp_path: Path) -> None:
    """A child that outlives its parent's store does not keep the directory from being opened."""
    directory = DataDirectory(tmp_path / "data")
    directory.open()
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        directory.close()
        again = DataDirectory(tmp_path / "data")

        again.open()

        again.close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_directory_and_its_files_are_private(tmp_path: Path, open_store: NewDriver) -> None:
    """Nobody but the owner may enter the directory or read a file in it."""
    open_store()

    data = tmp_path / "data"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in data.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"eventpost.db", "eventpost.db-wal", "eventpost.lock"} <= modes.keys()


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A read-only directory gives an error with the path and what to do, not a traceback."""
    data = tmp_path / "data"
    tmp_path.chmod(0o755)
    data.mkdir(mode=0o555)

    with as_nobody(), pytest.raises(StoreError) as raised:
        inline_store(data, PumpClock()).open()

    assert raised.value.code == codes.DATA_DIRECTORY_NOT_WRITABLE
    assert str(data) in raised.value.what
    assert raised.value.fix


def test_a_file_where_the_directory_should_be_is_refused(tmp_path: Path) -> None:
    """A file in the place of the directory is an error of the same kind."""
    (tmp_path / "data").write_text("")

    with pytest.raises(StoreError) as raised:
        inline_store(tmp_path / "data", PumpClock()).open()

    assert raised.value.code == codes.DATA_DIRECTORY_NOT_WRITABLE
