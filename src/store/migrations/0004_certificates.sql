-- Positions whose shares are kept, each under a small number of this file.
CREATE TABLE positions (
    number   INTEGER PRIMARY KEY,
    position BLOB NOT NULL UNIQUE CHECK (length(position) = 32)
) STRICT;

-- Jobs that shares were found of, each once, whatever positions it pays; digest names its bytes.
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY CHECK (number BETWEEN 1 AND 4294967295),
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    job    BLOB NOT NULL
) STRICT;

-- Slices that something was found for. dropped: more came than the terms allow; late: came when a
-- certificate of the slice was sealed.
CREATE TABLE slices (
    number   INTEGER PRIMARY KEY,
    position INTEGER NOT NULL REFERENCES positions (number),
    slice    INTEGER NOT NULL CHECK (slice >= 0),
    dropped  INTEGER NOT NULL CHECK (dropped >= 0),
    late     INTEGER NOT NULL CHECK (late >= 0),
    UNIQUE (position, slice)
) STRICT;

-- Finds of a slice (by its number here) that no certificate lists: all of them before it is sealed, a row
-- for each flush, which writes what is new and nothing again; then those that were not sealed, in one row.
CREATE TABLE finds (
    slice INTEGER NOT NULL REFERENCES slices (number),
    finds BLOB NOT NULL
) STRICT;

CREATE INDEX finds_by_slice ON finds (slice);

-- Certificates, sealed: a slice's first has number 0.
CREATE TABLE certificates (
    position INTEGER NOT NULL REFERENCES positions (number),
    slice    INTEGER NOT NULL CHECK (slice >= 0),
    number   INTEGER NOT NULL CHECK (number >= 0),
    digest   BLOB NOT NULL CHECK (length(digest) = 32),
    finds    BLOB NOT NULL,
    UNIQUE (position, slice, number)
) STRICT;

CREATE TRIGGER positions_never_change BEFORE UPDATE ON positions
BEGIN SELECT RAISE(ABORT, 'positions are append-only'); END;

CREATE TRIGGER positions_never_vanish BEFORE DELETE ON positions
BEGIN SELECT RAISE(ABORT, 'positions are append-only'); END;

CREATE TRIGGER jobs_never_change BEFORE UPDATE ON jobs
BEGIN SELECT RAISE(ABORT, 'jobs are append-only'); END;

CREATE TRIGGER jobs_never_vanish BEFORE DELETE ON jobs
BEGIN SELECT RAISE(ABORT, 'jobs are append-only'); END;

CREATE TRIGGER certificates_never_change BEFORE UPDATE ON certificates
BEGIN SELECT RAISE(ABORT, 'certificates are append-only'); END;

CREATE TRIGGER certificates_never_vanish BEFORE DELETE ON certificates
BEGIN SELECT RAISE(ABORT, 'certificates are append-only'); END;
