-- Headers that the guard let in, in runs: consecutive headers without their parents' hashes, 48
-- bytes each, since all but the first follow from hashing; the first one's is the row's parent.
-- The hash of the last header closes the run: whatever bit changes, it no longer fits.
CREATE TABLE header_runs (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    network TEXT NOT NULL CHECK (length(network) > 0),
    parent  BLOB NOT NULL CHECK (length(parent) = 32),
    run     BLOB NOT NULL CHECK (length(run) > 0 AND length(run) % 48 = 0),
    tip     BLOB NOT NULL CHECK (length(tip) = 32)
) STRICT;

CREATE INDEX header_runs_of_a_network ON header_runs (network, seq);

CREATE TRIGGER header_runs_never_change BEFORE UPDATE ON header_runs
BEGIN SELECT RAISE(ABORT, 'headers are append-only'); END;

CREATE TRIGGER header_runs_never_vanish BEFORE DELETE ON header_runs
BEGIN SELECT RAISE(ABORT, 'headers are append-only'); END;
