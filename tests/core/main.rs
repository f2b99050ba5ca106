//! Bitcoin Core judges what we build: not an old answer in a file, but a node that runs now.
//!
//! | file | Core is asked |
//! |---|---|
//! | `addresses` | for the addresses and the checksum of every descriptor |
//! | `leaves` | to sign each leaf of both locks as a wallet would, and to take the transaction |
//! | `joint` | to read our MuSig2 fields, to join the halves and to finish the transaction |
//! | `faults` | to refuse a witness in which one byte is wrong |
//!
//! A test has nodes of its own (a second each), so no test waits for another one's blocks. Without
//! Bitcoin Core everything here fails and says what is missing; nothing is skipped.

mod addresses;
mod contract;
mod faults;
mod joint;
mod judge;
mod leaves;
