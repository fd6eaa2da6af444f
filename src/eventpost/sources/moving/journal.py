"""What the target has and the source has not deleted yet, on disk: a move that was killed goes on
without sending these again.

Layer: sources. One file of lines, one writer. `+"KEY"` says that the target has confirmed a
message, and is synced before the message is deleted; `-"KEY"` says that the source has deleted it,
and may be lost: the key is then known in vain. A line that broke off ends the file, for nothing
after it was ever synced. A key is the transport's id, or a digest of the message where there is
none.
"""

import fcntl
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import BinaryIO

import msgspec

from eventpost.core.errors import EventpostError
from eventpost.diagnosis import codes

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
BYTES_MAX = 4 * 1024 * 1024
"""Beyond it the file is written anew, with what is open alone."""
LINE_BYTES_MAX = 64 * 1024

_encode = msgspec.json.Encoder().encode
_decode_key = msgspec.json.Decoder(str).decode


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: which move it is."""

    eventpost_move: int = msgspec.field(default=1, name="eventpostMove")
    source: str
    target: str


class Confirmed(Enum):
    """By whom a message was brought to the target."""

    NOW = "now"
    BEFORE = "before"
    """By an earlier run, which was killed."""


class JournalError(EventpostError):
    """The journal cannot be used, or what was to be written is not there."""


class Journal:
    """One move's file, locked as long as it is open. Made by `opened`; one thread."""

    def __init__(self, path: Path, header: Header, lock: BinaryIO) -> None:
        self.path = path
        self._header = header
        self._lock = lock
        self.before: Counter[str] = Counter()
        """Confirmed by earlier runs, and not known to be deleted."""
        self.now: Counter[str] = Counter()
        """The same of this run."""
        self._file: BinaryIO
        self._bytes = 0

    def known(self, ids: Iterable[str]) -> set[str]:
        """Which of these the target has. From any thread."""
        return {one for one in ids if self.now[one] or self.before[one]}

    def is_open(self, key: str) -> bool:
        return bool(self.now[key] or self.before[key])

    def confirm(self, keys: Sequence[str]) -> None:
        """The target has these. Durable when this returns. Raises JournalError."""
        self.now.update(keys)
        self._write(b"".join(_line(b"+", key) for key in keys), is_durable=True)

    def settle(self, key: str) -> Confirmed | None:
        """The source has deleted it. By whom it was confirmed; None when it is not open any more.
        Raises JournalError."""
        confirmed = self._forget(key)
        if confirmed is not None:
            self._write(_line(b"-", key), is_durable=False)
        return confirmed

    def close(self, *, is_over: bool) -> None:
        """Let go of the file. `is_over`: there is nothing left that a later run must know."""
        self._file.close()
        if is_over:
            self.path.unlink(missing_ok=True)
        self._lock.close()

    # --- within -----------------------------------------------------------------------------------

    def open_file(self) -> None:
        """Read what there is, and write it anew. Raises JournalError."""
        try:
            if self.path.exists():
                self._read()
            self._rewrite()
        except OSError as error:
            raise unusable(self.path, error) from error

    def _read(self) -> None:
        with self.path.open("rb") as file:
            first = file.readline(LINE_BYTES_MAX)
            if not first:
                return  # it was made, and nothing was written
            self._check(first)
            for line in file:
                key = _key(line)
                if key is None:
                    break
                if line[:1] == b"+":
                    self.before[key] += 1
                elif self.before[key]:
                    self.before[key] -= 1
        self.before += Counter()  # without what is at 0

    def _check(self, first: bytes) -> None:
        try:
            found = msgspec.json.decode(first, type=Header)
        except msgspec.DecodeError:
            raise JournalError(
                codes.JOURNAL_UNUSABLE,
                f"{self.path} is no journal of a move.",
                fix="Name another file with --journal.",
            ) from None
        if found != self._header:
            raise JournalError(
                codes.JOURNAL_UNUSABLE,
                f"{self.path} is the journal of another move.",
                why=f"It moves {found.source} to {found.target}.",
                fix="Name another file with --journal, or finish that move first.",
            )

    def _rewrite(self) -> None:
        """The file with what is open alone, whole or not at all."""
        made = self.path.with_name(f"{self.path.name}.new")
        lines = [_encode(self._header) + b"\n"]
        for key, count in (self.before + self.now).items():
            lines += [_line(b"+", key)] * count
        content = b"".join(lines)
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        file = os.fdopen(descriptor, "wb", buffering=0)
        try:
            _write_all(file, content)
            os.fsync(descriptor)
            made.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError:
            file.close()
            raise
        self._file, self._bytes = file, len(content)

    def _write(self, content: bytes, *, is_durable: bool) -> None:
        try:
            _write_all(self._file, content)
            if is_durable:
                os.fdatasync(self._file.fileno())
            self._bytes += len(content)
            if self._bytes > BYTES_MAX:
                self._file.close()
                self._rewrite()
        except (OSError, ValueError) as error:  # ValueError: closed by a failure before
            raise unusable(self.path, error) from error

    def _forget(self, key: str) -> Confirmed | None:
        for books, confirmed in ((self.now, Confirmed.NOW), (self.before, Confirmed.BEFORE)):
            if books[key]:
                books[key] -= 1
                if not books[key]:
                    del books[key]
                return confirmed
        return None


def opened(path: Path, *, source: str, target: str) -> Journal:
    """The journal of a move between these queues, made if it is not there.

    Raises JournalError for a file that cannot be used, that is another move's, or that a running
    move has open.
    """
    try:
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        lock_path = path.with_name(f"{path.name}.lock")
        lock = os.fdopen(os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE), "rb")
    except OSError as error:
        raise unusable(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        journal = Journal(path, Header(source=source, target=target), lock)
        journal.open_file()
    except BlockingIOError as error:
        lock.close()
        raise JournalError(
            codes.JOURNAL_UNUSABLE,
            f"Another move has the journal {path} open.",
            fix="Let it end. To run two at the same time, give each its own file with --journal.",
        ) from error
    except BaseException:
        lock.close()
        raise
    return journal


def unusable(path: Path, error: Exception) -> JournalError:
    """What the system says, as an error that says what to do."""
    said = getattr(error, "strerror", None) or str(error)
    return JournalError(
        codes.JOURNAL_UNUSABLE,
        f"The journal {path} cannot be used: {said}.",
        why="Without it a move that is killed would send messages twice.",
        fix="Make room, or name a file with --journal that this user may write.",
    )


def _line(sign: bytes, key: str) -> bytes:
    return b"%b%b\n" % (sign, _encode(key))


def _key(line: bytes) -> str | None:
    """The key of a line; None for a line that broke off."""
    if line[:1] not in (b"+", b"-") or line[-1:] != b"\n":
        return None
    try:
        return _decode_key(line[1:])
    except msgspec.DecodeError:
        return None


def _write_all(file: BinaryIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
