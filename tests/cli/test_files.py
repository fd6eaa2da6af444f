"""Files and standard input as commands read them."""

import io
import sys
from pathlib import Path

import pytest

from eventpost.cli import files
from eventpost.core.errors import InvalidRequest


def test_a_file_is_read_up_to_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file at the bound is read whole; one byte more is refused before it fills memory."""
    path = tmp_path / "events"
    path.write_bytes(b"12345")

    for bound, is_read in ((6, True), (5, True), (4, False)):
        monkeypatch.setattr(files, "FILE_BYTES_MAX", bound)
        if is_read:
            assert files.read(str(path)) == b"12345"
        else:
            with pytest.raises(InvalidRequest, match="larger than 4 bytes"):
                files.read(str(path))


def test_standard_input_is_read_for_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is standard input, byte for byte."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\x00")))

    assert files.read("-") == b"\xff\x00"


@pytest.mark.parametrize("path", [".", "no-such-file"])
def test_what_cannot_be_read_is_named(path: str) -> None:
    """A missing file or a directory is an error with its path."""
    with pytest.raises(InvalidRequest, match="cannot be read") as caught:
        files.read(path)

    assert caught.value.what.startswith(path)
