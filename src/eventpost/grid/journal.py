"""The open commit group: collects what becomes durable next, and answers once it is.

While one group is being committed the next one collects. Publishing starts a commit at once;
outcomes alone wait a little for company. Nothing is routed and nobody is answered before the commit
that holds it is done.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Protocol

from eventpost.core.errors import Overloaded
from eventpost.core.events import Event
from eventpost.core.interfaces import (
    Append,
    Clock,
    Commit,
    CommitFailed,
    Committed,
    LadderRow,
    StateRow,
    Store,
    Taken,
    Timer,
)
from eventpost.grid.checkpoint import Outcomes, encode
from eventpost.grid.departed import Departed, RowKey, row_key
from eventpost.grid.limits import GridLimits

if TYPE_CHECKING:
    from eventpost.grid.lane import Lane
    from eventpost.grid.partition import Partition

PublishDone = Callable[[Overloaded | None], None]

OUTCOMES_WAIT = 0.5
"""Part of `outcome_delay_s` after a blob in which commits of events alone go without one."""


class Kept(Protocol):
    """A lane or a partition, as something whose state is written now and then."""

    is_dirty: bool
    is_removed: bool

    def state_row(self, as_of: int) -> StateRow | None:
        """None when it cannot be told now; asked again with a later commit."""
        ...


class Group:
    """One commit with those who wait for it."""

    __slots__ = (
        "bytes",
        "commit",
        "departing",
        "events",
        "partitions",
        "published",
        "settled",
        "waiting",
    )

    def __init__(self) -> None:
        self.commit = Commit()
        self.partitions: list[Partition] = []
        """Of `commit.appends`, in the same order."""
        self.published: list[PublishDone] = []
        self.waiting: list[Callable[[bool], None]] = []
        """Called with whether the commit is durable."""
        self.departing: list[RowKey] = []
        self.events = 0
        self.bytes = 0
        self.settled = 0


class Journal:
    """Single owner of the store's `commit`. All calls on the grid's thread."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        limits: GridLimits,
        last_outcome_id: int,
        on_committed: Callable[[Group, Committed], None],
        on_failed: Callable[[CommitFailed], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        self._on_committed = on_committed
        self._on_failed = on_failed
        self._group = Group()
        self._committing: Group | None = None
        self._puts: dict[RowKey, LadderRow] = {}
        self.departed = Departed()
        self._touched: list[Lane] = []
        self._moved: list[Partition] = []
        self.outcome_id = last_outcome_id
        self._is_kicked = False
        self._timer: Timer | None = None
        self._unsaved = 0
        self._outcome_ms = 0
        """When the last commit with outcomes began."""
        self._choked: dict[Lane, None] = {}
        self._sweep: list[Kept] = []
        self._sweep_from = 0
        self._dirty: list[Kept] = []
        self._commits_since_sweep = 0
        self.is_choked = False
        self.failure: CommitFailed | None = None
        self.commits = 0

    # --- collecting -------------------------------------------------------------------------------

    @property
    def open(self) -> Commit:
        """The commit that collects now. Whoever adds to it calls `touch`, `settled` or `flush`."""
        return self._group.commit

    def append(
        self, partition: "Partition", events: list[Event], size: int, done: PublishDone | None
    ) -> None:
        """Add events to the open group. `done` is called when they are durable, or refused.

        Raises Overloaded at once when too much waits already or the store failed.
        """
        group = self._group
        if self.failure is not None:
            raise store_failed(self.failure)
        if done is not None and (
            group.events + len(events) > self._limits.group_events_max
            or group.bytes + size > self._limits.group_bytes_max
        ):
            raise Overloaded(
                "EP3004", "The store cannot keep up: too many events wait for their commit."
            )
        waiting = partition.waiting
        if waiting is None:
            waiting = Append(partition.topic_id, partition.index, 0, [*events])
            partition.waiting = waiting
            group.commit.appends.append(waiting)
            group.partitions.append(partition)
        else:
            waiting.events += events
        group.events += len(events)
        group.bytes += size
        if done is not None:
            group.published.append(done)
        if not self._is_kicked:
            self.flush()

    def take(self, taken: Taken) -> None:
        """Messages that the open group makes durable as something else. It goes with the events
        that were appended before, or with what waits."""
        if taken.ids:
            self._group.commit.taken.append(taken)

    def forget(self, taken: Taken) -> None:
        """Messages that will not come again: their ids go with the next commit, which they hasten a
        little."""
        self._group.commit.taken_remove.append(taken)
        self.settled(0)

    def withdraw(self, partition: "Partition") -> None:
        """The partition is removed by the open commit: what waited to be appended goes with it."""
        if partition.waiting is not None:
            index = self._group.partitions.index(partition)
            del self._group.partitions[index]
            del self._group.commit.appends[index]
            partition.waiting = None

    def touch(self, lane: "Lane") -> None:
        """The lane changed: its record goes with the next commit, which it does not hasten."""
        if not lane.is_touched:
            lane.is_touched = True
            self._touched.append(lane)

    def moved(self, partition: "Partition") -> None:
        """The partition's routed position changed."""
        if not partition.is_moved:
            partition.is_moved = True
            self._moved.append(partition)

    def settled(self, count: int) -> None:
        """`count` deliveries were settled; commit them soon."""
        self._group.settled += count
        self._unsaved += count
        if self._unsaved >= self._limits.outcomes_unsaved_max:
            self.is_choked = True
            self.flush()
        elif self._timer is None and not self._is_kicked:
            self._timer = self._clock.call_later(self._limits.outcome_delay_s, self._timed_flush)

    def choke(self, lane: "Lane") -> None:
        """The lane stops sending until outcomes were saved; then it is pumped."""
        self._choked[lane] = None

    def put_row(self, row: LadderRow) -> None:
        self._puts[row_key(row)] = row
        self.settled(0)

    def remove_row(self, row: LadderRow) -> None:
        """Take a row off the ladder, one that was put in this very group included."""
        if self._puts.pop(row_key(row), None) is None:
            self.open.ladder_remove.append(row)
            self._group.departing.append(self.departed.add(row))

    def rows_under_way(self) -> Iterator[LadderRow]:
        """Rows that reads of the ladder may not show yet."""
        yield from self._puts.values()
        if self._committing is not None:
            yield from self._committing.commit.ladder_put

    def wait(self, done: Callable[[bool], None]) -> None:
        """Commit what is open at once; `done(is_durable)` when it is through."""
        self._group.waiting.append(done)
        self.flush()

    def flush(self) -> None:
        """Commit soon: in this turn of the loop, or as soon as the commit under way is done."""
        if not self._is_kicked and self._committing is None and self.failure is None:
            self._is_kicked = True
            self._clock.call_soon(self._kick)
        elif self.failure is not None:
            self._clock.call_soon(self._fail_group)
        else:
            self._is_kicked = True

    def stop(self) -> None:
        """Commit nothing more after what is under way; who waits for a later commit is refused.

        A commit without its lanes, which are closed, would keep half of what happened."""
        if self.failure is None:
            self.failure = CommitFailed("The grid has stopped.")
        self._fail_group()

    def _timed_flush(self) -> None:
        self._timer = None
        self.flush()

    # --- committing -------------------------------------------------------------------------------

    def _kick(self, *, has_leftovers: bool = False) -> None:
        if self._committing is not None or self.failure is not None:
            return
        self._is_kicked = False
        group = self._group
        commit = group.commit
        now_ms = self._clock.now_ms()
        for append in commit.appends:
            append.published_ms = now_ms
        for partition in group.partitions:
            partition.waiting = None
        is_outcome_left = self._may_outcomes_wait(now_ms)
        if not is_outcome_left:
            self._add_outcomes(commit, now_ms)
        commit.ladder_put = [*self._puts.values()]
        if commit.is_empty() and not group.waiting and not has_leftovers:
            return
        self._group = Group()
        self._puts = {}
        if is_outcome_left:
            self._leave_outcomes(group)
        self._committing = group
        self._store.commit(commit, self._done)

    def _kick_after_reading(self, *, has_leftovers: bool) -> None:
        """Commit what has gathered, and what is being answered right now will bring.

        Who is answered by one commit sends again at once. Two turns of the loop later that has been
        read, so that commits are fewer and larger the busier the process is; an idle one loses
        nothing by it, since then nothing has gathered."""
        self._is_kicked = True
        kick = partial(self._kick, has_leftovers=has_leftovers)
        self._clock.call_soon(self._clock.call_soon, kick)

    def _may_outcomes_wait(self, now_ms: int) -> bool:
        """Whether the open group goes without a blob: events alone, soon after the last blob.

        What happened to a lane meanwhile then fits into one record. Lanes and their partition's
        routed position wait together, so that a restart routes again what no record tells of."""
        waits_ms = self._limits.outcome_delay_s * 1_000 * OUTCOMES_WAIT
        return (
            now_ms - self._outcome_ms < waits_ms
            and self._group.commit.has_events_alone
            and not (self._puts or self._group.waiting or self.is_choked)
        )

    def _leave_outcomes(self, group: Group) -> None:
        """What was settled counts for the group that will tell of it."""
        self._group.settled, group.settled = group.settled, 0
        if self._group.settled and self._timer is None:
            self._timer = self._clock.call_later(self._limits.outcome_delay_s, self._timed_flush)

    def _add_outcomes(self, commit: Commit, now_ms: int) -> None:
        """What happened since the last blob, and now and then whole states."""
        self._outcome_ms = now_ms
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._touched or self._moved:
            self._add_outcome(commit)
        if self._sweep or self._commits_since_sweep >= self._limits.snapshot_commits:
            self._add_states(commit)

    def _add_outcome(self, commit: Commit) -> None:
        """Records of everything that changed. Taking one may park rows in this very commit."""
        lanes = [lane.record() for lane in self._touched if not lane.is_removed]
        for lane in self._touched:
            if not lane.is_dirty:
                self.soil(lane)
        self._touched = []
        partitions = [partition.record() for partition in self._moved]
        for partition in self._moved:
            if not partition.is_dirty:
                self.soil(partition)
        self._moved = []
        self.outcome_id += 1
        self._commits_since_sweep += 1
        commit.outcome_id = self.outcome_id
        commit.outcome = encode(Outcomes(partitions, lanes))

    def soil(self, kept: Kept) -> None:
        """Blobs tell of it that its row does not hold: it is written anew before they go."""
        if not kept.is_dirty and not kept.is_removed:
            kept.is_dirty = True
            self._dirty.append(kept)

    def _add_states(self, commit: Commit) -> None:
        """Write the next slice of whole states; once all are written the blobs before are done."""
        if not self._sweep:
            self._commits_since_sweep = 0
            self._sweep_from = self.outcome_id
            self._sweep, self._dirty = self._dirty, []
            for kept in self._sweep:
                kept.is_dirty = False
        later = []
        for _ in range(min(len(self._sweep), self._limits.snapshot_lanes)):
            kept = self._sweep.pop()
            row = kept.state_row(self.outcome_id)
            if row is not None:
                commit.states.append(row)
            elif not kept.is_removed:
                later.append(kept)
        self._sweep += later
        if not self._sweep:
            commit.outcomes_below = self._sweep_from + 1

    def _done(self, result: Committed | CommitFailed) -> None:
        group = self._committing
        assert group is not None
        self._committing = None
        if isinstance(result, CommitFailed):
            self.failure = result
            self._refuse(group)
            self._fail_group()
            self._on_failed(result)
            return
        self.commits += 1
        self.departed.committed(group.departing)
        self._unsaved -= group.settled
        if self.is_choked and self._unsaved < self._limits.outcomes_unsaved_max:
            self.is_choked = False
            self._clock.call_soon(self._unchoke)
        if self._is_kicked or result.has_leftovers:
            self._kick_after_reading(has_leftovers=result.has_leftovers)
        for published in group.published:
            published(None)
        for waiting in group.waiting:
            waiting(True)
        self._on_committed(group, result)

    def _unchoke(self) -> None:
        choked, self._choked = self._choked, {}
        for lane in choked:
            lane.pump()

    def _fail_group(self) -> None:
        group, self._group = self._group, Group()
        self._puts = {}
        for partition in group.partitions:
            partition.waiting = None
        self._refuse(group)

    def _refuse(self, group: Group) -> None:
        assert self.failure is not None
        for published in group.published:
            published(store_failed(self.failure))
        for waiting in group.waiting:
            waiting(False)


def store_failed(failure: CommitFailed) -> Overloaded:
    if failure.is_full:
        return Overloaded(
            "EP3002",
            "The store is full; nothing was kept.",
            fix="free disk space; eventpost store usage tells what uses it",
            retry_after_s=10,
        )
    return Overloaded(
        "EP3003",
        "The store failed and is being opened anew; nothing was kept.",
        retry_after_s=2,
    )
