-- What blocks held of a contract when its owner looked last: so that he is told what a reorg took
-- away, and that a server hides what its block still holds. Nothing is decided by it.
CREATE TABLE seen (
    contract BLOB NOT NULL CHECK (length(contract) = 32),
    txid     BLOB NOT NULL CHECK (length(txid) = 32),
    height   INTEGER NOT NULL CHECK (height >= 0),
    block    BLOB NOT NULL CHECK (length(block) = 32),
    tx       BLOB NOT NULL,
    PRIMARY KEY (contract, txid)
) STRICT, WITHOUT ROWID;
