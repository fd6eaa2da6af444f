"""Writing dead letters to places: on threads, within bounds, over connections as they are now."""

import threading
from collections.abc import Iterator, Sequence

import msgspec
import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.core.interfaces import DeadLetterPlace, FileWritten
from eventpost.core.outcomes import Failed, Fault
from eventpost.destinations.deadletter_files import StorageFiles
from eventpost.destinations.opening import Opener
from eventpost.destinations.places import Place
from eventpost.destinations.storages import Storage
from eventpost.queues.interfaces import Rung
from eventpost.testing.clock import VirtualClock
from tests.patience import PATIENCE_S


class Gate:
    """A storage that writes when it is let, and counts who waits."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.is_closed = False
        self.error: Exception | None = None
        self.waiting = threading.Semaphore(0)
        self.let = threading.Event()

    def write(self, name: str, body: bytes) -> FileWritten | Failed:
        self.waiting.release()
        assert self.let.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        return FileWritten(url=self.url(name))

    def read(self, name: str, bytes_max: int) -> bytes | Failed:
        return b""

    def names(self, below: str) -> Iterator[list[str] | Failed]:
        yield from ()

    def probe(self) -> Sequence[Rung]:
        return []

    def url(self, name: str) -> str:
        return f"{self.place}/{name}"

    def close(self) -> None:
        self.is_closed = True


class Settings(msgspec.Struct, frozen=True):
    number: int = 0


class Gates(Opener):
    """Opens gates, and remembers them."""

    def __init__(self) -> None:
        self.opened: list[Gate] = []
        self.now = Settings()
        self.refusal: InvalidRequest | None = None

    def settings(self, place: Place, connection: str | None) -> msgspec.Struct | None:
        if self.refusal is not None:
            raise self.refusal
        return self.now

    def open(self, place: Place, settings: msgspec.Struct | None) -> Storage:
        self.opened.append(Gate(place))
        return self.opened[-1]


class Writing:
    def __init__(self, **bounds: int) -> None:
        self.clock = VirtualClock()
        self.gates = Gates()
        self.files = StorageFiles(self.gates, self.clock, **bounds)
        self.answers: list[FileWritten | Failed] = []

    def write(self, address: str, name: str = "a.json") -> None:
        place = DeadLetterPlace(address=address)
        self.files.write(place, name, b"[]", self.answers.append)

    def answered(self, count: int) -> list[FileWritten | Failed]:
        deadline = threading.Event()
        for _ in range(int(PATIENCE_S * 1_000)):
            self.clock.settle()
            if len(self.answers) >= count:
                break
            deadline.wait(0.001)
        assert len(self.answers) == count
        return self.answers


@pytest.mark.parametrize("bound", [1, 2])
def test_so_many_at_once(bound: int) -> None:
    """No more files are written to one kind of place at the same time than may be; another kind is
    not held up by it."""
    writing = Writing(writes_max=bound)
    writing.files.storage(DeadLetterPlace(address="s3://bucket"))
    writing.files.storage(DeadLetterPlace(address="folder:/dead"))
    bucket, folder = writing.gates.opened

    for number in range(bound + 1):
        writing.write("s3://bucket", f"{number}.json")
    for _ in range(bound):
        assert bucket.waiting.acquire(timeout=PATIENCE_S)
    assert not bucket.waiting.acquire(timeout=0.05)
    writing.write("folder:/dead")
    assert folder.waiting.acquire(timeout=PATIENCE_S)

    folder.let.set()
    bucket.let.set()
    assert len(writing.answered(bound + 2)) == bound + 2
    writing.files.close()


@pytest.mark.parametrize(("count", "closed"), [(2, []), (3, [0]), (4, [0, 1])])
def test_so_many_stay_open(count: int, closed: list[int]) -> None:
    """Of more places than may stay open, those longest unused are let go of."""
    writing = Writing(places_max=2)

    for number in range(count):
        writing.files.storage(DeadLetterPlace(address=f"s3://bucket-{number}"))

    gates = writing.gates.opened
    assert [number for number, gate in enumerate(gates) if gate.is_closed] == closed
    writing.files.close()
    assert all(gate.is_closed for gate in gates)


def test_a_connection_that_changed() -> None:
    """A place is opened anew when the settings that lead there have changed, and else is not."""
    writing = Writing()
    place = DeadLetterPlace(address="s3://bucket")
    first = writing.files.storage(place)
    assert writing.files.storage(place) is first

    writing.gates.now = Settings(1)

    assert writing.files.storage(place) is not first


def test_what_cannot_be_opened() -> None:
    """A place that cannot be opened is an answer, and so is what nobody expected."""
    writing = Writing()
    writing.gates.refusal = InvalidRequest("ConnectionNotFound", "There is no connection 'x'.")
    writing.write("s3://bucket")
    (refused,) = writing.answered(1)
    assert isinstance(refused, Failed)
    assert "no connection 'x'" in refused.evidence.detail

    writing.gates.refusal = None
    writing.files.storage(DeadLetterPlace(address="s3://bucket"))
    (gate,) = writing.gates.opened
    gate.error = ZeroDivisionError("nobody expected it")
    gate.let.set()
    writing.write("s3://bucket")
    failed = writing.answered(2)[1]
    assert isinstance(failed, Failed)
    assert failed.evidence.fault is Fault.UNEXPECTED
    writing.files.close()
