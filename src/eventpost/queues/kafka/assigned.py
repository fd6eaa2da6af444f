"""The partitions that are ours now, and what is in hand of them.

Layer: queues. Pure; for whoever holds the reader's lock.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count

from eventpost.queues.interfaces import Received
from eventpost.queues.kafka.offsets import Track, finished_of
from eventpost.queues.kafka.records import Place, receipt_of
from eventpost.queues.kafka.settings import Options


class Waiting:
    """Records until they are due, the next one first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Received]] = []
        self._order = count()

    def put(self, due: float, one: Received) -> None:
        heapq.heappush(self._heap, (due, next(self._order), one))

    def take(self, now: float) -> Iterator[Received]:
        """Those that are due."""
        while self._heap and self._heap[0][0] <= now:
            yield heapq.heappop(self._heap)[2]

    def keep(self, is_kept: Callable[[Received], bool]) -> None:
        self._heap = [entry for entry in self._heap if is_kept(entry[2])]
        heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._heap)


class Assigned:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._tracks: dict[Place, Track] = {}
        self._generations = count(1)
        self._paused: set[Place] = set()
        self._is_full = False
        self._asleep: dict[Place, set[int]] = {}
        """Of a partition, the copies that wait until they are looked at; it pauses meanwhile."""
        self._soon: dict[Place, set[int]] = {}
        """The same of copies that are due soon; enough of them pause the partition, too."""
        self.ready: deque[Received] = deque()
        """What may be taken now."""
        self.released = Waiting()
        """Given back, by the monotonic clock in seconds."""
        self.later = Waiting()
        """Copies that are not due, by UTC in milliseconds."""

    # --- partitions -------------------------------------------------------------------------------

    def gain(self, places: Iterable[tuple[Place, int, str | None]]) -> None:
        """Partitions came, each with what was committed of it: an offset, below 0 for none, and the
        metadata beside it."""
        generation = next(self._generations)
        for place, offset, metadata in places:
            if offset < 0:
                self._tracks[place] = Track(generation)
            else:
                self._tracks[place] = Track(generation, offset, finished_of(offset, metadata))

    def lose(self, places: Iterable[Place]) -> None:
        """They went. What of them is in hand is lost to us: whoever gets them takes it again."""
        for place in places:
            self._tracks.pop(place, None)
            self._paused.discard(place)
            self._asleep.pop(place, None)
            self._soon.pop(place, None)
        self.ready = deque(one for one in self.ready if self.track(one) is not None)
        self.released.keep(lambda one: self.track(one) is not None)
        self.later.keep(lambda one: self.track(one) is not None)

    def clear(self) -> None:
        self.lose(list(self._tracks))

    def is_ours(self, place: Place, generation: int) -> bool:
        track = self._tracks.get(place)
        return track is not None and track.generation == generation

    def generation(self, place: Place) -> int | None:
        track = self._tracks.get(place)
        return None if track is None else track.generation

    @property
    def room(self) -> int:
        """How many records more may wait to be taken. When they were as many as may be, there is
        none until half of them were taken."""
        ready, most = len(self.ready), self._options.prefetch
        self._is_full = ready >= (most // 2 if self._is_full else most)
        return 0 if self._is_full else most - ready

    def pauses(self, *, are_all: bool) -> tuple[set[Place], set[Place]]:
        """The partitions to pause now, because enough of them is in hand or what comes next is not
        to be looked at yet, and those to go on with."""
        wanted = {
            place
            for place, track in self._tracks.items()
            if are_all
            or track.unfinished >= self._options.unfinished_max
            or self._asleep.get(place)
            or len(self._soon.get(place, ())) >= self._options.prefetch
        }
        pausing, resuming = wanted - self._paused, self._paused - wanted
        self._paused = wanted
        return pausing, resuming

    def fetched(self, topic: str) -> dict[int, int]:
        """The next offset of each partition of a topic that is ours, where one is known."""
        return {
            place.partition: track.next
            for place, track in self._tracks.items()
            if place.topic == topic and track.next >= 0
        }

    def mark(self, place: Place) -> tuple[int, str]:
        """What to commit of a partition that is ours."""
        track = self._tracks[place]
        return track.prefix, track.metadata()

    # --- records ----------------------------------------------------------------------------------

    def track(self, one: Received) -> Track | None:
        """Of the partition it came of, if that has been ours all the time since."""
        receipt = receipt_of(one)
        track = self._tracks.get(receipt.place)
        return track if track is not None and track.generation == receipt.generation else None

    def take(self, one: Received) -> bool:
        """It came. False when it is nobody's work: finished before, or of a partition that went."""
        track = self.track(one)
        return track is not None and track.take(receipt_of(one).offset)

    def holds(self, one: Received) -> bool:
        """Whether it is ours and not finished."""
        track = self.track(one)
        return track is not None and track.holds(receipt_of(one).offset)

    def finish(self, one: Received) -> bool:
        """It is done. False when it is not ours any more."""
        track = self.track(one)
        if track is not None:
            track.finish(receipt_of(one).offset)
        return track is not None

    def wait(self, until_ms: int, one: Received) -> None:
        """A copy is due soon."""
        receipt = receipt_of(one)
        self.later.put(until_ms, one)
        self._soon.setdefault(receipt.place, set()).add(receipt.offset)

    def sleep(self, until_ms: int, one: Received) -> None:
        """Look at a copy then; behind it in its partition are those to be looked at later still."""
        receipt = receipt_of(one)
        self.later.put(until_ms, one)
        self._asleep.setdefault(receipt.place, set()).add(receipt.offset)

    def wake(self, now_ms: int) -> list[Received]:
        """The copies whose time has come."""
        woken = list(self.later.take(now_ms))
        for one in woken:
            receipt = receipt_of(one)
            for waiting in (self._asleep, self._soon):
                waiting.get(receipt.place, set()).discard(receipt.offset)
        return woken
