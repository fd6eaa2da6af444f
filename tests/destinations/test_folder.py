"""Files in a folder: whole or not at all, whatever the disk does."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.core.interfaces import FileWritten
from eventpost.core.outcomes import Failed
from eventpost.destinations.folder import FolderStorage
from eventpost.destinations.places import parse
from eventpost.diagnosis.classify import classify

PATH = "HANDLER/2026/1/1/0/one.json"
BODY = b'[{"id":"1"}]'
NOBODY = 65_534
"""A user without rights of its own."""


def write(destination: str, path: str = PATH, body: bytes = BODY) -> str | Failed:
    answer = FolderStorage(parse(destination)).write(path, body)
    return answer.url if isinstance(answer, FileWritten) else answer


def files(directory: Path) -> list[str]:
    return sorted(str(each.relative_to(directory)) for each in directory.rglob("*.*"))


def test_a_file_with_its_folders(tmp_path: Path) -> None:
    """Folders are made as needed; the answer is where the file is."""
    url = write(f"folder:{tmp_path}/dead")

    target = tmp_path / "dead" / PATH
    assert url == target.as_uri()
    assert target.read_bytes() == BODY


def test_the_same_path_again(tmp_path: Path) -> None:
    """A file that is written again is replaced as a whole."""
    write(f"folder:{tmp_path}", body=b"[1,2,3]")

    write(f"folder:{tmp_path}")

    assert (tmp_path / PATH).read_bytes() == BODY
    assert files(tmp_path) == [PATH]


def test_a_relative_folder() -> None:
    """A folder whose place depends on how the server was started is refused."""
    with pytest.raises(InvalidRequest, match="no absolute path"):
        parse("folder:dead")


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Nothing of the file is seen, no rest of it is left, and the evidence says what happened."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    real_fdopen = os.fdopen

    def fdopen(*arguments: Any, **named: Any) -> Any:
        file = real_fdopen(*arguments, **named)
        if step == "write":
            file = Unwritable(file)
        return file

    monkeypatch.setattr(os, "fdopen", fdopen)
    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    if step == "replace":
        monkeypatch.setattr(Path, "replace", fail)

    answer = write(f"folder:{tmp_path}")

    assert isinstance(answer, Failed)
    assert answer.evidence.errno == 28
    assert classify(answer.evidence) == "EP3303"
    assert "No space left" in answer.evidence.detail
    assert answer.evidence.address == str((tmp_path / PATH).parent)
    assert files(tmp_path) == []


class Unwritable:
    """An open file on a full disk."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __enter__(self) -> "Unwritable":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, _: bytes) -> int:
        raise OSError(28, os.strerror(28))


def test_a_disk_that_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other error of the file system has a finding, too."""

    def fail(_: object) -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(os, "fsync", fail)

    answer = write(f"folder:{tmp_path}")

    assert isinstance(answer, Failed)
    assert (answer.evidence.code, classify(answer.evidence)) == ("EIO", "EP3304")


def test_a_name_that_is_taken_by_a_file(tmp_path: Path) -> None:
    """A folder that cannot be made is a failure, not an exception."""
    (tmp_path / "HANDLER").write_text("in the way")

    answer = write(f"folder:{tmp_path}")

    assert isinstance(answer, Failed)
    assert classify(answer.evidence) == "EP3302"


@contextmanager
def nobody_in_particular() -> Iterator[None]:
    """Root may write everywhere, so that it has to be another for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    """No permission is a failure with its number."""
    tmp_path.chmod(0o500)
    try:
        with nobody_in_particular():
            answer = write(f"folder:{tmp_path}")
    finally:
        tmp_path.chmod(0o700)

    assert isinstance(answer, Failed)
    assert answer.evidence.errno == 13
    assert classify(answer.evidence) == "EP3301"


def test_a_reader_never_sees_half_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is whole and synced it has another name, which readers of `*.json` pass over."""
    seen: list[list[str]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append([path.name for path in tmp_path.rglob("*.json")])
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)

    write(f"folder:{tmp_path}")

    assert seen == [[], ["one.json"]]  # the file's own sync, then the folder's


def test_others_may_not_read_it(tmp_path: Path) -> None:
    """Dead letters are for their owner."""
    write(f"folder:{tmp_path}")

    mode = stat.S_IMODE((tmp_path / PATH).stat().st_mode)
    assert mode & 0o077 == 0
