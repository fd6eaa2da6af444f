"""The sweeper: removes what trims and removals left behind, a slice per commit.

Deleting 256 MB at once holds the writer for 81 ms; so a commit removes at most `slice_bytes_max` of
events or `slice_rows_max` rows, and the rest stays as leftovers, which outlive a restart. What is
left is invisible to readers from the commit that gave it up.
"""

from collections.abc import Sequence

import apsw

from eventpost.core.interfaces import Trim
from eventpost.stores.sqlite import attempts, catalogue, deadletters, ladder, taken
from eventpost.stores.sqlite.connection import rows
from eventpost.stores.sqlite.index import SegmentIndex
from eventpost.stores.sqlite.settings import SqliteSettings
from eventpost.stores.sqlite.trimmer import Budget, Swept, Trimmer

END_REMOVAL = "DELETE FROM removal WHERE kind = ? AND owner_id = ?"
OLD_OUTCOMES = "SELECT id, length(body) FROM outcome WHERE id < ? ORDER BY id LIMIT ?"
REMOVE_OUTCOMES = "DELETE FROM outcome WHERE id <= ?"


class Sweeper:
    """The writer's alone. State changed by a slice is not taken back: a failed commit is final."""

    def __init__(self, index: SegmentIndex, settings: SqliteSettings) -> None:
        self._settings = settings
        self._trimmer = Trimmer(index)
        self._topics: set[int] = set()
        self._subscriptions: set[int] = set()
        """Removed, with dead letters or parked rows left."""
        self._sources: set[int] = set()
        """Removed, with dead letters left."""
        self._on_ladder: set[int] = set()
        """Removed, with nothing left but perhaps rows on the ladder."""
        self._ladder_at: tuple[int, ...] | None = None
        self._ladder_of: frozenset[int] = frozenset()
        self._outcomes_below = 0
        self._attempts_before_ms = 0
        self._taken_before_ms = 0
        self.blocks_removed = 0
        """Since the file was made. Counting what is left would read all of it."""

    @property
    def has_leftovers(self) -> bool:
        return bool(
            self._trimmer.has_leftovers
            or self._topics
            or self._subscriptions
            or self._sources
            or self._on_ladder
            or self._outcomes_below
            or self._attempts_before_ms
            or self._taken_before_ms
        )

    # --- what is given up -----------------------------------------------------------------------

    def load(self, connection: apsw.Connection, marks: dict[str, int]) -> None:
        """Take up what an earlier process left. The index holds its partitions already."""
        self.blocks_removed = marks.get(catalogue.BLOCKS_REMOVED, 0)
        below = marks.get(catalogue.OUTCOMES_BELOW, 0)
        if rows(connection, OLD_OUTCOMES, (below, 1)):
            self._outcomes_below = below
        self._trimmer.load()
        self.removed(connection)

    def removed(self, connection: apsw.Connection) -> None:
        """Inside a commit that removed topics, subscriptions or sources."""
        for kind, owner_id in rows(connection, catalogue.REMOVALS):
            if kind == "topic":
                self._topics.add(owner_id)
            elif kind == "source":
                self._sources.add(owner_id)
            elif owner_id not in self._on_ladder:
                self._subscriptions.add(owner_id)
        self._trimmer.give_up(self._topics)

    def trim(self, connection: apsw.Connection, trims: Sequence[Trim]) -> None:
        """Inside a commit: from now on nothing below is shown."""
        self._trimmer.trim(connection, trims)

    def outcomes_below(self, connection: apsw.Connection, below: int) -> None:
        """Inside a commit: earlier outcomes are not needed."""
        connection.execute(catalogue.RAISE_MARK, (catalogue.OUTCOMES_BELOW, below))
        self._outcomes_below = max(self._outcomes_below, below)

    def attempts_before(self, before_ms: int) -> None:
        """Not kept over a restart: the grid asks again."""
        self._attempts_before_ms = max(self._attempts_before_ms, before_ms)

    def taken_before(self, before_ms: int) -> None:
        """Not kept over a restart either."""
        self._taken_before_ms = max(self._taken_before_ms, before_ms)

    # --- a slice --------------------------------------------------------------------------------

    def sweep(self, connection: apsw.Connection) -> Swept:
        """Inside a commit: remove one slice."""
        budget = Budget(self._settings.slice_rows_max, self._settings.slice_bytes_max)
        swept = Swept()
        if self._outcomes_below:
            self._sweep_outcomes(connection, budget)
        if self._attempts_before_ms and not budget.is_spent:
            self._sweep_attempts(connection, budget)
        if self._taken_before_ms and not budget.is_spent:
            self._sweep_taken(connection, budget)
        self._sweep_subscriptions(connection, budget)
        self._sweep_sources(connection, budget)
        if self._on_ladder and not budget.is_spent:
            self._sweep_ladder(connection, budget)
        if self._trimmer.has_leftovers and not budget.is_spent:
            self._trimmer.sweep(connection, budget, swept)
            self.blocks_removed += len(swept.blocks)
        if self._topics:
            self._end_topics(connection)
        return swept

    def _sweep_outcomes(self, connection: apsw.Connection, budget: Budget) -> None:
        last_id = 0
        for outcome_id, size in rows(connection, OLD_OUTCOMES, (self._outcomes_below, budget.rows)):
            last_id = outcome_id
            budget.rows -= 1
            budget.bytes -= size
            if budget.is_spent:
                break
        else:
            self._outcomes_below = 0
        if last_id:
            connection.execute(REMOVE_OUTCOMES, (last_id,))

    def _sweep_attempts(self, connection: apsw.Connection, budget: Budget) -> None:
        count = attempts.remove_before(connection, self._attempts_before_ms, budget.rows)
        if count < budget.rows:
            self._attempts_before_ms = 0
        budget.rows -= count

    def _sweep_taken(self, connection: apsw.Connection, budget: Budget) -> None:
        count = taken.remove_before(connection, self._taken_before_ms, budget.rows)
        if count < budget.rows:
            self._taken_before_ms = 0
        budget.rows -= count

    def _sweep_sources(self, connection: apsw.Connection, budget: Budget) -> None:
        while self._sources and not budget.is_spent:
            source_id = min(self._sources)
            budget.rows -= deadletters.remove_of_source(connection, source_id, budget.rows)
            if not budget.is_spent:
                self._sources.discard(source_id)
                connection.execute(END_REMOVAL, ("source", source_id))
                budget.rows -= 1

    def _sweep_subscriptions(self, connection: apsw.Connection, budget: Budget) -> None:
        while self._subscriptions and not budget.is_spent:
            subscription_id = min(self._subscriptions)
            for remove_of in (deadletters.remove_of, ladder.remove_parked_of):
                if not budget.is_spent:
                    budget.rows -= remove_of(connection, subscription_id, budget.rows)
            if not budget.is_spent:
                self._subscriptions.discard(subscription_id)
                self._on_ladder.add(subscription_id)
                budget.rows -= 1

    def _sweep_ladder(self, connection: apsw.Connection, budget: Budget) -> None:
        """One pass over the ladder for all subscriptions that were there when it began."""
        if self._ladder_at is None:
            self._ladder_at = ladder.START
            self._ladder_of = frozenset(self._on_ladder)
        self._ladder_at = ladder.remove_after(
            connection, self._ladder_at, self._ladder_of, budget.rows
        )
        if self._ladder_at is not None:
            budget.rows = 0
            return
        ended = [("subscription", subscription_id) for subscription_id in self._ladder_of]
        connection.executemany(END_REMOVAL, ended)
        self._on_ladder -= self._ladder_of

    def _end_topics(self, connection: apsw.Connection) -> None:
        ended = [one for one in self._topics if not self._trimmer.is_busy_with(one)]
        connection.executemany(END_REMOVAL, [("topic", topic_id) for topic_id in ended])
        self._topics.difference_update(ended)
