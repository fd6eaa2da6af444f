"""What one run does, drawn from its seed: sizes, bounds, and how often something goes wrong."""

import random
from dataclasses import dataclass

from eventpost.grid.limits import GridLimits
from eventpost.stores.sqlite.settings import SqliteSettings
from eventpost.testing.simulation.receivers import FAULTY

KILL = "process killed"
POWER_CUT = "power cut"
POWER_CUT_AT_SYNC = "power cut at a sync"
POWER_CUT_AT_WRITE = "power cut at a write"
SYNC_FAILED = "sync failed"
DISK_FULL = "disk full"
READ_FAILED = "read failed"
STOPPED = "stopped in order"
CLOCK_FORWARD = "clock set forward"
CLOCK_BACK = "clock set back"
EXPORT_FAILED = "dead-letter file not written"
OVERLOADED = "publish refused"

DISK_FAULTS = (POWER_CUT_AT_SYNC, POWER_CUT_AT_WRITE, SYNC_FAILED, DISK_FULL)
ENDS = (KILL, POWER_CUT, STOPPED)
FAULTS = frozenset(
    (*DISK_FAULTS, *ENDS, READ_FAILED, CLOCK_FORWARD, CLOCK_BACK, EXPORT_FAILED, *FAULTY)
)
"""Every kind of fault that a long run must have met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Times are virtual seconds; those named `_gap_s` are means between two of a kind."""

    seed: int
    events: int
    """Publishing ends when so many events were handed over."""
    topics: int
    subscriptions_max: int
    action_gap_s: float
    end_gap_s: float
    """Between two ends of the process."""
    disk_fault_gap_s: float
    mood_gap_s: float
    """Between two changes of how one receiver behaves."""
    clock_step_chance: float
    """That the clock is wrong by a new amount after an end."""
    read_fault_chance: float
    export_fault_chance: float
    limits: GridLimits
    store: SqliteSettings

    @property
    def is_trimming(self) -> bool:
        """Whether events go while the run lasts."""
        return self.limits.retention_ms < 3_600_000

    @classmethod
    def of(cls, seed: int, events: int) -> "Plan":
        """The run that belongs to `seed`. Small bounds bring the rare paths about."""
        draw = random.Random(f"plan {seed}")
        return cls(
            seed=seed,
            events=events,
            topics=draw.randint(1, 3),
            subscriptions_max=draw.randint(2, 8),
            action_gap_s=draw.choice((0.02, 0.1, 0.2)),
            end_gap_s=draw.choice((1.0, 3.0, 8.0)),
            disk_fault_gap_s=draw.choice((2.0, 6.0, 1e9)),
            mood_gap_s=draw.choice((1.0, 5.0)),
            clock_step_chance=draw.choice((0.0, 0.2, 0.5)),
            read_fault_chance=draw.choice((0.0, 0.0, 0.02)),
            export_fault_chance=0.2,
            limits=_limits(draw),
            store=_store(draw),
        )


def _limits(draw: random.Random) -> GridLimits:
    pick = draw.choice
    return GridLimits(
        group_events_max=pick((60, 50_000)),
        outcome_delay_s=pick((0.001, 0.02, 0.1)),
        outcomes_unsaved_max=pick((8, 64, 4_096)),
        lane_events_max=pick((4, 50, 1_024)),
        lane_bytes_max=pick((2_000, 2 * 1024 * 1024)),
        lane_share_min=pick((2, 32)),
        deliveries_max=pick((20, 100_000)),
        cursor_gap_max=pick((10, 100, 20_000)),
        retries_held_max=pick((2, 10, 128)),
        ladder_page=pick((3, 20, 500)),
        catchup_bytes=pick((2_000, 512 * 1024)),
        catchup_turn_events=pick((7, 512)),
        tail_bytes_max=pick((1_000, 20_000, 8 * 1024 * 1024)),
        breaker_failures=pick((3, 30, 100)),
        breaker_probe_s=pick((0.2, 2.0)),
        breaker_probe_s_max=5.0,
        snapshot_commits=pick((1, 5, 50, 1_000)),
        snapshot_lanes=pick((1, 3, 100)),
        retention_ms=pick((500, 24 * 3_600_000)),
        retention_interval_s=pick((1.0, 10.0)),
        attempts_kept_ms=pick((1_000, 24 * 3_600_000)),
        export_events_max=pick((3, 1_000)),
        export_bytes_max=pick((1_000, 1024 * 1024)),
        export_delay_s=pick((0.05, 1.0)),
    )


def _store(draw: random.Random) -> SqliteSettings:
    pick = draw.choice
    return SqliteSettings(
        wal_pages=pick((20, 100, 1_000)),
        block_bytes=pick((1_000, 128 * 1024)),
        chunk_segments=pick((3, 40)),
        unindexed_blocks_max=pick((2_000, 4_096)),
        trace_events=pick((50, 4_096)),
        slice_bytes_max=pick((2_000, 4 * 1024 * 1024)),
        slice_rows_max=pick((5, 1_000)),
    )
