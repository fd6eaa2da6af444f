"""Which ledger a broker keeps, and what it does when that is unusable."""

import logging
import os
from pathlib import Path

import pytest
from dramatiq import Worker

from eventpost.core.errors import InvalidRequest
from eventpost.queues.ledger_file import FilePlace
from eventpost.workers import ledgers
from eventpost.workers.errors import LedgerUnusable
from eventpost.workers.sqs import SQSBroker

MOUNTS = """\
22 1 0:20 / / rw,relatime - {root} {root} rw
30 22 8:1 / /data rw - ext4 /dev/sda1 rw
31 22 0:21 / /data/cache rw shared:5 - tmpfs tmpfs rw
32 22 8:2 / /with\\040blank rw - xfs /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("root", "path", "kind"),
    [
        ("overlay", "/home/x/ledger", "overlay"),
        ("ext4", "/home/x/ledger", ""),
        ("overlay", "/data/ledger", ""),
        ("overlay", "/database/ledger", "overlay"),
        ("overlay", "/data/cache/ledger", "tmpfs"),
        ("overlay", "/with blank/ledger", ""),
    ],
)
def test_a_vanishing_disk_is_known(root: str, path: str, kind: str, tmp_path: Path) -> None:
    """By the innermost mount that the path lies on."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(root=root))

    assert ledgers.vanishing_disk(Path(path), mounts) == kind
    assert ledgers.vanishing_disk(Path(path), tmp_path / "none") == ""


def test_one_file_per_user_and_namespace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By default in the user's state directory, which the environment may name."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert ledgers.default_path("radio") == tmp_path / "eventpost/workers/radio.ledger"
    assert ledgers.open_ledger(None, "").place == FilePlace(
        tmp_path / "eventpost/workers/default.ledger"
    )
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/dj")
    expected = Path("/home/dj/.local/state/eventpost/workers/radio.ledger")
    assert ledgers.default_path("radio") == expected


def test_a_ledger_is_a_path_or_a_url() -> None:
    """A path, or the URL of a file or of a server; what is neither is refused."""
    assert ledgers.open_ledger("file:///var/x", "").place == FilePlace(Path("/var/x"))
    assert ledgers.open_ledger("x", "").place == FilePlace(Path("x"))
    with pytest.raises(InvalidRequest, match="mongodb"):
        ledgers.open_ledger("mongodb://somewhere", "")


def broker(ledger: Path) -> SQSBroker:
    return SQSBroker(
        region="eu-west-1",
        endpoint_url="http://127.0.0.1:9",
        access_key_id="AKIDEXAMPLE",
        secret_access_key="secret",
        ledger=ledger,
    )


def test_a_worker_without_a_ledger_does_not_start(tmp_path: Path) -> None:
    """A ledger that is something else, or cannot be made, is told before anything is received."""
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"no ledger" * 1000)
    with pytest.raises(LedgerUnusable, match="EP4021"):
        Worker(broker(damaged)).start()
    with pytest.raises(LedgerUnusable, match="EP402"):
        Worker(broker(tmp_path / "damaged" / "below")).start()


def test_making_a_broker_opens_nothing(tmp_path: Path) -> None:
    """Neither the ledger nor a connection: a program may import its actors anywhere."""
    made = broker(tmp_path / "ledger")
    made.declare_queue("default")

    assert not (tmp_path / "ledger").exists()
    made.close()


@pytest.mark.slow
def test_a_vanishing_ledger_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, when the worker starts, with the finding and the path."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(root="overlay"))
    monkeypatch.setattr(ledgers.vanishing_disk, "__defaults__", (mounts,))
    made = broker(tmp_path / "ledger")
    worker = Worker(made, worker_threads=1)
    with caplog.at_level(logging.WARNING, "eventpost.workers"):
        worker.start()
    worker.stop()
    made.close()

    told = [one.getMessage() for one in caplog.records if "EP5001" in one.getMessage()]
    assert len(told) == 1
    assert str(tmp_path / "ledger") in told[0]
    assert os.fspath(tmp_path) in told[0]
