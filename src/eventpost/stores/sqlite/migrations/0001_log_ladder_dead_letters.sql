-- The log, its indices, outcomes and states, the ladder, dead letters and the attempt log.
-- Bodies that the store does not look into come last in a row, so that reading the rest does not
-- touch them. Times are UTC in milliseconds.

-- What users declare: JSON, one document per row.
CREATE TABLE topic (
    id INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);

CREATE TABLE subscription (
    id INTEGER PRIMARY KEY,
    topic_id INTEGER NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- Numbers that the store remembers for itself.
CREATE TABLE mark (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- Events: one row per 128 KiB of a commit, of one partition or of many (blocks.py).
CREATE TABLE block (
    id INTEGER PRIMARY KEY,
    segment_count INTEGER NOT NULL,
    event_count INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    head BLOB NOT NULL,
    traces BLOB,
    body BLOB NOT NULL
);

-- Which block holds a position: consecutive segments of a partition, some forty to a row (index.py).
CREATE TABLE segment_index (
    topic_id INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    first INTEGER NOT NULL,
    end INTEGER NOT NULL,
    entries BLOB NOT NULL,
    PRIMARY KEY (topic_id, partition, first)
) WITHOUT ROWID;

-- Where an event id may be: fingerprints of consecutive blocks (traces.py).
CREATE TABLE trace_index (
    last_block INTEGER PRIMARY KEY,
    first_block INTEGER NOT NULL,
    published_ms INTEGER NOT NULL,
    blocks BLOB NOT NULL,
    fingerprints BLOB NOT NULL
);

-- Partitions of which something was trimmed: needed from `floor` on, removed up to `first`.
CREATE TABLE retention (
    topic_id INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    floor INTEGER NOT NULL,
    first INTEGER NOT NULL,
    next INTEGER NOT NULL,
    PRIMARY KEY (topic_id, partition)
) WITHOUT ROWID;

-- Topics and subscriptions that are gone while their rows are still being removed.
CREATE TABLE removal (
    kind TEXT NOT NULL,
    owner_id INTEGER NOT NULL,
    PRIMARY KEY (kind, owner_id)
) WITHOUT ROWID;

CREATE TABLE outcome (
    id INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);

CREATE TABLE state (
    kind TEXT NOT NULL,
    owner_id INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (kind, owner_id, partition)
) WITHOUT ROWID;

-- Deliveries that wait, by when they fall due.
CREATE TABLE ladder (
    due_ms INTEGER NOT NULL,
    subscription_id INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    dead_letter_id INTEGER NOT NULL,
    topic_id INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    published_ms INTEGER NOT NULL,
    offered_ms INTEGER NOT NULL,
    last_attempt_ms INTEGER NOT NULL,
    evidence BLOB,
    PRIMARY KEY (due_ms, subscription_id, partition, position, generation, dead_letter_id)
) WITHOUT ROWID;

-- The same for those that could not run when they fell due, by lane.
CREATE TABLE parked (
    due_ms INTEGER NOT NULL,
    subscription_id INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    dead_letter_id INTEGER NOT NULL,
    topic_id INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    published_ms INTEGER NOT NULL,
    offered_ms INTEGER NOT NULL,
    last_attempt_ms INTEGER NOT NULL,
    evidence BLOB,
    PRIMARY KEY (subscription_id, partition, due_ms, position, generation, dead_letter_id)
) WITHOUT ROWID;

-- What is asked about a dead letter; its event is apart, so that a million are listed quickly.
CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY,
    topic_id INTEGER NOT NULL,
    subscription_id INTEGER NOT NULL,
    dead_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    finding TEXT NOT NULL,
    replayed_ms INTEGER NOT NULL,
    export_due_ms INTEGER NOT NULL,
    exported_to TEXT NOT NULL
);

CREATE INDEX dead_letter_by_subscription ON dead_letter (subscription_id, replayed_ms, id);

CREATE INDEX dead_letter_to_export ON dead_letter (export_due_ms, id) WHERE export_due_ms > 0;

CREATE TABLE dead_letter_event (
    id INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    detail BLOB NOT NULL,
    wire BLOB NOT NULL
);

CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    topic_id INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    subscription_id INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    next_ms INTEGER NOT NULL,
    finding TEXT NOT NULL,
    evidence BLOB
);

CREATE INDEX attempt_by_event ON attempt (topic_id, partition, position, id);
