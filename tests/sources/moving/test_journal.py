"""The journal of a move: what arrived is known again after a crash."""

import random
from pathlib import Path

import pytest

from eventpost.diagnosis import codes
from eventpost.sources.moving import journal as journals
from eventpost.sources.moving.journal import Confirmed, Journal, JournalError


def opened(path: Path, source: str = "here") -> Journal:
    return journals.opened(path, source=source, target="there")


def died(journal: Journal) -> None:
    """Its process was killed: nothing is written or removed any more, and its lock is gone."""
    journal.close(is_over=False)


def test_what_was_confirmed_is_known_after_a_crash(tmp_path: Path) -> None:
    """What arrived and was not deleted is known to the next run, as confirmed by an earlier one."""
    path = tmp_path / "moves" / "a.journal"
    first = opened(path)
    first.confirm(["id:1", "id:2", "odd \n\"☃'"])
    assert first.settle("id:1") is Confirmed.NOW
    died(first)

    second = opened(path)

    assert second.known(["id:1", "id:2", "odd \n\"☃'", "id:4"]) == {"id:2", "odd \n\"☃'"}
    assert second.settle("id:2") is Confirmed.BEFORE
    assert second.settle("id:2") is None
    died(second)
    third = opened(path)
    assert set(third.before) == {"odd \n\"☃'"}
    died(third)


def test_alike_messages_are_counted(tmp_path: Path) -> None:
    """A key that was confirmed twice is open until both are deleted."""
    first = opened(tmp_path / "a")
    first.confirm(["digest:x", "digest:x"])
    first.settle("digest:x")
    died(first)

    second = opened(tmp_path / "a")
    second.confirm(["digest:x"])

    assert second.settle("digest:x") is Confirmed.NOW
    assert second.settle("digest:x") is Confirmed.BEFORE
    assert not second.is_open("digest:x")
    died(second)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_line_that_broke_off_ends_it(tmp_path: Path, cut: int) -> None:
    """Whatever the crash left of the last line, what was synced before it is known."""
    path = tmp_path / "a"
    first = opened(path)
    first.confirm(["id:first"])
    first.confirm(["id:last"])
    died(first)
    content = path.read_bytes()
    path.write_bytes(content[:-cut])

    second = opened(path)

    assert second.known(["id:first", "id:last"]) == {"id:first"}
    died(second)


def test_zeros_at_the_end_are_nothing(tmp_path: Path) -> None:
    """A block that the file system gave and nothing was written to says nothing."""
    path = tmp_path / "a"
    first = opened(path)
    first.confirm(["id:first"])
    died(first)
    with path.open("ab") as file:
        file.write(b"\0" * 4096)

    second = opened(path)

    assert set(second.before) == {"id:first"}
    died(second)


def test_it_is_written_anew_when_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file stays small however many messages are moved, and forgets nothing that is open."""
    monkeypatch.setattr(journals, "BYTES_MAX", 2_000)
    path = tmp_path / "a"
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    journal = opened(path)
    expected: set[str] = set()
    for n in range(400):
        journal.confirm([f"id:{n}"])
        expected.add(f"id:{n}")
        while len(expected) > draw.randrange(1, 20):
            key = draw.choice(sorted(expected))
            expected.discard(key)
            journal.settle(key)
        assert path.stat().st_size < 2_100
    died(journal)

    again = opened(path)

    assert set(again.before) == expected, f"seed {seed}"
    died(again)


def test_one_move_at_a_time_has_it(tmp_path: Path) -> None:
    """A second move on the same journal is refused, and leaves it alone; the next one may."""
    first = opened(tmp_path / "a")

    with pytest.raises(JournalError, match="Another move has the journal") as refused:
        opened(tmp_path / "a")
    first.confirm(["id:1"])
    died(first)

    assert refused.value.code == codes.JOURNAL_UNUSABLE
    again = opened(tmp_path / "a")
    assert set(again.before) == {"id:1"}
    died(again)


def test_the_journal_of_another_move_is_refused(tmp_path: Path) -> None:
    """Ids of one queue say nothing of another: its journal is not used, and not touched."""
    first = opened(tmp_path / "a", source="kafka:one/songs/group")
    first.confirm(["id:songs/0/1"])
    died(first)
    before = (tmp_path / "a").read_bytes()

    with pytest.raises(JournalError, match="journal of another move") as refused:
        opened(tmp_path / "a", source="kafka:two/songs/group")

    assert "kafka:one/songs/group" in refused.value.why
    assert (tmp_path / "a").read_bytes() == before


def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    """A file that was named by mistake is not overwritten."""
    (tmp_path / "a").write_text("a letter\n")

    with pytest.raises(JournalError, match="no journal"):
        opened(tmp_path / "a")

    assert (tmp_path / "a").read_text() == "a letter\n"


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A folder that is none is an error with its finding, before anything is taken."""
    (tmp_path / "file").write_text("")

    with pytest.raises(JournalError) as refused:
        opened(tmp_path / "file" / "a")

    assert refused.value.code == codes.JOURNAL_UNUSABLE


def test_it_goes_when_the_move_is_over(tmp_path: Path) -> None:
    """A move that came to its end leaves no journal behind."""
    journal = opened(tmp_path / "a")
    journal.confirm(["id:1"])
    journal.settle("id:1")

    journal.close(is_over=True)

    assert not (tmp_path / "a").exists()
    assert oct((tmp_path / "a.lock").stat().st_mode & 0o777) == "0o600"
