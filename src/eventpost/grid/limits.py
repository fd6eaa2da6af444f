"""Every bound of the engine, by name. Each is a setting and has a test at its edge."""

import msgspec


class GridLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the engine. The defaults hold memory below 150 MB with a hanging handler."""

    group_events_max: int = 50_000
    """Events waiting for a commit; beyond it publishing answers 503."""
    group_bytes_max: int = 64 * 1024 * 1024
    """Bytes waiting for a commit; beyond it publishing answers 503."""
    outcome_delay_s: float = 0.02
    """How long outcomes wait for company. Commits of events take them along from half of it on."""
    outcomes_unsaved_max: int = 4_096
    """Settled deliveries not yet committed; at it lanes stop sending. Bounds duplicates."""
    lane_events_max: int = 4_096
    """Deliveries that one lane holds in memory; beyond it the lane reads the log itself."""
    lane_bytes_max: int = 4 * 1024 * 1024
    """Bytes of events that one lane holds."""
    lane_share_min: int = 32
    """Deliveries that a lane may always hold, however many all lanes hold together."""
    deliveries_max: int = 100_000
    """Deliveries that all lanes hold together, the shares above aside."""
    cursor_gap_max: int = 20_000
    """A delivery in flight that holds its cursor back further than this becomes a ladder row."""
    ladder_rows_max: int = 2_000_000
    """Rows of one subscription on the ladder; at it the lane reads no further, its cursor lags."""
    retries_held_max: int = 128
    """Due ladder rows that one lane holds; the rest are parked."""
    ladder_page: int = 500
    """Ladder rows read at once."""
    catchup_bytes: int = 512 * 1024
    """Bytes read from the log at once by lanes that catch up."""
    catchup_turn_events: int = 512
    """Events matched for lanes that catch up before fresh work gets its turn."""
    tail_bytes_max: int = 8 * 1024 * 1024
    """Fresh events kept in memory for lanes that lag a little."""
    breaker_failures: int = 100
    """Consecutive failed attempts that open a lane's breaker; fewer never do."""
    breaker_probe_s: float = 5.0
    """First wait before a probe; doubles up to the next bound."""
    breaker_probe_s_max: float = 60.0
    locks_held_max: int = 1_024
    """Events of one subscription that consumers hold locked, kept in memory; beyond it the oldest
    locks become ladder rows."""
    receive_bytes_max: int = 4 * 1024 * 1024
    """Bytes of the events that one receive hands out; one event always fits."""
    receives_waiting_max: int = 1_000
    """Receives of one subscription that wait for an event; beyond it they are answered 503."""
    snapshot_commits: int = 1_000
    """Commits with outcomes after which the lanes' states are written anew."""
    snapshot_lanes: int = 100
    """Lanes' states written in one commit."""
    retention_ms: int = 24 * 3_600_000
    """How long events are kept, needed or not."""
    retention_interval_s: float = 10.0
    store_bytes_max: int = 20 * 1024**3
    """Bytes of the store beyond which publishing answers 503."""
    store_bytes_trim: float = 0.8
    """Part of `store_bytes_max` from which events that nobody needs go before their age."""
    attempts_kept_ms: int = 7 * 24 * 3_600_000
    """How long the attempt log is kept."""
    taken_kept_ms: int = 15 * 24 * 3_600_000
    """How long it is remembered that a message was taken whose queue has not confirmed that it is
    gone. Longer than the queue keeps messages, or it may be taken twice."""
    export_events_max: int = 1_000
    export_bytes_max: int = 1024 * 1024
    export_writes_max: int = 8
    """Files of dead letters that are written at the same time to folders; to containers; to
    buckets."""
    export_places_max: int = 64
    """Places of dead letters whose connections stay open; the one longest unused goes first."""
    import_bytes_max: int = 64 * 1024 * 1024
    """The largest file of dead letters that is read back."""
    export_delay_s: float = 1.0
    """Dead letters of one subscription wait this long for company before a file is written."""
    drain_s: float = 10.0
    """How long a stop waits for attempts in flight; what is still out then is sent again."""
