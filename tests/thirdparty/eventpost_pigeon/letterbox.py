"""A source that is no queue: each file that is put into a folder becomes an event.

A file is deleted once its event is on disk. Its name and its number in the file system say which
file it is: they are committed with the event, so that a file whose deletion failed is not taken
twice. Write a file elsewhere and rename it into the folder.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from eventpost.core.errors import InvalidEvent, InvalidRequest, Overloaded
from eventpost.core.events import Event
from eventpost.core.interfaces import ReadFailed, Taken, Timer
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.core.sources import (
    Original,
    Poison,
    Source,
    SourceFailure,
    SourceReport,
    SourceState,
    queue_key,
)
from eventpost.core.subscriptions import Topic
from eventpost.diagnosis import codes
from eventpost.formats import messaging
from eventpost.formats.messages import Incoming
from eventpost.http.failures import bounded, evidence_of
from eventpost.sources.kinds import Services
from eventpost.sources.queue import target_of

LOOK_S = 0.2
LETTER_BYTES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Letter:
    path: Path
    id: str
    body: bytes


class Letterbox:
    """Implements `core.interfaces.Puller`: look, hand over, delete, and look again.

    All of it is on the loop's thread, but for `_looked` and `_deleted`, which block.
    """

    def __init__(self, topic: Topic, source: Source, services: Services) -> None:
        self._topic = topic
        self._source = source
        self._services = services
        self._folder = Path(source.queue)
        self._key = queue_key(f"letterbox:{self._folder}")
        self._decode = messaging.decoder(source.format)
        self._target = target_of(topic, source, services)
        self._timer: Timer | None = None
        self._failure: SourceFailure | None = None
        self._is_paused = source.is_paused
        self._is_closing = False
        self._taken = self._events = self._poison = 0

    # --- its life ---------------------------------------------------------------------------------

    def start(self) -> None:
        self._look()

    def pause(self, *, is_paused: bool) -> None:
        self._is_paused = is_paused

    def begin_close(self) -> None:
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()

    def end_close(self, drain_s: float) -> None:
        """Nothing is held: what is in the folder still is found again."""

    def report(self) -> SourceReport:
        state = SourceState.RUNNING
        if self._failure is not None:
            state = SourceState.FAILING
        return SourceReport(
            source=self._source.name,
            topic=self._topic.name,
            state=SourceState.PAUSED if self._is_paused else state,
            failures=() if self._failure is None else (self._failure,),
            received=self._taken + self._poison,
            taken=self._taken,
            events=self._events,
            poison=self._poison,
            is_paused=self._is_paused,
        )

    # --- look, hand over, delete ------------------------------------------------------------------

    def _look(self) -> None:
        self._timer = None
        if self._is_paused:
            self._again()
        elif not self._is_closing:
            self._services.executor.submit(self._looked)

    def _again(self) -> None:
        if not self._is_closing:
            self._timer = self._services.clock.call_later(LOOK_S, self._look)

    def _looked(self) -> None:
        """On another thread."""
        try:
            paths = sorted(each for each in self._folder.iterdir() if each.is_file())
            found = [_read(path) for path in paths[: self._services.limits.page_max]]
        except OSError as error:
            self._soon(self._failed, error)
        else:
            self._soon(self._found, found)

    def _failed(self, error: OSError) -> None:
        evidence = evidence_of(error, Stage.READ, address=str(self._folder))
        self._failure = SourceFailure(
            operation="receive",
            at_ms=self._services.clock.now_ms(),
            finding=self._services.classify(evidence),
            evidence=evidence,
        )
        self._again()

    def _found(self, letters: list[Letter]) -> None:
        self._failure = None
        if not letters or self._is_closing:
            self._again()
            return

        def told(known: set[str] | ReadFailed) -> None:
            if isinstance(known, ReadFailed):
                self._again()
            else:
                self._hand_over(letters, known)

        self._services.intake.taken(self._key, [each.id for each in letters], told)

    def _hand_over(self, letters: list[Letter], known: set[str]) -> None:
        """Those that were taken before are only deleted."""
        events: list[Event] = []
        poison: list[Poison] = []
        fresh = [each for each in letters if each.id not in known]
        for letter in fresh:
            try:
                events += self._decode(_incoming(letter), self._target)
            except InvalidEvent as error:
                poison.append(_poison(letter, error))

        def done(refusal: Overloaded | None) -> None:
            if refusal is not None:
                self._again()  # nobody knows whether they are kept: the next look asks
                return
            self._taken += len(fresh) - len(poison)
            self._events += len(events)
            self._poison += len(poison)
            self._services.executor.submit(self._deleted, letters)

        ids = [each.id for each in fresh]
        taken = Taken(self._key, ids, self._services.clock.now_ms())
        if not fresh:
            done(None)
            return
        try:
            self._services.intake.take(self._source, events, poison, taken, done)
        except Overloaded:
            self._again()

    def _deleted(self, letters: list[Letter]) -> None:
        """On another thread. A file that cannot be deleted stays known."""
        gone = []
        for letter in letters:
            try:
                letter.path.unlink(missing_ok=True)
                gone.append(letter.id)
            except OSError as error:
                self._soon(self._failed, error)
                return
        self._soon(self._forget, gone)

    def _forget(self, ids: list[str]) -> None:
        self._services.intake.forget(Taken(self._key, ids))
        self._look()

    def _soon(self, callback: object, *arguments: object) -> None:
        """From any thread, to the loop; not when the loop has ended."""
        try:
            self._services.clock.call_soon_threadsafe(callback, *arguments)  # type: ignore[arg-type]
        except RuntimeError:
            return


def _read(path: Path) -> Letter:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        body = file.read(LETTER_BYTES_MAX)
    return Letter(path, f"{path.name}/{status.st_ino}/{status.st_mtime_ns}", body)


def _incoming(letter: Letter) -> Incoming:
    return Incoming(body=letter.body, attributes={"name": letter.path.name}, message_id=letter.id)


def _poison(letter: Letter, error: InvalidEvent) -> Poison:
    evidence = Evidence(
        stage=Stage.READ,
        fault=Fault.MALFORMED,
        system="letterbox",
        operation="receive",
        detail=bounded(error.what),
    )
    return Poison(
        body=letter.body,
        original=Original(message_id=letter.id, attributes={"name": letter.path.name}),
        finding=codes.MESSAGE_UNDECODABLE,
        evidence=evidence,
    )


def check_source(source: Source) -> None:
    """Called when a source is declared. Raises InvalidRequest."""
    if not Path(source.queue).is_absolute():
        raise InvalidRequest(
            "InvalidAddress",
            f"The letterbox {source.queue[:80]!r} is no absolute path.",
            fix="Write --queue /FOLDER.",
        )


def new_source(topic: Topic, source: Source, services: Services) -> Letterbox:
    """The factory that the entry point names."""
    return Letterbox(topic, source, services)
