"""Dead letters to where subscriptions want them: folders, containers and buckets.

Layer: destinations. Writing blocks, so it is done on threads, some for each kind of place: an
account that hangs holds up neither deliveries nor what goes to a folder.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.interfaces import Clock, DeadLetterPlace, FileWritten
from eventpost.core.outcomes import Failed, Stage
from eventpost.core.subscriptions import Endpoint
from eventpost.destinations.borders import unexpected, unusable
from eventpost.destinations.opening import Opener
from eventpost.destinations.places import KINDS, Kind, Place, parse, parse_as
from eventpost.destinations.storages import Storage
from eventpost.destinations.threads import Threads
from eventpost.queues.interfaces import Rung

FileDone = Callable[[FileWritten | Failed], None]


@dataclass(slots=True)
class _Open:
    settings: msgspec.Struct | None
    storage: Storage


class StorageFiles:
    """Implements `core.interfaces.DeadLetterFiles`. Called on the clock's thread.

    `writes_max` files are written to one kind of place at the same time; `places_max` places stay
    open.
    """

    def __init__(
        self, opener: Opener, clock: Clock, *, writes_max: int = 8, places_max: int = 64
    ) -> None:
        self._opener = opener
        self._clock = clock
        self._places_max = places_max
        self._threads: dict[Kind, Threads] = {
            kind: Threads(writes_max, f"eventpost-{kind}") for kind in KINDS
        }
        self._lock = threading.Lock()
        self._open: OrderedDict[DeadLetterPlace, _Open] = OrderedDict()

    def check(self, place: DeadLetterPlace) -> None:
        """Raises InvalidRequest for a place that could not be opened: nothing is connected to. A
        secret that is not there yet is none of its faults. From any thread."""
        where = parse(place.address)
        if where.kind == "folder" and place.connection is not None:
            raise InvalidRequest(
                "InvalidDeadLetterEndpoint", "A folder needs no connection.", fix="Leave it out."
            )
        self._check(where, place.connection)

    def check_endpoint(self, endpoint: Endpoint) -> None:
        """The same for a place that a subscription delivers to."""
        kind = next(kind for kind in KINDS if kind == endpoint.type)
        self._check(parse_as(kind, endpoint.address), endpoint.connection)

    def _check(self, where: Place, connection: str | None) -> None:
        try:
            self._opener.open(where, self._opener.settings(where, connection)).close()
        except InvalidRequest as error:
            if error.code != "SecretMissing":
                raise

    def write(self, place: DeadLetterPlace, path: str, body: bytes, done: FileDone) -> None:
        work = partial(self._write, place, path, body, done)
        self._threads[parse(place.address).kind].submit(work)

    def storage(self, place: DeadLetterPlace) -> Storage:
        """The storage of a place, for reading. Raises InvalidRequest. From any thread."""
        where = parse(place.address)
        settings = self._opener.settings(where, place.connection)
        with self._lock:
            found = self._open.get(place)
            if found is None or found.settings != settings:
                # A storage with the former settings ends the calls that it has under way.
                found = self._open[place] = _Open(settings, self._opener.open(where, settings))
            self._open.move_to_end(place)
            left = self._open.popitem(last=False)[1] if self._is_crowded() else None
        if left is not None:
            left.storage.close()
        return found.storage

    def probe(self, place: DeadLetterPlace) -> Sequence[Rung]:
        """Look, without writing, whether the place is there. Blocks. Raises InvalidRequest."""
        return self.storage(place).probe()

    def close(self) -> None:
        """Let go of everything; files under way are written, or not."""
        with self._lock:
            left = list(self._open.values())
            self._open.clear()
        for threads in self._threads.values():
            threads.close()
        for each in left:
            each.storage.close()

    def _is_crowded(self) -> bool:
        return len(self._open) > self._places_max

    def _write(self, place: DeadLetterPlace, path: str, body: bytes, done: FileDone) -> None:
        result = self._written(place, path, body)
        try:
            self._clock.call_soon_threadsafe(done, result)
        except RuntimeError:
            return  # the loop was closed first: the dead letters are rows, and are written again

    def _written(self, place: DeadLetterPlace, path: str, body: bytes) -> FileWritten | Failed:
        try:
            return self.storage(place).write(path, body)
        except InvalidRequest as error:
            return unusable(error)
        except Exception as error:  # noqa: BLE001 - the border: it is recorded as a finding
            return unexpected(error, Stage.WRITE)
