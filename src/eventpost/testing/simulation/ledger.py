"""What should be: every event that was published, and what each subscription was promised.

The ledger is kept beside the grid, from what was asked of it and what it answered.
"""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

import msgspec

from eventpost.core.events import Event
from eventpost.core.filters import CompiledFilter, compile_filter
from eventpost.core.subscriptions import Filter, Subscription, Topic


class BrokenPromiseError(AssertionError):
    """The grid did not keep what it promises. The text says what, where and with which seed."""


@dataclass(slots=True, eq=False)
class Entry:
    """One event that was handed to the grid, or that the grid made itself."""

    event: Event
    topic_id: int
    is_acknowledged: bool = False
    position: int | None = None
    """None until it was seen in the log."""


class TopicLog:
    """The events of one topic by position, and which of them a filter wants."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.entries: list[Entry] = []
        self.is_durable = False
        self.is_removal_asked = False
        self.is_removed = False
        self._wanted: dict[bytes, tuple[CompiledFilter, list[int]]] = {}
        self._read: Counter[bytes] = Counter()

    def wanted(self, wanted: Filter) -> list[int]:
        """Positions whose events `wanted` matches, increasing."""
        key = msgspec.json.encode(wanted)
        if key not in self._wanted:
            self._wanted[key] = (compile_filter(wanted, self.topic.input_schema), [])
        compiled, positions = self._wanted[key]
        for position in range(self._read[key], len(self.entries)):
            if compiled.matches(self.entries[position].event):
                positions.append(position)
        self._read[key] = len(self.entries)
        return positions


@dataclass(frozen=True, slots=True)
class Passage:
    """Part of the log that a subscription was offered, with one filter."""

    start: int
    end: int | None
    """None: it goes on."""
    filter: Filter

    def wanted(self, log: TopicLog, until: int) -> list[int]:
        """Matching positions of the passage, below `until` while it goes on."""
        positions = log.wanted(self.filter)
        end = until if self.end is None else self.end
        return positions[bisect_left(positions, self.start) : bisect_left(positions, end)]


@dataclass(frozen=True, slots=True)
class Version:
    """A subscription as it was declared, with the passages so far: what a commit makes durable."""

    subscription: Subscription
    generation: int
    passages: tuple[Passage, ...]


@dataclass(slots=True)
class Account:
    """What one subscription was promised, and what its receiver took."""

    versions: list[Version] = field(default_factory=list)
    """The last one that is durable, then those that wait for their commit."""
    ever: set[Passage] = field(default_factory=set)
    """All passages that it ever had, those of changes that came to nothing included."""
    is_durable: bool = False
    """Its creation was answered."""
    is_removal_asked: bool = False
    is_removed: bool = False
    taken: Counter[int] = field(default_factory=Counter)
    """How often the receiver took each position."""
    excused: Counter[int] = field(default_factory=Counter)
    """Of these, how often the grid could not know: the answer was lost on the way."""
    offered_again: Counter[int] = field(default_factory=Counter)
    """How often a position was rewound over or replayed."""
    rewinds: list[int] = field(default_factory=list)
    given_up: set[int] = field(default_factory=set)
    """Positions that a rewind left behind without offering them again."""
    purged: set[int] = field(default_factory=set)
    replays_asked: int = 0
    replays_durable: int = 0
    window_max: int = 0
    """The most events that were allowed to be in flight at once."""

    @property
    def now(self) -> Version:
        return self.versions[-1]

    def put(self, version: Version) -> None:
        """The grid was asked to make this so."""
        self.versions.append(version)
        self.ever.update(version.passages)
        endpoint = version.subscription.endpoint
        window = endpoint.concurrency * endpoint.max_events_per_batch
        self.window_max = max(self.window_max, window)

    def kept(self, version: Version) -> None:
        """The grid answered that it is durable."""
        if version in self.versions:
            del self.versions[: self.versions.index(version)]

    def found(self, subscription: Subscription, generation: int, taken: int) -> bool:
        """A new process found this in the store, with the lane at `taken`. False when it never was,
        or had been replaced.

        A filter that was changed and changed back gives two versions that look alike; the later is
        the durable one only if the lane came as far as the place where it begins.
        """
        for index in range(len(self.versions) - 1, -1, -1):
            version = self.versions[index]
            if (version.subscription, version.generation) == (subscription, generation):
                if version.passages[-1].start > taken:
                    continue
                self.versions = [version]
                return True
        return False

    def wanted_count(self, log: TopicLog, cursor: int) -> int:
        """How many matches there were to be when the lane has read up to `cursor`."""
        return sum(len(passage.wanted(log, cursor)) for passage in self.now.passages)

    def wanted(self, log: TopicLog, cursor: int) -> set[int]:
        """Positions that were to be matched at least once when the lane has read up to `cursor`."""
        return {
            position for passage in self.now.passages for position in passage.wanted(log, cursor)
        }

    def to_come(self, log: TopicLog, cursor: int) -> set[int]:
        """Positions that the passage which goes on has still to offer."""
        wanted = self.now.passages[-1].wanted(log, len(log.entries))
        return set(wanted[bisect_left(wanted, cursor) :])

    def rewound(self, log: TopicLog, cursor: int, start: int) -> tuple[Passage, ...]:
        """The passages after a rewind from `cursor` to `start`."""
        self.rewinds.append(start)
        then = Passage(start, None, self.now.subscription.filter)
        self._give_up(log, cursor, then, from_position=0)
        return self._cut(cursor, then)

    def filtered(self, log: TopicLog, cursor: int, wanted: Filter) -> tuple[Passage, ...]:
        """The passages after a change of the filter at `cursor`."""
        then = Passage(cursor, None, wanted)
        self._give_up(log, cursor, then, from_position=cursor)
        return self._cut(cursor, then)

    def _give_up(self, log: TopicLog, cursor: int, then: Passage, from_position: int) -> None:
        """A rewind drops what is pending; what the next passage does not want does not come again.
        That is so for what an earlier rewind dropped, too, when the filter changes before it."""
        again = set(then.wanted(log, len(log.entries)))
        self.given_up |= {
            position
            for position in self.wanted(log, cursor) - again
            if position >= from_position and not self.taken[position]
        }

    def _cut(self, cursor: int, then: Passage) -> tuple[Passage, ...]:
        """The passages when the last one ends at `cursor` and another one begins."""
        last = self.now.passages[-1]
        return (*self.now.passages[:-1], Passage(last.start, cursor, last.filter), then)

    def duplicates(self) -> int:
        """How often an event was taken again that had no reason to be sent again."""
        count = 0
        for position, times in self.taken.items():
            reasons = 1 + self.excused[position] + self.offered_again[position]
            reasons += sum(1 for start in self.rewinds if start <= position)
            count += max(0, times - reasons)
        return count


class Ledger:
    """All topics and subscriptions of one run."""

    def __init__(self) -> None:
        self.logs: dict[int, TopicLog] = {}
        self.domains: dict[int, int] = {}
        """Of topics of domains, whose events are in the domain's log: the domain by topic."""
        self.accounts: dict[int, Account] = {}
        self.by_id: dict[str, Entry] = {}
        self.handed_over = 0

    def log_of(self, account: Account) -> TopicLog:
        return self.log_to(account.now.subscription)

    def log_to(self, subscription: Subscription) -> TopicLog:
        """The log that it reads."""
        return self.logs[self.domains.get(subscription.topic_id, subscription.topic_id)]

    def living(self) -> list[tuple[int, Account]]:
        """Subscriptions that exist, and that nobody asked to remove."""
        return [
            (subscription_id, account)
            for subscription_id, account in self.accounts.items()
            if not account.is_removal_asked and not account.is_removed
        ]

    def entry(self, topic_id: int, event: Event) -> Entry:
        """The entry of an event that was seen in the log."""
        entry = self.by_id.get(event.id)
        if entry is None:
            entry = self.by_id[event.id] = Entry(event, topic_id)
        return entry

    def seen(self, topic_id: int, position: int, event: Event) -> None:
        """The event was committed at `position`; it must stay there."""
        log = self.logs[topic_id]
        if position < len(log.entries):
            kept = log.entries[position].event
            if kept.id != event.id or kept.wire != event.wire:
                raise BrokenPromiseError(
                    f"position {position} of topic {topic_id} held {kept.id}, now {event.id}"
                )
            return
        if position > len(log.entries):
            raise BrokenPromiseError(f"topic {topic_id} has a gap before position {position}")
        entry = self.entry(topic_id, event)
        if entry.position is not None:
            raise BrokenPromiseError(
                f"{event.id} was kept twice, at {entry.position} and {position}"
            )
        entry.position = position
        log.entries.append(entry)
