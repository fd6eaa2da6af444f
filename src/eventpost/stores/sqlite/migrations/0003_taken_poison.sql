-- Messages of queues that became events and may come again: by a number for the queue, and the id
-- that the queue gave the message.
CREATE TABLE taken (
    queue INTEGER NOT NULL,
    id TEXT NOT NULL,
    taken_ms INTEGER NOT NULL,
    PRIMARY KEY (queue, id)
) WITHOUT ROWID;

CREATE INDEX taken_by_age ON taken (taken_ms);

-- Dead letters of sources, and dead letters by their event. Those from before have no position
-- here, and are not found by it.
ALTER TABLE dead_letter ADD COLUMN source_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead_letter ADD COLUMN partition INTEGER NOT NULL DEFAULT -1;
ALTER TABLE dead_letter ADD COLUMN position INTEGER NOT NULL DEFAULT -1;

CREATE INDEX dead_letter_by_source ON dead_letter (source_id, replayed_ms, id) WHERE source_id > 0;
