-- What people said. A row is never changed and never removed; seq is the order in which it was
-- committed, across all contracts.
CREATE TABLE events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    contract BLOB NOT NULL CHECK (length(contract) = 32),
    kind     TEXT NOT NULL CHECK (length(kind) > 0),
    body     BLOB NOT NULL
) STRICT;

CREATE INDEX events_of_a_contract ON events (contract, seq);

CREATE TRIGGER events_never_change BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

CREATE TRIGGER events_never_vanish BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

-- What a validator has bound himself to: one value for each name, for ever.
CREATE TABLE memory (
    scope BLOB NOT NULL CHECK (length(scope) = 32),
    name  TEXT NOT NULL CHECK (length(name) > 0),
    value BLOB NOT NULL,
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER memory_never_changes BEFORE UPDATE ON memory
BEGIN SELECT RAISE(ABORT, 'memory is written once'); END;

CREATE TRIGGER memory_never_vanishes BEFORE DELETE ON memory
BEGIN SELECT RAISE(ABORT, 'memory is written once'); END;

-- The wallet's change sets, as JSON, oldest first; many rows may be folded into one.
CREATE TABLE wallet_changes (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL CHECK (account >= 0),
    changes TEXT NOT NULL
) STRICT;

CREATE INDEX wallet_changes_of_an_account ON wallet_changes (account, seq);
