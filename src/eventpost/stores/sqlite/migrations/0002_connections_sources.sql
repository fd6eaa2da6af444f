-- Where messages are pulled from, and with whose settings: JSON, one document per row.
CREATE TABLE connection (
    name TEXT PRIMARY KEY,
    body BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE source (
    id INTEGER PRIMARY KEY,
    topic_id INTEGER NOT NULL,
    body BLOB NOT NULL
);
