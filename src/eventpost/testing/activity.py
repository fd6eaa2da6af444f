"""Counts what the grid has handed to other threads, so that a test can tell when all came back."""

from collections.abc import Callable
from typing import TypeVar

from eventpost.core.interfaces import DeadLetterFiles, DeadLetterPlace, FileWritten
from eventpost.core.outcomes import Failed
from eventpost.stores.executor import Executor

T = TypeVar("T")


class CountedExecutor:
    """A store's executor. `pending` is the work whose answers have not been dealt with."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.pending = 0

    def write(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._executor.write(work, self._counted(done))

    def read(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._executor.read(work, self._counted(done))

    def scan(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._executor.scan(work, self._counted(done))

    def copy(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._executor.copy(work, self._counted(done))

    def _counted(self, done: Callable[[T], object]) -> Callable[[T], object]:
        self.pending += 1

        def dealt_with(answer: T) -> None:
            self.pending -= 1
            done(answer)

        return dealt_with

    def settle(self) -> None:
        self._executor.settle()

    def close(self) -> None:
        self._executor.close()


class CountedFiles:
    """A writer of dead-letter files. `pending` are the files that are being written."""

    def __init__(self, files: DeadLetterFiles) -> None:
        self._files = files
        self.pending = 0

    def write(
        self,
        place: DeadLetterPlace,
        path: str,
        body: bytes,
        done: Callable[[FileWritten | Failed], None],
    ) -> None:
        self.pending += 1

        def written(result: FileWritten | Failed) -> None:
            self.pending -= 1
            done(result)

        self._files.write(place, path, body, written)
