"""What is to be committed, and who waits for it.

Layer: queues. Pure; for whoever holds the reader's lock. One commit is under way at a time, so that
no older prefix comes after a newer one; who wants something committed meanwhile shares the next.
"""

from collections.abc import Mapping

from eventpost.queues.interfaces import Settled, Verdict
from eventpost.queues.kafka.assigned import Assigned
from eventpost.queues.kafka.records import Place

AGAIN = frozenset({"REBALANCE_IN_PROGRESS", "ILLEGAL_GENERATION", "_WAIT_COORD", "NOT_COORDINATOR"})
"""What a commit that a rebalance came upon is refused with. It is made again for partitions that
stay ours."""

Marks = Mapping[Place, tuple[int, str]]
"""Of each partition the offset to commit and the metadata beside it."""


class Wish:
    """Somebody wants what is finished of these partitions to be committed."""

    def __init__(self, places: Mapping[Place, int]) -> None:
        self.left = dict(places)
        """Not answered yet: since which generation they are ours."""
        self.answers: dict[Place, Verdict] = {}

    @property
    def is_answered(self) -> bool:
        return not self.left

    def answer(self, place: Place, verdict: Verdict) -> None:
        if self.left.pop(place, None) is not None:
            self.answers[place] = verdict


class Commits:
    def __init__(self) -> None:
        self._waiting: list[Wish] = []
        self._under_way: list[Wish] = []
        self._began_s = 0.0
        self.marks: Marks = {}
        """What the commit under way says of each partition; empty when none is."""

    @property
    def is_wanted(self) -> bool:
        """Whether there is a commit to begin."""
        return bool(self._waiting) and not self.marks

    def age_s(self, now_s: float) -> float:
        """Of the commit under way; 0 when none is."""
        return now_s - self._began_s if self.marks else 0.0

    def want(self, places: Mapping[Place, int]) -> Wish:
        wish = Wish(places)
        self._waiting.append(wish)
        return wish

    def forget(self, wish: Wish) -> None:
        """Nobody waits for it any more; a commit that holds it may still come."""
        for wishes in (self._waiting, self._under_way):
            if wish in wishes:
                wishes.remove(wish)

    def begin(self, assigned: Assigned, now_s: float) -> Marks:
        """What to commit now; nothing while a commit is under way, or nothing is wanted."""
        if self.marks or not self._waiting:
            return {}
        for wish in self._waiting:
            for place, generation in list(wish.left.items()):
                if not assigned.is_ours(place, generation):
                    wish.answer(place, Settled.LOST)
        places = {place for wish in self._waiting for place in wish.left}
        self.marks = {place: assigned.mark(place) for place in places}
        self._under_way, self._waiting, self._began_s = self._waiting, [], now_s
        return self.marks

    def recall(self) -> None:
        """The commit under way is not waited for any more: what it was for is committed anew."""
        self._waiting = [*self._under_way, *self._waiting]
        self._under_way, self.marks = [], {}

    def done(self, verdicts: Mapping[Place, Verdict], again: set[Place]) -> None:
        """The commit under way was answered: verdicts of those that failed, and those that are to
        be committed once more."""
        wishes, self._under_way, self.marks = self._under_way, [], {}
        for wish in wishes:
            for place in list(wish.left):
                if place not in again:
                    wish.answer(place, verdicts.get(place, Settled.DONE))
            if not wish.is_answered:
                self._waiting.append(wish)

    def reset(self) -> None:
        """The consumer is gone, and with it all partitions."""
        for wish in (*self._waiting, *self._under_way):
            for place in list(wish.left):
                wish.answer(place, Settled.LOST)
        self._waiting, self._under_way, self.marks = [], [], {}
