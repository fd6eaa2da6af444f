"""Which events may go: old ones that nobody needs, and earlier when the store fills up."""

from typing import TYPE_CHECKING

from eventpost.core.interfaces import ReadFailed, Trim, Usage

if TYPE_CHECKING:
    from eventpost.grid.engine import Engine
    from eventpost.grid.partition import Partition

FULL_AGAIN = 0.95
"""Part of `store_bytes_max` below which publishing is taken up again after it was full."""


class Retention:
    """Looks now and then; trims in the store's slices. All calls on the grid's thread."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self.usage: Usage | None = None

    def start(self) -> None:
        self._look()

    def _again(self) -> None:
        if not self._engine.is_stopped:
            self._engine.clock.call_later(self._engine.limits.retention_interval_s, self._look)

    def _look(self) -> None:
        if not self._engine.is_stopped:
            self._engine.store.usage(self._measured)

    def _measured(self, usage: Usage | ReadFailed) -> None:
        if isinstance(usage, ReadFailed) or self._engine.is_stopped:
            self._again()
            return
        self.usage = usage
        bytes_max = self._engine.limits.store_bytes_max
        if usage.bytes_used >= bytes_max:
            self._engine.is_full = True
        elif usage.bytes_used < bytes_max * FULL_AGAIN:
            self._engine.is_full = False
        # The lanes' needs are taken before the ladder's: what moves from a lane to the ladder in
        # between was needed by the lane.
        needed = {key: partition.needed for key, partition in self._engine.partitions.items()}
        self._engine.store.ladder_floor(lambda floor: self._trim(usage, needed, floor))

    def _trim(
        self,
        usage: Usage,
        needed: dict[tuple[int, int], int],
        floor: dict[tuple[int, int], int] | ReadFailed,
    ) -> None:
        self._again()
        if isinstance(floor, ReadFailed) or self._engine.is_stopped:
            return
        limits = self._engine.limits
        is_pressed = usage.bytes_used > limits.store_bytes_max * limits.store_bytes_trim
        before_ms = self._engine.clock.now_ms() - limits.retention_ms
        self._engine.journal.open.attempts_before_ms = max(
            0, self._engine.clock.now_ms() - limits.attempts_kept_ms
        )
        for key, partition in list(self._engine.partitions.items()):
            below = min(needed.get(key, 0), floor.get(key, partition.next))
            if below <= usage.first_positions.get(key, below):
                continue
            if is_pressed:
                self._drop(partition, below)
            else:
                self._engine.store.position_at(
                    *key,
                    before_ms,
                    lambda position, partition=partition, below=below: self._aged(  # type: ignore[misc]
                        partition, below, position
                    ),
                )

    def _aged(self, partition: "Partition", below: int, position: int | ReadFailed) -> None:
        if not isinstance(position, ReadFailed) and not self._engine.is_stopped:
            self._drop(partition, min(below, position))

    def _drop(self, partition: "Partition", below: int) -> None:
        journal = self._engine.journal
        journal.open.trims.append(Trim(partition.topic_id, partition.index, below))
        journal.settled(0)
