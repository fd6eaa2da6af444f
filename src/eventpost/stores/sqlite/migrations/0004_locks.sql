-- Which lock holds a delivery that a consumer pulled, 0 when none does; found by it, not by due time.
ALTER TABLE ladder ADD COLUMN lock INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parked ADD COLUMN lock INTEGER NOT NULL DEFAULT 0;

CREATE INDEX ladder_by_lock ON ladder (subscription_id, lock) WHERE lock > 0;
