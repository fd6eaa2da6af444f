"""A disk that is really full: a small file system of its own, filled by others or by events."""

import http.client
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Say
from tests.crash.conftest import NewProgram
from tests.crash.outside import TOPIC, Outside
from tests.crash.program import Program, until
from tests.crash.station import KINDS, check, prepare, report
from tests.services.presence import is_ci

DISK_BYTES = 24_000_000
EVENT_CHARS = 5_000
EVENTS_EACH = 50
REST_BYTES = 4_096
"""What is left when the disk counts as full: not a page of the file system."""

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]


class SmallDisk:
    """A file system in a mount namespace of the program's own, seen from here through /proc. It is
    gone with the program."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.program: Program | None = None

    def start(self, new_program: NewProgram, **settings: str) -> Program:
        """Start a program whose data are on this disk."""
        data = self.place / "data"
        self.program = new_program(
            data, prefix=self.prefix, EVENTPOST_TOKEN="small-disk", **settings
        )
        self.program.start()
        return self.program

    @property
    def prefix(self) -> tuple[str, ...]:
        """A command before the program that mounts it, unless it is there."""
        mount = f'mount -t tmpfs -o size={DISK_BYTES},mode=700 tmpfs {self.place} && exec "$@"'
        return (*_namespace(), "sh", "-c", mount, "sh")

    @property
    def seen(self) -> Path:
        assert self.program is not None
        return Path(f"/proc/{self.program.process.pid}/root{self.place}")

    @property
    def free_bytes(self) -> int:
        return shutil.disk_usage(self.seen).free

    def fill(self) -> None:
        """Somebody else's file takes all the room that is left."""
        with (self.seen / "ballast").open("ab", buffering=0) as ballast:
            while (room := self.free_bytes) >= REST_BYTES:
                ballast.write(bytes(room))

    def clear(self) -> None:
        (self.seen / "ballast").unlink()


def _namespace() -> tuple[str, ...]:
    own = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return ("unshare", "--mount", *own, "--")


@pytest.fixture
def disk(tmp_path: Path) -> SmallDisk:
    """Mounting needs root or a user namespace, which some machines and containers forbid."""
    probe = tmp_path / "probe"
    probe.mkdir()
    command = (*_namespace(), "mount", "-t", "tmpfs", "tmpfs", str(probe))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = f"no file system can be mounted here: {done.stderr.strip()}"
        if is_ci():
            pytest.fail(f"{reason} With CI set this is a failure.", pytrace=False)
        pytest.skip(reason)
    place = tmp_path / "disk"
    place.mkdir()
    return SmallDisk(place)


def publish(program: Program, key: str, events: list[dict[str, object]]) -> tuple[int, str | None]:
    """Status and `Retry-After` of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=120)
    try:
        path = f"/topics/{TOPIC}/api/events"
        connection.request("POST", path, json.dumps(events), {"aeg-sas-key": key})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Retry-After")
    finally:
        connection.close()


def event(number: int, *, chars: int = 1) -> dict[str, object]:
    return {
        "id": f"big-{number}",
        "subject": "song/blues",
        "eventType": "Radio.SongRequested",
        "eventTime": "2026-01-01T00:00:00Z",
        "dataVersion": "1",
        "data": {"text": "x" * chars},
    }


def failures(program: Program) -> int:
    """How often the store failed and was opened anew."""
    return program.log.count("store.failed") + program.log.count("store.reopen_failed")


def test_a_disk_that_others_fill(
    disk: SmallDisk, new_program: NewProgram, outside: Outside, figures: Say
) -> None:
    """On a disk without room publishing answers 503 with Retry-After, and the server says that it
    is not ready; it goes on by itself when there is room, and nothing that was acknowledged is
    lost. It does not send the same over and over meanwhile."""
    program = disk.start(new_program)
    key = prepare(program, outside)
    outside.sicken(0.2)
    outside.start_publishing(program, key)
    outside.wait_for_acknowledged(300)

    disk.fill()
    until(lambda: not program.is_ready, "it says that it is not ready")
    acknowledged = len(outside.acknowledged)
    until(lambda: failures(program) >= 4, "it has tried again some times")
    status, retry_after = publish(program, key, [event(0)])
    assert status == 503
    assert retry_after is not None
    assert int(retry_after) >= 1
    assert len(outside.acknowledged) == acknowledged

    disk.clear()
    outside.wait_for_acknowledged(100)
    outside.stop_publishing()
    check(program, outside, figures, endings=failures(program))
    assert program.stop() == 0


def test_a_disk_that_events_fill(
    disk: SmallDisk, new_program: NewProgram, outside: Outside, figures: Say
) -> None:
    """By default the server takes half of the room there is: at that size publishing answers 503,
    outcomes go on being kept, and once handlers have caught up it takes events again."""
    # Nothing is given up before the handlers are well again, and nobody waits for a probe.
    program = disk.start(
        new_program,
        EVENTPOST_GRID_RETENTION_INTERVAL_S="5",
        EVENTPOST_GRID_BREAKER_FAILURES="1000000",
    )
    key = prepare(program, outside)
    outside.behaviour = {kind.name: lambda: 503 for kind in KINDS}

    status = 200
    for number in range(0, 5_000, EVENTS_EACH):
        events = [event(number + index, chars=EVENT_CHARS) for index in range(EVENTS_EACH)]
        status, retry_after = publish(program, key, events)
        if status != 200:
            assert int(retry_after or 0) >= 1
            break
        outside.acknowledged |= {str(one["id"]): "song/blues" for one in events}
    assert status == 503
    # Beside the events lie outcomes, and the write-ahead log with both once more: how much depends
    # on how often handlers were asked meanwhile.
    assert DISK_BYTES * 0.45 < used_bytes(program) < DISK_BYTES * 0.7
    assert len(outside.acknowledged) * EVENT_CHARS < DISK_BYTES * 0.6
    assert disk.free_bytes > DISK_BYTES * 0.2

    before = delivered(program)
    outside.heal()
    until(lambda: delivered(program) > before, "outcomes are kept while it is full")
    until(lambda: publish(program, key, [event(-1)])[0] == 200, "it takes events again")

    check(program, outside, figures)
    assert failures(program) == 0
    assert program.stop() == 0


def used_bytes(program: Program) -> int:
    with program.client() as client:
        return client.show_usage().bytes_used


def delivered(program: Program) -> int:
    return sum(books.delivered for books in report(program).subscriptions)
